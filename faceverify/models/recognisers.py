"""The published recognisers: addresses, sums, licences, and how each is fed. Data alone, see `published.py`.

Sums are those that the publisher states, that several independent projects state, or of files that were measured here.
"""

from typing import Literal

from faceverify.models.card import ModelCard
from faceverify.models.published import Archive, Published, recogniser
from faceverify.models.recognisers_zoo import zoo

_HUB = "https://huggingface.co/minchul"
_UNIFACE = "https://github.com/yakhyo/uniface/releases/download/weights"
_INSIGHTFACE = "non-commercial research only"
_ADAFACE = "MIT (code and weights); the training data ({data}) are for research only"


def _sface() -> Published:
    card = ModelCard(
        name="sface",
        architecture="sface",
        colour="RGB",
        mean=(0.0, 0.0, 0.0),  # its graph takes pixels as they are
        std=(1.0, 1.0, 1.0),
        dim=128,
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        source="OpenCV's model zoo, SFace of December 2021",
        licence="Apache-2.0",
    )
    name = "face_recognition_sface_2021dec.onnx"
    url = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_recognition_sface/{name}"
    said = "OpenCV's model zoo, models/face_recognition_sface/sface.py"
    return recogniser(card, name, url, "yes", size=38_696_353, threshold=(0.363, said))


def _insightface() -> list[Published]:
    """ArcFace networks of InsightFace's packs; where a copy of the same sum lies alone, it is taken from there."""
    found = []
    antelope = Archive(
        member="glintr100.onnx",
        size=360_662_982,
        sha256="8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
    )
    packs = "https://github.com/deepinsight/insightface/releases/download/v0.7"
    for name, architecture, size, sha256, url, archive, source in (
        (
            "w600k_r50",
            "iresnet50",
            174_383_860,
            "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
            f"{_UNIFACE}/w600k_r50.onnx",
            None,
            "InsightFace, buffalo_l (ArcFace on WebFace600K); a copy",
        ),
        (
            "glintr100",
            "iresnet100",
            260_665_334,
            "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
            f"{packs}/antelopev2.zip",
            antelope,
            "InsightFace, antelopev2 (Glint360K)",
        ),
        (
            "w600k_mbf",
            "mobilefacenet",
            13_616_099,
            "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
            f"{_UNIFACE}/w600k_mbf.onnx",
            None,
            "InsightFace, buffalo_s (ArcFace on WebFace600K); a copy",
        ),
    ):
        card = ModelCard(
            name=name,
            architecture=architecture,
            colour="RGB",
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
            dim=512,
            sha256=sha256,
            source=source,
            licence=_INSIGHTFACE,
        )
        found.append(recogniser(card, f"{name}.onnx", url, "no", size=size, archive=archive))
    return found


def _arcface_webface42m() -> Published:
    """The recogniser whose vectors Arc2Face reads; no sum of it has been published."""
    card = ModelCard(
        name="arcface_webface42m",
        architecture="iresnet100",
        colour="RGB",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        dim=512,
        source="huggingface.co/FoivosPar/Arc2Face, arcface.onnx (ArcFace on WebFace42M)",
        licence="MIT, says the card of Arc2Face; the training data (WebFace42M) are for research only",
    )
    url = "https://huggingface.co/FoivosPar/Arc2Face/resolve/main/arcface.onnx"
    return recogniser(card, "arcface.onnx", url, "unclear", licence="MIT; training data for research only")


def _mobilefacenet_y1() -> Published:
    card = ModelCard(
        name="mobilefacenet_y1",
        architecture="mobilefacenet_y1",
        colour="RGB",
        mean=(0.0, 0.0, 0.0),  # (x - 127.5) / 128 is the first step of the graph itself
        std=(1.0, 1.0, 1.0),
        dim=128,
        sha256="7cab49a91805fef2bd4b00cf9fa43fc14c11eec2913a4797af7e917deaaf3a33",
        source="deepinsight/insightface model zoo, MobileFaceNet y1 (ArcFace), converted from MXNet",
        licence="non-commercial research only",
        notes="The graph subtracts 127.5 and divides by 128 itself.",
    )
    return recogniser(card, "mobilefacenet_y1.onnx", None, "no", size=4_131_098)


def _mobilefacenet_foamliu() -> Published:
    card = ModelCard(
        name="mobilefacenet_foamliu",
        architecture="mobilefacenet",
        colour="RGB",
        mean=(123.675, 116.28, 103.53),  # 255 x (.485, .456, .406)
        std=(58.395, 57.12, 57.375),  # 255 x (.229, .224, .225)
        dim=128,
        sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        source="github.com/foamliu/MobileFaceNet, weights/mobilefacenet.pt",
        licence="Apache-2.0",
    )
    commit = "a6cc9032a659b615f477833e1a70b5e7931bcccc"
    url = f"https://github.com/foamliu/MobileFaceNet/raw/{commit}/weights/mobilefacenet.pt"
    return recogniser(card, "mobilefacenet.pt", url, "yes", size=4_135_271)


_DATA = {
    "casia": "CASIA-WebFace",
    "vgg2": "VGGFace2",
    "ms1mv2": "MS1MV2",
    "ms1mv3": "MS1MV3",
    "webface4m": "WebFace4M",
    "webface12m": "WebFace12M",
}
_TRAININGS = (
    ("ir18", "casia"),
    ("ir18", "vgg2"),
    ("ir18", "webface4m"),
    ("ir50", "casia"),
    ("ir50", "webface4m"),
    ("ir50", "ms1mv2"),
    ("ir101", "ms1mv2"),
    ("ir101", "ms1mv3"),
    ("ir101", "webface4m"),
    ("ir101", "webface12m"),
)
# Size and SHA-256 where they are known, by name.
_MEASURES = {
    "adaface_ir101_webface12m": (
        1_526_801_999,
        "0e7a3238d2a50f3fe3860782534928ac7cb2598977cf897f6869fd5ac2493fd0",
    ),
    "cvlface_adaface_ir101_webface12m": (
        260_980_552,
        "2ea535a43877bd3de8091903935c783ce335be66a9f8917fae9a7a18ae4bbf56",
    ),
    "adaface_onnx_ir18_webface4m": (None, "6b6a35772fb636cdd4fa86520c1a259d0c41472a76f70f802b351837a00d9870"),
    "adaface_onnx_ir101_webface12m": (None, "f2eb07d03de0af560a82e1214df799fec5e09375d43521e2868f9dc387e5a43e"),
}


def _adaface(
    name: str,
    training: tuple[str, str],
    colour: Literal["RGB", "BGR"],
    source: str,
    file_name: str,
    url: str | None,
    notes: str = "",
) -> Published:
    net, data = training
    size, sha256 = _MEASURES.get(name, (None, None))
    card = ModelCard(
        name=name,
        architecture=net.replace("ir", "ir_"),
        colour=colour,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        dim=512,
        sha256=sha256,
        source=source,
        licence=_ADAFACE.format(data=_DATA[data]),
        notes=notes,
    )
    return recogniser(card, file_name, url, "unclear", size=size, licence="MIT; training data for research only")


def _adaface_originals() -> list[Published]:
    """Checkpoints of the authors' repository: BGR; linked to a file-sharing site, so fetched by hand."""
    found = []
    for training in _TRAININGS:
        name = "adaface_{}_{}".format(*training)
        source = f"github.com/mk-minchul/AdaFace, README, {name}.ckpt"
        found.append(_adaface(name, training, "BGR", source, f"{name}.ckpt", None))
    return found


def _adaface_hub() -> list[Published]:
    """The CVLface copies of the same training runs: RGB."""
    found = []
    for training in _TRAININGS:
        name = "cvlface_adaface_{}_{}".format(*training)
        source = f"huggingface.co/minchul/{name}, model.safetensors"
        url = f"{_HUB}/{name}/resolve/main/model.safetensors"
        found.append(_adaface(name, training, "RGB", source, "model.safetensors", url))
    return found


def _adaface_onnx() -> list[Published]:
    """ONNX graphs that yakhyo/adaface-onnx made of the original checkpoints: BGR, without the norm."""
    found = []
    for training, file_name in (
        (("ir18", "webface4m"), "adaface_ir_18.onnx"),
        (("ir101", "webface12m"), "adaface_ir_101.onnx"),
    ):
        name = "adaface_onnx_{}_{}".format(*training)
        source = f"github.com/yakhyo/adaface-onnx, release weights, {file_name}"
        url = f"https://github.com/yakhyo/adaface-onnx/releases/download/weights/{file_name}"
        folded = "BatchNorm is folded into the convolutions."
        found.append(_adaface(name, training, "BGR", source, file_name, url, folded))
    return found


def recognisers() -> list[Published]:
    """All of them, in the order in which they are listed."""
    return [
        _sface(),
        *_insightface(),
        _arcface_webface42m(),
        _mobilefacenet_y1(),
        _mobilefacenet_foamliu(),
        *_adaface_originals(),
        *_adaface_hub(),
        *_adaface_onnx(),
        *zoo(),
    ]
