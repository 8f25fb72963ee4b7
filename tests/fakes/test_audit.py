"""What fakes are worth: similarities to the person and the host, what changed, how sharp it is; sums by generator."""

from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest

from faceverify.fakes import FaceInput, Fake
from faceverify.fakes.audit import MEASURED, Audit, audits, pixels_changed, sharpness

SCHEMA = pa.schema([("generator", pa.string()), *MEASURED])


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (120, 140, 3)).astype(np.uint8)


def pasted(before: np.ndarray, box: tuple[int, int, int, int], inside: np.ndarray) -> Fake:
    image = before.copy()
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = inside[y0:y1, x0:x1]
    return Fake(image, None, box, np.ones((y1 - y0, x1 - x0), np.float32), "test")


def test_the_share_of_pixels_that_changed():
    before = noise()
    assert pixels_changed(pasted(before, (10, 20, 40, 60), 255 - before), before) == 30 * 40 / (120 * 140)
    one_level = before.copy()
    one_level[..., 1] ^= 1
    assert pixels_changed(pasted(before, (10, 20, 40, 60), one_level), before) == 30 * 40 / (120 * 140)
    assert pixels_changed(pasted(before, (10, 20, 40, 60), before), before) == 0
    all_new = Fake(before, None, None, None, "new")
    assert pixels_changed(all_new, before) is None
    assert pixels_changed(pasted(before, (0, 0, 5, 5), before), before[1:]) is None


@pytest.mark.parametrize("box", [(40, 30, 100, 90), (0, 0, 60, 60), (80, 60, 140, 120)])
def test_sharpness_is_zero_where_nothing_changes_and_falls_with_blur(box):
    before = noise()
    blurred = [cv2.GaussianBlur(before, (0, 0), sigma) for sigma in (0.5, 1, 2)]
    same, *soft = (sharpness(pasted(before, box, inside)) for inside in (before, *blurred))
    assert abs(same) < 0.1 and same > soft[0] > soft[1] > soft[2] and soft[2] < -2
    half = ((before.astype(int) - 128) // 2 + 128).astype(np.uint8)
    assert abs(sharpness(pasted(before, box, half)) + 1) < 0.15, "half as sharp"


def test_sharpness_is_unknown_where_there_is_no_inside_or_no_outside():
    before = noise()
    fake = pasted(before, (0, 0, 140, 120), before)
    assert sharpness(fake) is None
    assert sharpness(Fake(before, None, None, None, "new")) is None
    assert sharpness(replace(pasted(before, (9, 9, 30, 30), before), mask=np.zeros((21, 21), np.float32))) is None


def test_sums_by_generator():
    rows = [
        {"generator": "b", "similarity_person": 0.5, "similarity_host": 0.1, "pixels_changed": 0.2, "sharpness": 1.0},
        {"generator": "b", "similarity_person": 0.3, "similarity_host": 0.3, "pixels_changed": 0.4, "sharpness": 0.0},
        {"generator": "b", "similarity_person": None, "similarity_host": None, "pixels_changed": 0.9},
        {"generator": "a"},
    ]
    pieces = [pa.Table.from_pylist(rows[:1], SCHEMA), pa.Table.from_pylist(rows[1:], SCHEMA)]
    bare, full = audits(pieces, 0.4)
    assert bare == Audit("a", 1, 0, None, None, None, None, None) and str(bare) == ""
    assert (full.fakes, full.judged, full.accepted) == (3, 2, 1)
    assert full.person == pytest.approx(0.4) and full.host == pytest.approx(0.2)
    assert full.changed == pytest.approx(0.4) and full.sharpness == pytest.approx((0.05, 0.5, 0.95))
    assert str(full) == (
        "b: cosine to the person 0.40, to the host 0.20, 1 of 2 accepted as the person, 40.0% of pixels changed"
    )
    assert audits(pieces, None)[1].accepted is None
    assert audits([SCHEMA.empty_table()], 0.4) == []


def test_a_recogniser_knows_a_face_again(faces: list[FaceInput], recogniser):
    from faceverify.fakes.audit import Recogniser
    from faceverify.models import EngineConfig

    judge = Recogniser(str(recogniser), EngineConfig(provider="cpu", threads=1))
    same, other = judge.cosines(faces[0], [faces[0], faces[2]])
    assert same == pytest.approx(1, abs=1e-5) and other < same
    moved = FaceInput(np.pad(faces[0].image, ((9, 0), (5, 0), (0, 0))), np.add(faces[0].landmarks, [5, 9]))
    assert judge.cosines(moved, [faces[0]])[0] > 0.99, "the crop follows the landmarks"
