"""The step that detectors and annotations share, with a detector that finds what it is told."""

import cv2
import numpy as np
import pytest

from faceverify.align.cropping import DetectingAligner
from faceverify.align.crops import ARCFACE, parse
from faceverify.align.cutting import cut
from faceverify.align.detections import Detections, no_detections
from faceverify.align.geometry import ARCFACE_112, transform_points
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


def test_a_large_face_is_averaged_and_a_small_one_sampled():
    image = photo(3, 1200, 1100)
    [face] = DetectingAligner(Told(faces(ARCFACE_112 * 8 + 40)), "largest").find([image], [None])
    area, bilinear = cut(image, face, ARCFACE), cut(image, face, parse("arcface112:filter=bilinear"))
    # Template points times 8: pixel (x, y) of the crop is the mean of 8x8 bilinear samples about 8 (x, y) + 40.
    steps = (np.arange(112 * 8) + 0.5) / 8 - 0.5
    at = (8 * steps + 40).astype(np.float32)
    samples = cv2.remap(image.astype(np.float32), *np.meshgrid(at, at), cv2.INTER_LINEAR)
    naive = samples.reshape(112, 8, 112, 8, 3).mean((1, 3))
    assert np.abs(area - naive).max() <= 1.01
    np.testing.assert_array_equal(bilinear, image[40 : 40 + 112 * 8 : 8, 40 : 40 + 112 * 8 : 8])
    [small] = DetectingAligner(Told(faces(ARCFACE_112 * 1.4)), "largest").find([image], [None])
    np.testing.assert_array_equal(cut(image, small, ARCFACE), cut(image, small, parse("arcface112:filter=bilinear")))


@pytest.mark.parametrize(("margin", "want"), [(0, (30, 50, 90, 130)), (32, (22, 40, 97, 140))])
def test_a_box_is_cut_with_its_margin_and_resized_without_its_proportions(margin, want):
    image = photo(4)
    box = Detections(np.array([[30.4, 50, 90, 130]], np.float32), np.ones(1, np.float32), ARCFACE_112[None] + 20)
    [face] = DetectingAligner(Told(box), "largest").find([image], [None])
    x1, y1, x2, y2 = want  # 32 of 160 pixels: a quarter more of 59.6 x 80, an eighth on each side
    crop = cut(image, face, parse(f"box160:margin={margin}"))
    np.testing.assert_array_equal(crop, cv2.resize(image[y1:y2, x1:x2], (160, 160), interpolation=cv2.INTER_LINEAR))


def test_a_face_found_in_a_reduced_copy_is_that_of_the_photo():
    points = ARCFACE_112 * 5 + [300, 200]
    [whole] = DetectingAligner(Told(faces(points)), "largest").find([photo(5, 1600, 1600)], [None])
    [small] = DetectingAligner(Told(faces(points / 4)), "largest").find([photo(5, 400, 400)], [None])
    large = small.enlarged(4)
    np.testing.assert_allclose(large.landmarks, whole.landmarks, rtol=1e-6)
    np.testing.assert_allclose(large.to_arcface, whole.to_arcface, atol=1e-6)
    np.testing.assert_allclose(large.box, whole.box, rtol=1e-6)
    # The middle of 4x4 pixels is one pixel of the copy.
    back = whole.reduced(4)
    at = transform_points(whole.to_arcface, np.array([401.5, 601.5]))
    np.testing.assert_allclose(transform_points(back.to_arcface, np.array([100, 150])), at, atol=1e-9)
