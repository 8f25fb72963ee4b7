"""Colours, light and edges against what they promise."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.fakes.blending import blend, match_colours, match_light, poisson, to_bytes

SEEDS = st.integers(0, 2**32)


def smooth(seed: int, low: float = 60, high: float = 190, side: int = 64) -> np.ndarray:
    """A smooth random picture."""
    nodes = np.random.default_rng(seed).uniform(low, high, (4, 4, 3)).astype(np.float32)
    return to_bytes(cv2.resize(nodes, (side, side), interpolation=cv2.INTER_CUBIC))


def disc(side: int = 64, radius: float = 24) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] - side / 2
    return ((x**2 + y**2) < radius**2).astype(np.float32)


def lab(picture: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[weights > 0]
    return values.mean(axis=0), values.std(axis=0)


@given(SEEDS)
@settings(deadline=None)
def test_colours_are_matched_inside_the_weights(seed):
    face, target, inside = smooth(seed), smooth(seed + 1), disc()
    matched = match_colours(face, target, inside)
    (mean, spread), (want, wanted), (_, before) = (lab(p, inside) for p in (matched, target, face))
    assert np.abs(mean - want).max() < 2.5  # rounded, and clipped to what a screen can show
    gain = wanted / before
    free = (gain > 0.8) & (gain < 1.3)
    assert (np.abs(spread / wanted - 1)[free] < 0.15).all()


def test_a_picture_matched_with_itself_stays():
    face = smooth(3)
    assert np.abs(match_colours(face, face, disc()).astype(int) - face).max() <= 1
    assert np.abs(match_light(face, face, disc(), 10.0, 1.0).astype(int) - face).max() <= 1


def test_light_follows_the_target_as_far_as_is_asked():
    face = np.full((64, 64, 3), 120, np.uint8)
    target = np.linspace(90, 170, 64)[None, :, None].repeat(64, 0).repeat(3, 2).astype(np.uint8)
    assert (match_light(face, target, disc(), 12.0, 0.0) == face).all()
    slopes = []
    for amount in (0.3, 1.0):
        lit = match_light(face, target, disc(), 12.0, amount).astype(float)[32, 14:50, 0]
        slopes.append(np.polyfit(np.arange(36), lit, 1)[0])
    slope = 80 / 63
    assert 0.1 * slope < slopes[0] < 0.45 * slope and 0.6 * slope < slopes[1] < 1.1 * slope


@given(SEEDS)
@settings(deadline=None)
def test_a_blend_lies_between_and_is_the_target_where_the_mask_is_zero(seed):
    target, face = smooth(seed), smooth(seed + 1)
    mask = np.random.default_rng(seed).uniform(0, 1, (64, 64)).astype(np.float32)
    mask[:20], mask[40:] = 0, 1
    mixed = blend(target, face, mask)
    assert (mixed[:20] == target[:20]).all() and (mixed[40:] == face[40:]).all()
    assert (mixed >= np.minimum(face, target)).all() and (mixed <= np.maximum(face, target)).all()


@pytest.mark.parametrize("offset", [-25, 18])
def test_a_face_that_is_only_lighter_becomes_the_target(offset):
    target = smooth(5)
    face = to_bytes(target.astype(np.float32) + offset)
    assert np.abs(poisson(target, face, disc() > 0).astype(int) - target).max() <= 4


def test_what_lies_beyond_the_edge_cannot_flood_the_face():
    target, face = np.full((64, 64, 3), 20, np.uint8), np.full((64, 64, 3), 200, np.uint8)
    inside = disc() > 0
    solved = poisson(target, face, inside)
    assert (solved[~inside] == target[~inside]).all()
    assert np.abs(solved[inside].astype(int) - 200).max() <= 32


def test_an_empty_mask_and_one_that_fills_the_picture():
    target, face = smooth(1), smooth(2)
    assert (poisson(target, face, np.zeros((64, 64), bool)) == target).all()
    assert poisson(target, face, np.ones((64, 64), bool)).shape == target.shape
    alone = np.zeros((64, 64), bool)
    alone[0, 63] = True
    assert (poisson(target, face, alone) == target).all()
    alone[:3, 61:] = True
    solved = poisson(target, face, alone)
    assert (solved[~alone] == target[~alone]).all()
