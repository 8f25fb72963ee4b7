"""The copy that DFA looks at, and the way back into the photo."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faceverify.align.dfa_module import network_input
from faceverify.align.dfa_square import Square
from faceverify.align.dfa_warp import CROP, fit_thetas, landmarks_in_crop
from faceverify.align.geometry import transform_points

SIZES = [(112, 112), (160, 160), (250, 250), (200, 140), (141, 300), (1, 1), (2, 700), (500, 16)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_copy_is_the_published_one(height, width):
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    want = network_input(torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1)[0].permute(1, 2, 0)
    for view in (photo, photo[:, ::-1]):
        copy = Square(height, width).copy(view)
        np.testing.assert_allclose(copy / 127.5 - 1, want if view is photo else mirrored(photo), atol=1e-4)


def mirrored(photo):
    return Square(*photo.shape[:2]).copy(photo[:, ::-1].copy()) / 127.5 - 1


@given(st.integers(2, 3000), st.integers(2, 3000), st.integers(0, 2**32 - 1))
def test_photo_and_crop_agree_where_the_landmarks_are(height, width, seed):
    """Both ways to the crop's pixels, through the photo's and through theta, are one."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.2, 0.8, 2) + rng.uniform(0.05, 0.5) * rng.normal(0, 1, (5, 2))
    points = torch.from_numpy(shares)[None]
    theta = fit_thetas(points)
    square = Square(height, width)
    found = transform_points(square.crop_matrix(theta[0].numpy()), square.landmarks(shares))
    np.testing.assert_allclose(found, landmarks_in_crop(points, theta)[0] * (CROP - 1), rtol=1e-6, atol=1e-5)


def test_corners_of_the_square_are_the_middles_of_its_outermost_pixels():
    square = Square(100, 61)
    np.testing.assert_allclose(square.landmarks([[0, 0], [1, 1]]), [[-19, 0], [80, 99]])
    np.testing.assert_allclose(Square(61, 100).landmarks([[0, 0], [1, 1]]), [[0, -19], [99, 80]])
