"""Detectors, the photos that the golden detections name, and DFA with the weights of its golden outputs."""

import importlib.util
import json
from functools import cache

import cv2
import numpy as np
import pytest

from faceverify.align import AlignConfig, build

WEIGHTS = {"yunet": "face_detection_yunet_2026may.onnx", "scrfd": "scrfd_2.5g_bnkps.onnx"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One thread, as workers have; several that wait for each other are slow on a machine with other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture(scope="session")
def recipe(golden):
    """The module that makes the weights and pictures of the golden outputs."""
    spec = importlib.util.spec_from_file_location("recipe", golden / "recipe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def dfa_tensors(golden, recipe):
    """dfa_tensors("mobile0.25" or "resnet50") -> the tensors of DFA's golden outputs; not to be changed."""
    import torch

    keys = json.loads((golden / "dfa_keys.json").read_text())

    @cache
    def make(architecture):
        return {name: torch.from_numpy(value) for name, value in recipe.dfa(keys[architecture], 0).items()}

    return make


@pytest.fixture(scope="session")
def published_dfa(dfa_tensors):
    """published_dfa(architecture) -> the whole aligner with those tensors, in evaluation mode; not to be changed."""
    from faceverify.align.dfa_module import DifferentiableAligner

    @cache
    def make(architecture):
        aligner = DifferentiableAligner(architecture).eval().requires_grad_(False)
        aligner.net.load_state_dict(dfa_tensors(architecture))
        return aligner

    return make


@pytest.fixture(scope="session")
def dfa_golden(golden):
    """dfa_golden(architecture) -> the published outputs, {name: array}."""
    files = {"mobile0.25": "dfa_mobile.npz", "resnet50": "dfa_resnet50.npz"}

    @cache
    def read(architecture):
        with np.load(golden / files[architecture]) as file:
            return dict(file)

    return read


@pytest.fixture(scope="session")
def dfa_picture(recipe):
    """dfa_picture(case) -> the picture [1, 3, H, W] of a case of the published outputs, RGB in [-1, 1]."""
    import torch

    cases = {"112": (21, 112, 112), "160": (22, 160, 160), "250": (23, 250, 250), "200x140": (24, 200, 140)}
    return lambda case: torch.from_numpy(recipe.image(*cases[case])).permute(2, 0, 1)[None] / 127.5 - 1
