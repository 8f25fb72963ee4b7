"""What holds for every detector: policies on real photos with several faces, order, independence, refusals."""

import cv2
import numpy as np
import pytest

from faceverify.align.geometry import ARCFACE_112
from faceverify.errors import BadData, Reason


def test_two_faces(make_aligner, method, odd_photo):
    photo = odd_photo("two_faces")
    (largest,) = make_aligner(method).align([photo], [None])
    (central,) = make_aligner(method, policy="most_central").align([photo], [None])
    (refused,) = make_aligner(method, policy="refuse").align([photo], [None])
    assert largest.faces_found == central.faces_found == 2
    assert largest.image.shape == (112, 112, 3)
    assert 0.5 <= largest.score <= 1
    assert refused.reason is Reason.SEVERAL_FACES
    assert "2 faces" in refused.detail


def test_many_faces(make_aligner, method, odd_photo):
    photo = odd_photo("many_faces")
    (largest,) = make_aligner(method).align([photo], [None])
    (refused,) = make_aligner(method, policy="refuse").align([photo], [None])
    assert largest.faces_found >= 5
    assert refused.reason is Reason.SEVERAL_FACES


def test_an_enlarged_neighbour_becomes_the_largest(make_aligner, method, lfw_photos):
    """Two photos side by side, one twice as high: `largest` follows the larger, wherever it is."""
    small = lfw_photos[0]
    large = cv2.resize(lfw_photos[1], (500, 500))
    padded = np.zeros((500, 250, 3), np.uint8)
    padded[:250] = small
    left, right = make_aligner(method).align([np.hstack([large, padded]), np.hstack([padded, large])], [None, None])
    assert left.landmarks[:, 0].max() < 500
    assert right.landmarks[:, 0].min() > 250


def test_landmarks_are_ordered_as_the_template(make_aligner, method, lfw_photos):
    for face in make_aligner(method).align(lfw_photos, [None] * len(lfw_photos)):
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_crops_are_aligned(make_aligner, method, lfw_photos):
    """Detected again in the crop, the landmarks lie on the template."""
    aligner = make_aligner(method)
    crops = [face.image for face in aligner.align(lfw_photos, [None] * len(lfw_photos))]
    again = np.stack([face.landmarks for face in aligner.align(crops, [None] * len(crops))])
    assert np.abs(again.mean(axis=0) - ARCFACE_112).max() < 4


def test_one_result_per_photo_whatever_is_beside_it(make_aligner, method, lfw_photos):
    """Photos of odd sizes, with faceless ones between: the same results alone, together and backwards."""
    aligner = make_aligner(method)
    empty = np.full((90, 70, 3), 127, np.uint8)
    photos = [lfw_photos[0], empty, lfw_photos[1][:, 20:230], lfw_photos[2][30:], empty[:16, :16], lfw_photos[3]]
    together = aligner.align(photos, [None] * 6)
    backwards = aligner.align(photos[::-1], [None] * 6)[::-1]
    alone = [aligner.align([photo], [None])[0] for photo in photos]
    assert [isinstance(r, BadData) for r in together] == [False, True, False, False, True, False]
    assert together[1].reason is Reason.NO_FACE
    for one, other in [*zip(together, alone, strict=True), *zip(together, backwards, strict=True)]:
        if not isinstance(one, BadData):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.landmarks, other.landmarks)


@pytest.mark.parametrize("shape", [(16, 9000), (9000, 16), (16, 16)])
def test_extreme_shapes_are_rejected_not_raised(make_aligner, method, shape):
    (result,) = make_aligner(method).align([np.zeros((*shape, 3), np.uint8)], [None])
    assert result.reason is Reason.NO_FACE


def test_min_score_drops_weak_detections(make_aligner, method, odd_photo):
    (result,) = make_aligner(method, min_score=1.0).align([odd_photo("two_faces")], [None])
    assert result.reason is Reason.NO_FACE
