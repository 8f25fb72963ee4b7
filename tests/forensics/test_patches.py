"""A patch is the photo around a face, pixel for pixel; of a large face a smaller picture of it."""

import cv2
import numpy as np
import pytest

from faceverify.align.crops import Crop
from faceverify.align.cutting import cut
from faceverify.align.geometry import ARCFACE_112
from faceverify.errors import BadData
from faceverify.fakes.audit import found_face
from faceverify.forensics.bands import eye_distance
from faceverify.forensics.patches import MOST_EYES, cut_patch

PHOTO = np.random.default_rng(0).integers(0, 256, (500, 700, 3), dtype=np.uint8)


def face(scale: float, x: float = 300, y: float = 200) -> np.ndarray:
    return ((ARCFACE_112 - 56) * scale + [x, y]).astype(np.float32)


def test_a_patch_has_the_photos_pixels_around_the_face() -> None:
    patch = cut_patch(PHOTO, face(1.0))
    left, top = np.rint(face(1.0)[0] - patch.landmarks[0]).astype(int)
    height, width = patch.image.shape[:2]
    np.testing.assert_array_equal(patch.image, PHOTO[top : top + height, left : left + width])
    np.testing.assert_allclose(patch.landmarks + np.array([left, top]), face(1.0), atol=1e-4)
    assert 240 < height < 260 and 240 < width < 260


@pytest.mark.parametrize("turn", [0.0, 0.5, np.pi / 4])
def test_a_crop_of_the_patch_is_that_of_the_photo(turn: float) -> None:
    """Also of a turned face: nothing that the network is shown lies outside the patch."""
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = ((face(1.0) - [300, 200]) @ R.T + [300, 250]).astype(np.float32)
    crop, patch = Crop("arcface", 256, view=1.3), cut_patch(PHOTO, points)
    one, other = cut(PHOTO, found_face(points), crop), cut(patch.image, found_face(patch.landmarks), crop)
    assert np.abs(one.astype(int) - other).max() <= 2  # landmarks are float32


def test_a_large_face_is_shrunk_with_its_landmarks() -> None:
    large = cv2.resize(PHOTO, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    patch = cut_patch(large, (face(1.0) + 0.5) * 8 - 0.5)
    assert float(eye_distance(patch.landmarks[None])[0]) == pytest.approx(MOST_EYES, rel=0.01)
    assert patch.image.shape[0] < 900
    small = cut_patch(PHOTO, face(1.0))
    again = cut(patch.image, found_face(patch.landmarks), Crop("arcface", 32))
    np.testing.assert_allclose(again, cut(small.image, found_face(small.landmarks), Crop("arcface", 32)), atol=60)
    assert np.abs(again.astype(int) - cut(small.image, found_face(small.landmarks), Crop("arcface", 32))).mean() < 12


def test_at_the_edge_the_patch_ends_with_the_photo() -> None:
    patch = cut_patch(PHOTO, face(1.0, x=20, y=10))
    np.testing.assert_array_equal(patch.image[:50, :50], PHOTO[:50, :50])


@pytest.mark.parametrize("points", [np.full((5, 2), np.nan), np.zeros((5, 2)), face(1.0, x=2000, y=2000)])
def test_a_face_that_is_none_is_bad_data(points: np.ndarray) -> None:
    with pytest.raises(BadData):
        cut_patch(PHOTO, points.astype(np.float32))
