"""Where each pixel of a moved face comes from: pictures that hold their own coordinates tell."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.align.geometry import ARCFACE_112, fit_similarity, transform_points
from faceverify.fakes.warping import Warp, face_warp, sample

SEEDS = st.integers(0, 2**32)


def some_face(rng: np.random.Generator, low: float = 0.5, high: float = 3.0) -> np.ndarray:
    angle, scale = rng.uniform(-0.6, 0.6), rng.uniform(low, high)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (ARCFACE_112 + rng.normal(0, 2, (5, 2))) @ turn.T + rng.uniform(-50, 50, 2)


def source_of(warp: Warp, point: np.ndarray) -> np.ndarray:
    """Where a point of the target comes from, by the definition."""
    bumps = np.exp(-((point - warp.nodes) ** 2).sum(axis=1) / (2 * warp.reach**2))
    return transform_points(warp.matrix, point) + bumps @ warp.shifts


@given(SEEDS, st.floats(0, 1))
@settings(deadline=None)
def test_the_landmarks_come_from_where_they_are_said_to(seed, correction):
    rng = np.random.default_rng(seed)
    source, target = some_face(rng), some_face(rng)
    warp, landmarks = face_warp(source, target, correction)
    template_px = 1 / np.hypot(*fit_similarity(source[None])[0][:, 0])
    came = np.array([source_of(warp, point) for point in landmarks])
    assert np.abs(came - source).max() < 1.5 * template_px


@given(SEEDS)
@settings(deadline=None)
def test_without_correction_it_is_the_similarity_that_aligners_use(seed):
    rng = np.random.default_rng(seed)
    source, target = some_face(rng), some_face(rng)
    warp, landmarks = face_warp(source, target, 0.0)
    own, other = (fit_similarity(points[None])[0] for points in (source, target))
    assert np.allclose(transform_points(other, landmarks), transform_points(own, source), atol=1e-6)
    assert np.abs(warp.shifts).max() < 1e-6


@given(SEEDS)
@settings(deadline=None)
def test_correction_brings_the_landmarks_nearer_to_the_targets(seed):
    rng = np.random.default_rng(seed)
    source, target = some_face(rng), some_face(rng)
    apart = [np.abs(face_warp(source, target, share)[1] - target).mean() for share in (0.0, 0.5, 1.0)]
    assert apart[0] > apart[1] > apart[2]


def test_maps_are_the_definition_at_every_pixel():
    rng = np.random.default_rng(0)
    warp, _ = face_warp(some_face(rng), some_face(rng), 0.7)
    maps = warp.maps((10, -5, 30, 20))
    assert maps.shape == (2, 25, 20) and maps.dtype == np.float32
    for row, column in ((0, 0), (24, 19), (7, 13)):
        want = source_of(warp, np.array([10.0 + column, -5.0 + row]))
        assert np.allclose(maps[:, row, column], want, atol=1e-3)


def shifted(x: float, y: float) -> Warp:
    return Warp(np.array([[1.0, 0, x], [0, 1.0, y]]), np.zeros((5, 2)), np.zeros((5, 2)), 1.0, 1.0)


def test_pixels_outside_the_source_are_unknown():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    face, known = sample(image, shifted(-10, 20), (0, 0, 70, 30))
    assert known[:20, 10:60].all() and known.sum() == 20 * 50
    assert (face[:20, 10:60] == image[20:40]).all()


def test_a_source_larger_than_the_target_is_averaged_and_stays_in_place():
    """Shrunk by 8, fine stripes are grey, and the coordinates in a smooth picture are still right."""
    warp = Warp(np.array([[8.0, 0, 3.5], [0, 8.0, 3.5]]), np.zeros((5, 2)), np.zeros((5, 2)), 1.0, 1 / 8)
    y, x = np.mgrid[0:320, 0:320]
    stripes = ((x // 2 % 2) * 200).astype(np.uint8)
    image = np.stack([stripes, x * 250 / 320, y * 250 / 320], axis=-1).astype(np.uint8)
    face, known = sample(image, warp, (0, 0, 40, 40))
    assert known.all()
    inner = face[2:-2, 2:-2].astype(float)
    assert np.abs(inner[..., 0] - 100).max() <= 1
    rows, columns = np.mgrid[2:38, 2:38]
    assert np.abs(inner[..., 1] - (columns * 8 + 3.5) * 250 / 320).max() < 1.5
    assert np.abs(inner[..., 2] - (rows * 8 + 3.5) * 250 / 320).max() < 1.5
