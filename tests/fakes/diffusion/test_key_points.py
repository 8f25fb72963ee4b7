"""InstantID's key-point picture and size rule, against those of its reference implementation."""

import json

import numpy as np
import pytest

from faceverify.fakes.diffusion.key_points import draw, picture_size, scaled


@pytest.fixture(scope="module")
def numbers(golden):
    folder = golden / "generators"
    return json.loads((folder / "instantid.json").read_text()), np.load(folder / "instantid.npz")


def test_the_key_point_picture_is_that_of_the_reference(numbers):
    facts, arrays = numbers
    for name, about in facts["kps"].items():
        width, height = about["size_w_h"]
        assert (draw(arrays[f"kps_points_{name}"], width, height) == arrays[f"kps_{name}"]).all(), name
    height, width = facts["inputs"]["size_h_w"]
    assert (draw(np.array(facts["inputs"]["kps"]), width, height) == arrays["run_kps_image"]).all()


def test_the_size_is_that_of_the_reference(numbers):
    facts, _ = numbers
    for size, wanted in facts["resize_img_w_h"].items():
        width, height = map(int, size.split("x"))
        assert picture_size(width, height, 1024) == tuple(wanted), size
    small = facts["resize_small"]
    _, height, width = small["image"]
    assert list(picture_size(width, height, small["min_side"])) == small["size"]
    assert picture_size(10, 4000, 64) == (64, 64), "never nothing"


def test_landmarks_follow_the_photo():
    corners = np.array([[-0.5, -0.5], [249.5, 199.5], [124.5, 99.5], [0, 0], [249, 199]], np.float32)
    moved = scaled(corners, (250, 200), (1280, 1024))
    assert np.allclose(moved[:3], [[-0.5, -0.5], [1279.5, 1023.5], [639.5, 511.5]])
    assert (moved[3:] > 0).all() and (moved[3:] < [1280, 1024]).all()
