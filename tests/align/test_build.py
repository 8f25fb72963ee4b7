"""`build`: settings that cannot be meant, missing and wrong weights, and what an import costs."""

import subprocess
import sys

import pytest

from faceverify.align import AlignConfig, build
from faceverify.errors import UserError

DETECTORS = ["yunet", "scrfd"]


def test_no_weights_named_are_the_methods_own(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path))
    for method, name in (("yunet", "yunet"), ("scrfd", "scrfd_2.5g"), ("mtcnn", "mtcnn"), ("dfa", "dfa_mobilenet")):
        with pytest.raises(UserError, match=f"not in the cache {tmp_path}: run `faceverify models fetch {name}`"):
            build(AlignConfig(method=method))


@pytest.mark.parametrize(
    ("weights", "said"),
    [("sface", "'sface' is a recogniser"), ("scrfd_10g", "'scrfd_10g' is of scrfd: set align.method to scrfd")],
)
def test_a_name_of_another_kind(weights, said):
    with pytest.raises(UserError, match=said):
        build(AlignConfig(weights=weights))


def test_a_file_that_is_called_like_a_published_one_is_given_with_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yunet").write_bytes(b"no network")
    with pytest.raises(UserError, match="not in the cache"):
        build(AlignConfig(weights="yunet"))
    with pytest.raises(UserError, match=r"'./yunet' is not a yunet network"):
        build(AlignConfig(weights="./yunet"))


@pytest.mark.parametrize("method", DETECTORS)
def test_weights_not_there_or_a_folder(tmp_path, method):
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(UserError, match=r"align.weights '.*' is not a file") as caught:
            build(AlignConfig(method=method, weights=str(path)))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("method", DETECTORS)
@pytest.mark.parametrize("content", [b"", b"no network " * 100])
def test_weights_that_are_no_network(tmp_path, method, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"align.weights '.*broken.onnx' is not a {method} network"):
        build(AlignConfig(method=method, weights=str(path)))


@pytest.mark.parametrize("method", DETECTORS)
def test_weights_of_another_network(shared_data, method):
    path = shared_data / "models" / "mobilefacenet_y1.onnx"
    with pytest.raises(UserError, match=f"is not a {method} network"):
        build(AlignConfig(method=method, weights=str(path)))


def test_weights_of_the_other_detector_are_named(shared_data):
    path = shared_data / "models" / "scrfd_2.5g_bnkps.onnx"
    with pytest.raises(UserError, match=r"holds the weights of scrfd.* or set align.method to scrfd"):
        build(AlignConfig(method="yunet", weights=str(path)))


def test_names_tell_method_and_weights(make_aligner, method):
    known = {"yunet": "yunet-ebafce4e3c11", "scrfd": "scrfd-bc24bb349491"}
    assert make_aligner(method).name == known[method]
    assert build(AlignConfig(method="annotated")).name == "annotated"
    assert build(AlignConfig(method="none")).name == "none"


@pytest.mark.parametrize(
    ("option", "value"), [("min_score", 1.5), ("min_score", -0.5), ("nms_iou", 2), ("detect_side", -32)]
)
def test_values_out_of_range(option, value):
    with pytest.raises(UserError, match=f"align.{option} is {value}: give"):
        AlignConfig(**{option: value})


def test_detect_side_is_a_multiple_of_32():
    assert AlignConfig(detect_side=1280).detect_side == 1280
    with pytest.raises(UserError, match=r"align\.detect_side is 1000: give a multiple of 32"):
        AlignConfig(detect_side=1000)


def test_import_is_light():
    heavy = ("cv2", "onnxruntime", "torch", "pyarrow")
    code = f"import sys, faceverify.align; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
