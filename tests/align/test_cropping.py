"""The step that detectors and annotations share, with a detector that finds what it is told."""

import numpy as np
import pytest

from faceverify.align.cropping import DetectingAligner
from faceverify.align.detections import Detections, no_detections
from faceverify.align.geometry import ARCFACE_112
from faceverify.errors import BadData, Reason


class Told:
    """Finds the given faces, photo by photo."""

    name = "told"

    def __init__(self, *found):
        self._found = list(found)

    def detect(self, images):
        assert len(images) == len(self._found)
        return self._found


def faces(*landmarks):
    points = np.array(landmarks, np.float32)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return Detections(boxes, np.linspace(0.6, 0.9, len(points), dtype=np.float32), points)


def photo(seed, height=300, width=240):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_one_result_per_photo_in_order_with_failures_between():
    photos = [photo(i) for i in range(5)]
    found = [faces(ARCFACE_112), no_detections(), faces(ARCFACE_112, ARCFACE_112 * 2), no_detections()]
    found.append(faces(np.full((5, 2), 9.0)))
    results = DetectingAligner(Told(*found), "largest").align(photos, [None] * 5)
    reasons = [r.reason if isinstance(r, BadData) else None for r in results]
    assert reasons == [None, Reason.NO_FACE, None, Reason.NO_FACE, Reason.BAD_LANDMARKS]
    np.testing.assert_array_equal(results[0].image, photos[0][:112, :112])
    assert (results[0].faces_found, results[2].faces_found) == (1, 2)
    np.testing.assert_array_equal(results[2].landmarks, (ARCFACE_112 * 2).astype(np.float32))
    assert results[2].score == pytest.approx(0.9)
    assert results[2].landmarks.dtype == np.float32


def test_refuse_rejects_only_crowds():
    aligner = DetectingAligner(Told(faces(ARCFACE_112), faces(ARCFACE_112, ARCFACE_112 * 2)), "refuse")
    single, crowd = aligner.align([photo(1), photo(2)], [None, None])
    assert single.faces_found == 1
    assert crowd.reason is Reason.SEVERAL_FACES


def test_no_photos():
    assert DetectingAligner(Told(), "largest").align([], []) == []


def test_photos_stay_unchanged():
    image = photo(3)
    before = image.copy()
    DetectingAligner(Told(faces(ARCFACE_112)), "largest").align([image], [None])
    np.testing.assert_array_equal(image, before)
