"""Storing photos again: what is drawn stays within bounds, points move with the pixels, every file is a photo."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.images import decode, encode_png, sniff
from faceverify.images.recoding import LEAST_EYES, PHASES, QUALITIES, Recoding, Save, draw_recoding, recode

EYES = np.array([[80, 90], [140, 90], [110, 120], [85, 150], [135, 150]], np.float32)


def draw(seed: int, height: int = 250, width: int = 250, landmarks: np.ndarray | None = EYES) -> Recoding:
    return draw_recoding(np.random.default_rng(seed), height, width, landmarks)


@given(st.integers(0, 2**63 - 1), st.integers(16, 600), st.integers(16, 600), st.floats(4, 300))
def test_what_is_drawn_stays_within_bounds(seed, height, width, eyes):
    landmarks = EYES * (eyes / 60)
    way = draw(seed, height, width, landmarks)
    assert 0 <= way.left < PHASES and 0 <= way.top < PHASES and 0.5 <= way.scale <= 1
    assert 1 <= len(way.saves) <= 2 and all(QUALITIES[0] <= save.quality <= QUALITIES[1] for save in way.saves)
    assert way.scale == 1 or way.scale * eyes >= LEAST_EYES - 1e-3
    made = recode(np.zeros((height, width, 3), np.uint8), way, landmarks)
    pixels = decode(made.data)
    assert pixels.shape == (*made.size, 3) and sniff(made.data) == {".jpg": "jpeg", ".webp": "webp"}[made.suffix]
    assert min(made.size) >= min(height, width, 48)


def test_all_ways_are_met():
    ways = [draw(seed) for seed in range(2000)]
    assert {way.left for way in ways} == {way.top for way in ways} == set(range(PHASES))
    assert {way.filter for way in ways} == {"area", "linear", "cubic", "lanczos"}
    assert {save.codec for way in ways for save in way.saves} == {"jpeg", "webp"}
    assert {save.quality for way in ways for save in way.saves} == set(range(50, 96))
    assert 0.2 < np.mean([way.scale == 1 for way in ways]) < 0.3
    assert 0.2 < np.mean([len(way.saves) == 2 for way in ways]) < 0.3


def test_no_face_no_limit_but_the_photos_size():
    assert min(draw(seed, landmarks=None).scale for seed in range(200)) < 0.55
    small = [draw(seed, 60, 200) for seed in range(50)]
    assert {(way.left, way.top, way.scale) for way in small} == {(0, 0, 1.0)}


@pytest.mark.parametrize("filter_name", ["area", "linear", "cubic", "lanczos"])
@pytest.mark.parametrize("scale", [1.0, 0.71, 0.5])
def test_points_move_with_the_pixels(scale, filter_name):
    """A bright spot's centre of mass is found where the point is said to be, to a twentieth of a pixel."""
    rows, columns = np.indices((200, 240))
    spot = 250 * np.exp(-((rows - 111) ** 2 + (columns - 71) ** 2) / (2 * 12.0**2))
    pixels = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    points = np.tile(np.array([71.0, 111.0], np.float32), (5, 1))
    made = recode(pixels, Recoding(3, 5, scale, filter_name, (Save("jpeg", 95),)), points)
    weight = np.where(decode(made.data)[:, :, 1] > 5, decode(made.data)[:, :, 1], 0).astype(float)
    rows, columns = np.indices(weight.shape)
    centre = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    assert np.abs(made.landmarks[0] - centre).max() < 0.05


def test_the_same_way_gives_the_same_bytes_and_says_what_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    way = Recoding(1, 2, 0.75, "area", (Save("jpeg", 80), Save("webp", 60)))
    first, again = recode(pixels, way), recode(pixels, way)
    assert first.data == again.data and first.landmarks is None
    assert str(way) == "crop 1,2 scale 0.750 area jpeg 80 webp 60"
    noted = recode(pixels, way, note="<x/>")
    assert b"<x/>" in noted.data and (decode(noted.data) == decode(first.data)).all()
    assert b"<x/>" in encode_png(pixels, "<x/>") and (decode(encode_png(pixels, "<x/>")) == pixels).all()


def test_a_png_holds_its_note_and_nothing_of_the_memory_behind_it():
    pixels = np.zeros((8, 8, 3), np.uint8)
    for length in range(10, 400, 3):
        note = "x" * length
        data = encode_png(pixels, note)
        at = data.index(b"iTXt") if b"iTXt" in data else data.index(b"tEXt")
        chunk = data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])]
        assert chunk.endswith(b"\0" + note.encode()) and len({encode_png(pixels, note) for _ in range(20)}) == 1
