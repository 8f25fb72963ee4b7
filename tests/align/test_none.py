"""Photos that are aligned faces already."""

import numpy as np
import pytest

from faceverify.align import AlignConfig, build
from faceverify.errors import BadData, Reason

aligner = build(AlignConfig(method="none"))


def test_112_is_kept_exactly():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    (face,) = aligner.align([image], [None])
    np.testing.assert_array_equal(face.image, image)
    assert (face.landmarks, face.score, face.faces_found) == (None, None, None)


def test_shrinking_averages():
    image = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    (face,) = aligner.align([image], [None])
    means = image.reshape(112, 2, 112, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(face.image, means, atol=0.51)


@pytest.mark.parametrize("side", [16, 56, 111, 113, 500])
def test_square_sizes_keep_flat_colours_in_rgb_order(side):
    (face,) = aligner.align([np.full((side, side, 3), (10, 100, 200), np.uint8)], [None])
    assert face.image.shape == (112, 112, 3)
    assert (face.image == (10, 100, 200)).all()


def test_not_square_between_good_ones():
    square, oblong = np.zeros((112, 112, 3), np.uint8), np.zeros((112, 111, 3), np.uint8)
    results = aligner.align([square, oblong, square], [None] * 3)
    assert [isinstance(r, BadData) for r in results] == [False, True, False]
    assert results[1].reason is Reason.NOT_ALIGNED
    assert "111x112" in results[1].detail
