"""Detectors, and the photos that the golden detections name."""

import cv2
import pytest

from faceverify.align import AlignConfig, build

WEIGHTS = {"yunet": "face_detection_yunet_2026may.onnx", "scrfd": "scrfd_2.5g_bnkps.onnx"}


def read_rgb(path):
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


@pytest.fixture(scope="session", params=sorted(WEIGHTS))
def method(request):
    return request.param


@pytest.fixture
def make_aligner(shared_data):
    """make_aligner(method, **options of AlignConfig)."""

    def make(method, **options):
        return build(AlignConfig(method=method, weights=str(shared_data / "models" / WEIGHTS[method]), **options))

    return make


@pytest.fixture
def weights(shared_data):
    """weights(method) -> content of the detector's file."""
    return lambda method: (shared_data / "models" / WEIGHTS[method]).read_bytes()


@pytest.fixture
def golden_photos(shared_data):
    """golden_photos(names) -> {name: RGB photo} of those that are there; skips if none is."""

    def read(names):
        folders = [shared_data / "lfw" / "view1" / "images", shared_data / "lfw" / "images"]
        found = {name: folder / name for folder in folders for name in names if (folder / name).exists()}
        if not found:
            pytest.skip("none of the photos that the golden detections name is in the shared data")
        return {name: read_rgb(path) for name, path in found.items()}

    return read


@pytest.fixture
def lfw_photos(shared_data):
    """12 photos of 250x250, in a fixed order."""
    paths = sorted((shared_data / "lfw" / "view1" / "images").rglob("*.jpg"))[::130]
    return [read_rgb(path) for path in paths]


@pytest.fixture
def odd_photo(shared_data):
    """odd_photo("two_faces") -> RGB photo."""
    return lambda name: read_rgb(shared_data / "odd" / f"{name}.jpg")
