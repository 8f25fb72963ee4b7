"""SCRFD against the published detections; its decoding and suppression against naive loops."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.align.scrfd import Scrfd, decode, letterbox, suppress


@pytest.fixture
def detector(weights):
    return Scrfd(weights("scrfd"), "scrfd")


def test_published_detections(golden, golden_photos, detector):
    expected = json.loads((golden / "scrfd_2.5g.json").read_text())["detections"]["640"]
    for name, photo in golden_photos(expected).items():
        (found,) = detector.detect([photo])
        faces = expected[name]
        assert len(found) == len(faces)
        np.testing.assert_allclose(found.boxes, [face["box_xyxy"] for face in faces], atol=0.01)
        np.testing.assert_allclose(found.landmarks, [face["landmarks"] for face in faces], atol=0.01)
        np.testing.assert_allclose(found.scores, [face["score"] for face in faces], atol=1e-4)


def test_decode_equals_a_loop_over_cells():
    rng = np.random.default_rng(0)
    side = 64
    sizes = [(side // stride) ** 2 * 2 for stride in (8, 16, 32)]
    outputs = [rng.normal(size=(n, width)).astype(np.float32) for width in (1, 4, 10) for n in sizes]
    scores, boxes, landmarks = decode(outputs, side)
    row = 0
    for level, stride in enumerate((8, 16, 32)):
        cells = side // stride
        for i in range(cells * cells * 2):
            x, y = (i // 2) % cells * stride, (i // 2) // cells * stride
            left, top, right, bottom = outputs[3 + level][i] * stride
            assert scores[row] == outputs[level][i, 0]
            np.testing.assert_allclose(boxes[row], [x - left, y - top, x + right, y + bottom], atol=1e-4)
            np.testing.assert_allclose(landmarks[row].ravel(), outputs[6 + level][i] * stride + [x, y] * 5, atol=1e-4)
            row += 1
    assert row == len(scores)


def overlap(a, b):
    """Shared area over joint area, +1 on each side."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(0.0, width) * max(0.0, height)
    area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return shared / (area[0] + area[1] - shared)


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.sampled_from([0.1, 0.4, 0.7]))
def test_suppress_equals_a_double_loop(seed, count, limit):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes, scores = np.hstack([corner, corner + rng.uniform(1, 40, (count, 2))]), rng.uniform(size=count)
    kept = []
    for i in sorted(range(count), key=lambda i: -scores[i]):
        if all(overlap(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(i)
    assert suppress(boxes, scores, limit).tolist() == kept


@pytest.mark.parametrize(("height", "width"), [(250, 250), (100, 400), (400, 100), (1, 900)])
def test_letterbox_fills_top_left_with_zeros_beyond(height, width):
    canvas, scale = letterbox(np.full((height, width, 3), 200, np.uint8), 128)
    filled = canvas.any(axis=(1, 2)).sum(), canvas.any(axis=(0, 2)).sum()
    assert filled == (max(1, height * 128 // max(height, width)), width * 128 // max(height, width))
    assert (canvas[: filled[0], : filled[1]] == 200).all()
    assert scale == filled[0] / height


def test_frame_filling_faces_are_found_at_the_second_look(lfw_photos, detector):
    crops = [photo[60:190, 60:190] for photo in lfw_photos]
    assert [len(detector._look(crop, 640)) for crop in crops].count(0) >= 1
    assert min(len(found) for found in detector.detect(crops)) >= 1
