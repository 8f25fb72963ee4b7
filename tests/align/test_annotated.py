"""Cutting by the landmarks of the photos table."""

import numpy as np
import pytest

from faceverify.align import AlignConfig, build
from faceverify.align.geometry import ARCFACE_112
from faceverify.errors import Reason

aligner = build(AlignConfig(method="annotated"))


def photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (200, 160, 3), np.uint8)


def test_cuts_where_the_landmarks_are():
    image = photo(0)
    landmarks = (ARCFACE_112 + np.array([30, 50])).astype(np.float32)
    (face,) = aligner.align([image], [landmarks])
    # The shift of float32 landmarks is a whole number but for 1e-6 pixel.
    assert np.abs(face.image.astype(int) - image[50:162, 30:142]).max() <= 1
    np.testing.assert_array_equal(face.landmarks, landmarks)
    assert face.score is None
    assert face.faces_found is None


def test_reasons():
    good = ARCFACE_112.astype(np.float32)
    holed = good.copy()
    holed[0, 0] = np.nan
    cases = [None, good, holed, np.full((5, 2), 20, np.float32), good + 500, good - 500, good + 60]
    results = aligner.align([photo(i) for i in range(7)], cases)
    reasons = [getattr(r, "reason", None) for r in results]
    bad = Reason.BAD_LANDMARKS
    assert reasons == [Reason.NO_LANDMARKS, None, bad, bad, bad, bad, None]
    assert "160x200" in results[4].detail


def test_lists_of_different_length_are_a_mistake():
    with pytest.raises(ValueError, match="2 images but 1 landmarks"):
        aligner.align([photo(0), photo(1)], [None])
