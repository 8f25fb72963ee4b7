"""Outlines, and what is made of them."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.align.geometry import ARCFACE_112
from faceverify.fakes.masks import (
    PLAIN,
    bounding_box,
    draw_variation,
    elastic,
    feathered,
    filled,
    outline,
    polygon_area,
)

SEEDS = st.integers(0, 2**32)


def some_face(seed: int, noise: float = 2.5) -> np.ndarray:
    return ARCFACE_112 + np.random.default_rng(seed).normal(0, noise, (5, 2))


@given(SEEDS, st.floats(-3.1, 3.1), st.floats(0.2, 20), st.floats(-500, 500))
@settings(deadline=None)
def test_an_outline_turns_grows_and_moves_with_the_face(seed, angle, scale, shift):
    points, variation = some_face(seed), draw_variation(np.random.default_rng(seed))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    there = outline(points @ turn.T + shift, variation)
    assert np.allclose(there, outline(points, variation) @ turn.T + shift, atol=1e-6 * scale + 1e-6 * abs(shift))


@given(SEEDS)
@settings(deadline=None)
def test_an_outline_holds_the_landmarks(seed):
    shape = outline(some_face(seed, 1.5), draw_variation(np.random.default_rng(seed)))
    for point in some_face(seed, 1.5):
        assert cv2.pointPolygonTest(shape.astype(np.float32), tuple(map(float, point)), False) > 0


def test_the_plain_outline_is_symmetric_and_reaches_from_above_the_brows_to_the_chin():
    even = (ARCFACE_112 + (ARCFACE_112 * [-1, 1] + [112, 0])[[1, 0, 2, 4, 3]]) / 2
    shape = outline(even)
    mirrored = shape * [-1, 1] + [112, 0]
    assert np.abs(np.sort(shape[:, 0]) - np.sort(mirrored[:, 0])).max() < 1
    assert shape[:, 1].min() < 35 and shape[:, 1].max() > 105


def test_the_side_turned_away_is_narrower():
    turned = ARCFACE_112 + np.array([[0, 0], [0, 0], [9, 0], [0, 0], [0, 0]])
    middle = turned[:2].mean(axis=0)[0]
    shape = outline(turned)
    plain = outline(ARCFACE_112, PLAIN)
    assert shape[:, 0].max() - middle < plain[:, 0].max() - 56 - 3


@given(SEEDS, st.floats(0, 40))
def test_a_bounding_box_holds_all_that_lies_in_the_picture(seed, margin):
    polygon = np.random.default_rng(seed).uniform(-40, 140, (6, 2))
    x0, y0, x1, y1 = bounding_box(polygon, (100, 90, 3), margin)
    assert x0 >= 0 and x1 <= 90 and y0 >= 0 and y1 <= 100
    inside = polygon[((polygon >= 0) & (polygon <= [89, 99])).all(axis=1)]
    assert (inside >= [x0, y0]).all() and (inside <= [x1 - 1, y1 - 1]).all()


@given(SEEDS)
@settings(deadline=None)
def test_a_filled_outline_covers_its_area(seed):
    shape = outline(some_face(seed) * 2)
    box = bounding_box(shape, (400, 400))
    mask = filled(shape, box)
    assert mask.dtype == np.float32 and mask.min() == 0 and mask.max() == 1
    assert abs(mask.sum() / polygon_area(shape) - 1) < 0.04
    x0, y0, x1, y1 = box
    smaller = filled(shape, (x0 + 20, y0 + 30, x1 - 5, y1 - 10))
    assert (smaller == mask[30:-10, 20:-5]).mean() > 0.99


@given(SEEDS, st.floats(1, 30))
@settings(deadline=None)
def test_a_feather_lies_inside_and_rises_inwards(seed, width):
    shape = outline(some_face(seed))
    mask = filled(shape, (0, 0, 112, 112))
    soft = feathered(mask, width)
    assert soft.dtype == np.float32 and soft.shape == mask.shape
    assert (soft[mask < 1] == 0).all() and 0 < soft.max() <= 1
    assert (feathered(mask, 2 * width) <= soft).all()
    assert np.abs(np.diff(soft, axis=1)).max() <= 1.6 / max(width, 1.0)  # no step anywhere


def test_a_feather_along_the_edge_of_the_picture():
    soft = feathered(np.ones((20, 30), np.float32), 8.0)
    assert soft[0].max() < 0.1 and soft[10, 15] == 1


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_a_bent_mask_is_the_mask_somewhere_near(seed):
    mask = filled(outline(ARCFACE_112 + 24), (0, 0, 160, 160))
    bent = elastic(mask, np.random.default_rng(seed), 5.0, 12.0)
    assert bent.shape == mask.shape and bent.min() >= 0 and bent.max() <= 1
    near = np.ones((15, 15), np.uint8)  # cubic interpolation overshoots a little
    assert (bent <= cv2.dilate(mask, near) + 1e-6).all() and (bent >= cv2.erode(mask, near) - 1e-6).all()
    assert (bent != mask).mean() > 0.005


def test_without_reach_nothing_bends():
    mask = filled(outline(ARCFACE_112), (0, 0, 112, 112))
    assert (elastic(mask, np.random.default_rng(0), 0.0, 10.0) == mask).all()
