"""Published recognisers that are not AdaFace's: ArcFace, MagFace, FaceNet, GhostFaceNet, AuraFace, and small ones.

Data alone, as in `recognisers.py`. Sums and sizes are those that have been stated publicly; where there is none, the
file is known by its first coming. Addresses are given where the file itself is there to be fetched.
"""

from faceverify.models.card import ModelCard
from faceverify.models.published import Commercial, Published, recogniser

_RESEARCH = "{licence} (code and weights); the training data ({data}) are for research only"
_SHORT = "{licence}; training data for research only"
_INSIGHTFACE = "non-commercial research only"
_UNIFACE = "https://github.com/yakhyo/uniface/releases/download/weights"
_EDGEFACE = "https://github.com/yakhyo/edgeface-onnx/releases/download/weights"
_GHOST = "https://github.com/HamadYA/GhostFaceNets/releases/download"
_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
_NOT_SEEN = "This file was not seen where the loader was written."


def zoo() -> list[Published]:
    """All of them, in the order in which they are listed."""
    return [*_arcface(), _auraface(), _magface(), *_facenet(), *_ghostfacenet(), *_sface_int8(), *_small()]


def _card(
    name: str, architecture: str, source: str, licence: str, sha256: str | None = None, **fed: object
) -> ModelCard:
    """A card of a network that takes RGB of 112x112 as (pixel - 127.5) / 127.5 and gives 512 numbers, with changes."""
    fields = {"colour": "RGB", "mean": (127.5,) * 3, "std": (127.5,) * 3, "dim": 512} | fed
    return ModelCard(name=name, architecture=architecture, source=source, licence=licence, sha256=sha256, **fields)  # pyrefly: ignore[bad-argument-type]


def _arcface() -> list[Published]:
    """Backbones of arcface_torch's model zoo, which lie on file-sharing sites."""
    found = []
    for name, file, sha256, notes in (
        (
            "arcface_ms1mv3_r100",
            "ms1mv3_arcface_r100_fp16",
            "a566a62357f0c55b679d9ff2f022a294486568be0c00665d39029d0e46a8109b",
            "The sum is stated by one third party.",
        ),
        (
            "cosface_glint360k_r100",
            "glint360k_cosface_r100_fp16_0.1",
            "5f631718e783448b41631e15073bdc622eaeef56509bbad4e5085f23bd32db83",
            "Sum stated by two third parties. Said to be the same network as glintr100, so neither judges the other.",
        ),
    ):
        source = f"InsightFace, recognition/arcface_torch/README.md, {file}/backbone.pth"
        card = _card(name, "arcface_r100", source, _INSIGHTFACE, sha256, notes=notes)
        found.append(recogniser(card, "backbone.pth", None, "no"))
    return found


def _auraface() -> Published:
    card = _card(
        "auraface",
        "iresnet100",
        "huggingface.co/fal/AuraFace-v1, glintr100.onnx",
        "Apache-2.0",
        "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60",
        notes="Another file than InsightFace's of the same name. The licence is of this file alone: the others beside "
        "it are InsightFace's, for non-commercial research. The sum is stated by one third party.",
    )
    return recogniser(
        card, "glintr100.onnx", "https://huggingface.co/fal/AuraFace-v1/resolve/main/glintr100.onnx", "yes"
    )


def _magface() -> Published:
    card = _card(
        "magface_r100_ms1mv2",
        "magface_r100",
        "github.com/IrvingMeng/MagFace, README, magface_epoch_00025.pth (iResNet100)",
        _RESEARCH.format(licence="Apache-2.0", data="MS1MV2"),
        colour="BGR",
        mean=(0.0,) * 3,
        std=(255.0,) * 3,
        notes="The length of its embedding says how good the photo is, on a scale of its own.",
    )
    return recogniser(card, "magface_epoch_00025.pth", None, "unclear", licence="Apache-2.0; data for research only")


def _facenet() -> list[Published]:
    found = []
    for name, data, file, size, sha256 in (
        (
            "facenet_vggface2",
            "VGGFace2",
            "20180402-114759-vggface2.pt",
            111_898_327,
            "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        ),
        ("facenet_casia", "CASIA-WebFace", "20180408-102900-casia-webface.pt", None, None),
    ):
        source = f"github.com/timesler/facenet-pytorch, release v2.2.9, {file}"
        card = _card(
            name,
            "facenet",
            source,
            _RESEARCH.format(licence="MIT", data=data),
            sha256,
            input_size=(160, 160),
            crop="box160:margin=14",
            std=(128.0,) * 3,
            notes="Made for the box of the face with a margin, not for a face aligned by five points.",
        )
        short = _SHORT.format(licence="MIT")
        found.append(recogniser(card, file, f"{_FACENET}/{file}", "unclear", size=size, licence=short))
    return found


def _ghostfacenet() -> list[Published]:
    found = []
    for name, architecture, release, file, size, sha256 in (
        (
            "ghostfacenet_w1.3_s1",
            "v1_s1",
            "v1.2",
            "GhostFaceNet_W1.3_S1_ArcFace.h5",
            17_271_840,
            "e4182ca2470dac3eb79974f4d5d54f2abdf66d7e231c6f3df4059a90bded1271",
        ),
        ("ghostfacenet_w1.3_s2", "v1_s2", "v1.3", "GhostFaceNet_W1.3_S2_ArcFace.h5", None, None),
        ("ghostfacenet_w1.3_s1_epoch46", "v1_s1", "v1.4", "GN_W1.3_S1_ArcFace_epoch46.h5", None, None),
        ("ghostfacenet_w1.3_s2_epoch48", "v1_s2", "v1.5", "GN_W1.3_S2_ArcFace_epoch48.h5", None, None),
        ("ghostfacenet_w0.5_s2_epoch16", "v1_w05_s2", "v1.0", "GN_W0.5_S2_ArcFace_epoch16.h5", None, None),
        ("ghostfacenet_w1_s2_epoch18", "v1_w1_s2", "v1.1", "GN_W1_S2_ArcFace_epoch18.h5", None, None),
    ):
        source = f"github.com/HamadYA/GhostFaceNets, release {release}, {file}"
        licence = _RESEARCH.format(licence="MIT", data="MS1MV2 or MS1MV3")
        card = _card(
            name, f"ghostfacenet_{architecture}", source, licence, sha256, std=(128.0,) * 3, notes=_NOT_SEEN
        )  # fmt: skip
        url, short = f"{_GHOST}/{release}/{file}", _SHORT.format(licence="MIT")
        found.append(recogniser(card, file, url, "unclear", size=size, licence=short))
    return found


def _sface_int8() -> list[Published]:
    """OpenCV's copies of SFace in whole numbers."""
    place = "https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_recognition_sface"
    found = []
    for kind, size, sha256 in (
        ("int8", 9_896_933, "2b0e941e6f16cc048c20aee0c8e31f569118f65d702914540f7bfdc14048d78a"),
        ("int8bq", 10_667_852, "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"),
    ):
        file = f"face_recognition_sface_2021dec_{kind}.onnx"
        source = f"OpenCV's model zoo, SFace of December 2021, {kind}"
        fed = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "dim": 128}
        card = _card(f"sface_{kind}", "sface", source, "Apache-2.0", sha256, **fed)
        found.append(recogniser(card, file, f"{place}/{file}", "yes", size=size))
    return found


def _small() -> list[Published]:
    """Small networks that yakhyo publishes as ONNX: trained there on MS1MV2, or made of EdgeFace's weights."""
    mit, short = _RESEARCH.format(licence="MIT", data="MS1MV2"), _SHORT.format(licence="MIT")
    edge = "none stated for the file itself"
    found = []
    for file, sha256 in (
        ("mobilenetv1_0.25", "eeda7d23d9c2b40cf77fa8da8e895b5697465192648852216074679657f8ee8b"),
        ("mobilenetv2", "38b148284dd48cc898d5d4453104252fbdcbacc105fe3f0b80e78954d9d20d89"),
        ("mobilenetv3_small", "d4acafa1039a82957aa8a9a1dac278a401c353a749c39df43de0e29cc1c127c3"),
        ("mobilenetv3_large", "0e48f8e11f070211716d03e5c65a3db35a5e917cfb5bc30552358629775a142a"),
        ("sphere20", "c02878cf658eb1861f580b7e7144b0d27cc29c440bcaa6a99d466d2854f14c9d"),
        ("sphere36", "13b3890cd5d7dec2b63f7c36fd7ce07403e5a0bbb701d9647c0289e6cbe7bb20"),
        ("edgeface_xxs", "dc674de4cbc77fa0bf9a82d5149558ab8581d82a2cd3bb60f28fd1a5d3ff8a2f"),
        ("edgeface_xs_gamma_06", "9206e2eb13a2761d7b5b76e13016d4b9acd3fa3535a9a09939f3adacd139a5ff"),
        ("edgeface_s_gamma_05", "b850767cf791bda585600b5c4c7d7432b2f998ccd862caae34ef1afa967d2e54"),
        ("edgeface_base", "b56942f072c67385f44734b9458b0ccc4a2226888a113f77e0c802ad0c77b4c3"),
    ):
        is_edge = file.startswith("edgeface")
        project = "edgeface-onnx" if is_edge else "uniface"
        commercial: Commercial = "unclear"
        source = f"github.com/yakhyo/{project}, release weights, {file}.onnx"
        card = _card(file, file.split("_")[0], source, edge if is_edge else mit, sha256)
        url = f"{_EDGEFACE if is_edge else _UNIFACE}/{file}.onnx"
        found.append(recogniser(card, f"{file}.onnx", url, commercial, licence=edge if is_edge else short))
    return found
