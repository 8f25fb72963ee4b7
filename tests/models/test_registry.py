"""The published models: every entry complete, and the colour order of each copy as its publisher states it."""

import csv
import json
import re
import typing

import pytest

from faceverify.align import Method
from faceverify.errors import UserError
from faceverify.fakes import GENERATORS
from faceverify.models import card, registry
from faceverify.models.architectures import ARCHITECTURES
from faceverify.models.files import sha256_of
from faceverify.models.recognisers import recognisers


@pytest.mark.parametrize("name", registry.entries())
def test_every_entry_is_valid_and_says_source_and_licence(name):
    entry = registry.get(name)
    assert entry.name == name and entry.source and entry.licence and entry.files
    for file in entry.files:
        assert file.url is None or file.url.startswith("https://")
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    if entry.kind == "recogniser":
        assert card.parse(entry.card.to_json(), name) == entry.card
        assert (entry.card.name, entry.card.sha256) == (name, entry.files[0].sha256)
    elif entry.kind == "generator":
        assert entry.card is None and entry.method == "" and len(entry.files) == 1
        assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in entry.files[0].others)
    else:
        assert entry.card is None and entry.method in registry.detectors.DEFAULTS


def test_every_name_that_a_user_may_expect_is_there():
    names = set(registry.entries())
    assert names >= {"yunet", "yunet_2026may", "scrfd_2.5g", "scrfd_10g", "mtcnn", "dfa_mobilenet", "dfa_resnet50"}
    assert names >= {"retinaface_mobilenet0.25", "retinaface_mobilenet0.25_1mb", "retinaface_resnet50"}
    assert names >= {"sface", "w600k_r50", "glintr100", "w600k_mbf", "mobilefacenet_y1", "mobilefacenet_foamliu"}
    assert len(names) == len([*registry.detectors.DETECTORS, *recognisers(), *registry.generators.generators()])


def test_what_generators_need_is_there():
    needed = [name for needs in GENERATORS.values() for name in needs.files]
    assert {registry.get(name).kind for name in needed} == {"generator"}
    assert {entry.name for entry in registry.entries().values() if entry.kind == "generator"} == set(needed)
    both = registry.get("inswapper_128")
    for sha256 in (both.files[0].sha256, *both.files[0].others):
        assert registry.is_published(sha256) and not both.stranger(sha256)
    assert len(both.files[0].others) == 1 and not registry.is_published("0" * 64)
    assert "0" * 64 in both.stranger("0" * 64) and "none has been published" in registry.get("ghost_1_256").stranger(
        "1"
    )
    assert registry.get("sface").stranger("0" * 64) == "", "of other networks it is refused"


def test_sums_are_those_that_have_been_stated(shared_data):
    """Those of the table of public statements, where it has the file; and of the files at hand."""
    stated = {}
    table = (shared_data.parent / "golden/zoo/hashes.csv").read_text()
    for row in csv.DictReader(table.splitlines()):
        stated[row["file"]] = row["sha256"], row["size_bytes"]
    for name, file in (
        ("yunet", "face_detection_yunet_2023mar.onnx"),
        ("sface", "face_recognition_sface_2021dec.onnx"),
        ("w600k_r50", "w600k_r50.onnx"),
        ("w600k_mbf", "w600k_mbf.onnx"),
        ("glintr100", "glintr100.onnx"),
        ("scrfd_10g", "scrfd_10g_bnkps.onnx"),
        ("adaface_onnx_ir101_webface12m", "adaface_ir_101.onnx"),
        ("cvlface_adaface_ir101_webface12m", "cvlface_adaface_ir101_webface12m/model.safetensors"),
        ("adaface_ir101_webface12m", "adaface_ir101_webface12m.ckpt"),
        ("arcface_ms1mv3_r100", "ms1mv3_arcface_r100_fp16.pth (backbone.pth)"),
        ("cosface_glint360k_r100", "glint360k_cosface_r100_fp16_0.1.pth (backbone.pth)"),
        ("auraface", "auraface glintr100.onnx"),
        ("facenet_vggface2", "20180402-114759-vggface2.pt"),
        ("ghostfacenet_w1.3_s1", "GhostFaceNet_W1.3_S1_ArcFace.h5"),
        ("sface_int8", "face_recognition_sface_2021dec_int8.onnx"),
        ("sface_int8bq", "face_recognition_sface_2021dec_int8bq.onnx"),
        *((name, f"{name}.onnx") for name in registry.entries() if name.startswith(("mobilenet", "sphere", "edge"))),
    ):
        [published] = registry.get(name).files
        assert published.sha256 == stated[file][0], name
        assert not stated[file][1] or published.size == int(stated[file][1]), name
    archive = registry.get("glintr100").files[0].archive
    assert (archive.sha256, str(archive.size)) == stated["antelopev2.zip"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("yunet_2026may", ["face_detection_yunet_2026may.onnx"]),
        ("scrfd_2.5g", ["scrfd_2.5g_bnkps.onnx"]),
        ("retinaface_mobilenet0.25", ["pytorch_retinaface_mobilenet0.25_Final.pth"]),
        ("retinaface_mobilenet0.25_1mb", ["retinaface_1mb_mobilenet0.25_Final.pth"]),
        ("mtcnn", ["mtcnn_pnet.pt", "mtcnn_rnet.pt", "mtcnn_onet.pt"]),
        ("mobilefacenet_y1", ["mobilefacenet_y1.onnx"]),
        ("mobilefacenet_foamliu", ["mobilefacenet_foamliu.pt"]),
    ],
)
def test_sums_and_sizes_of_the_files_at_hand(name, files, shared_data):
    for file, published in zip(files, registry.get(name).files, strict=True):
        path = shared_data / "models" / file
        assert (published.sha256, published.size) == (sha256_of(path), path.stat().st_size)


def test_the_default_pair_may_be_used_by_anybody():
    for name in (registry.default_detector("yunet"), registry.DEFAULT_RECOGNISER):
        assert registry.get(name).commercial == "yes"
        assert all(file.sha256 and file.size and file.url for file in registry.get(name).files)
    sface = registry.get("sface")
    assert (sface.card.colour, set(sface.card.mean), set(sface.card.std)) == ("RGB", {0.0}, {1.0})
    assert sface.published_threshold == 0.363 and "OpenCV" in sface.threshold_source
    assert [e.name for e in registry.entries().values() if e.published_threshold is not None] == ["sface"]


@pytest.mark.parametrize("method", typing.get_args(Method))
def test_every_method_has_its_own_weights(method):
    name = registry.default_detector(method)
    assert bool(name) == (method not in ("annotated", "none"))
    assert not name or registry.get(name).method == method


def test_every_network_is_fed_as_its_authors_feed_it():
    fed = {
        "magface": ("BGR", 0.0, 255.0, (112, 112)),
        "facenet": ("RGB", 127.5, 128.0, (160, 160)),
        "ghostfacenet": ("RGB", 127.5, 128.0, (112, 112)),
        "arcface": ("RGB", 127.5, 127.5, (112, 112)),
    }
    seen = set()
    for entry in registry.entries().values():
        kind = entry.card.architecture.split("_")[0] if entry.card else ""
        if kind in fed:
            seen.add(kind)
            card = entry.card
            assert (card.colour, card.mean[1], card.std[1], card.input_size) == fed[kind], entry.name
            assert card.architecture in ARCHITECTURES and card.dim == 512
    assert seen == set(fed)


def test_files_of_one_name_are_told_apart_by_their_sums():
    aura, glint = registry.get("auraface"), registry.get("glintr100")
    assert aura.files[0].name == glint.files[0].name and aura.commercial == "yes" and glint.commercial == "no"
    assert registry.known(aura.files[0].sha256) == aura.card and registry.known(glint.files[0].sha256) == glint.card
    assert "same network as glintr100" in registry.get("cosface_glint360k_r100").card.notes


def test_copies_of_adaface_differ_in_colour():
    colours = {name: entry.card.colour for name, entry in registry.entries().items() if "adaface" in name}
    assert {name for name, colour in colours.items() if colour == "RGB"} == {
        name for name in colours if name.startswith("cvlface_")
    }
    assert len(colours) == 22


def test_hashes_are_those_measured(golden):
    measured = json.loads((golden / "mobilefacenet_keys.json").read_text())
    for name, key in (("mobilefacenet_y1", "y1_onnx_sha256"), ("mobilefacenet_foamliu", "foamliu_pt_sha256")):
        assert registry.known(measured[key]) == registry.get(name).card


def test_unknown_file_and_name():
    assert registry.known("0" * 64) is None and registry.method_of("0" * 64) == ""
    with pytest.raises(UserError, match="nosuch"):
        registry.get("nosuch")
