"""The similarity fit against published matrices, a per-face least-squares solver and exact transforms; the warp."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.align.geometry import ARCFACE_112, fit_similarity, template, transform_points, usable, warp


def similarity(scale, angle, dx, dy):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, dx], [s, c, dy]])


def inverse(matrix):
    linear = np.linalg.inv(matrix[:, :2])
    return np.c_[linear, -linear @ matrix[:, 2]]


similarities = st.builds(
    similarity, st.floats(0.05, 20), st.floats(-np.pi, np.pi), st.floats(-500, 500), st.floats(-500, 500)
)
noises = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(0, 8, (5, 2)))


def solve_one(landmarks, target):
    """The same least squares as a linear system in (p, q, tx, ty)."""
    rows = []
    for x, y in landmarks:
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
    p, q, tx, ty = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    return np.array([[p, -q, tx], [q, p, ty]])


@pytest.mark.parametrize("size", [112, 128, 224, 256])
def test_published_matrices(golden, size):
    data = np.load(golden / "similarity5.npz")
    found = fit_similarity(data["landmarks"].astype(np.float64), size)
    np.testing.assert_allclose(found, data[f"M{size}"], rtol=0, atol=1e-5)
    # float32 landmarks are widened before anything is computed.
    np.testing.assert_array_equal(fit_similarity(data["landmarks"], size), found)


def test_published_crop(golden, recipe):
    data = np.load(golden / "similarity5.npz")
    expected = cv2.imread(str(golden / "warp_recipe.png"), cv2.IMREAD_COLOR_RGB)
    image = recipe.image(*(int(v) for v in data["warp_recipe_image"]))
    (matrix,) = fit_similarity(data["warp_recipe_landmarks"][None])
    np.testing.assert_allclose(matrix, data["warp_recipe_M"], rtol=0, atol=1e-5)
    assert np.abs(warp(image, matrix).astype(int) - expected).max() <= 1


@given(st.lists(st.tuples(similarities, noises), min_size=1, max_size=6), st.sampled_from([112, 128, 224]))
def test_equals_a_least_squares_solver_face_by_face(cases, size):
    landmarks = np.stack([transform_points(inverse(m), ARCFACE_112 + noise) for m, noise in cases])
    found = fit_similarity(landmarks, size)
    for one, matrix in zip(landmarks, found, strict=True):
        expected = transform_points(solve_one(one, template(size)), one)
        np.testing.assert_allclose(transform_points(matrix, one), expected, atol=1e-5)


@given(similarities)
def test_recovers_a_known_similarity(matrix):
    landmarks = transform_points(inverse(matrix), ARCFACE_112)
    (found,) = fit_similarity(landmarks[None])
    np.testing.assert_allclose(found, matrix, rtol=1e-7, atol=1e-6)


@given(similarities, noises)
def test_moving_the_photo_leaves_the_crop(motion, noise):
    """Shifts, turns and scalings of the photo cancel: crop coordinates of the landmarks stay where they were."""
    landmarks = ARCFACE_112 + noise
    moved = transform_points(motion, landmarks)
    before, after = fit_similarity(np.stack([landmarks, moved]))
    np.testing.assert_allclose(transform_points(after, moved), transform_points(before, landmarks), atol=1e-6)


def test_templates():
    np.testing.assert_allclose(template(224), ARCFACE_112 * 2)
    np.testing.assert_allclose(template(128), ARCFACE_112 + np.array([8, 0]))
    np.testing.assert_allclose(template(256), (ARCFACE_112 + np.array([8, 0])) * 2)
    for size in (0, 100, -112):
        with pytest.raises(ValueError, match="multiple"):
            template(size)


def test_unusable_landmarks_are_marked_and_leave_the_others_alone():
    good = ARCFACE_112 * 3 + 7
    point = np.full((5, 2), 42.0)
    holed, endless = good.copy(), good.copy()
    holed[2, 0], endless[4, 1] = np.nan, np.inf
    batch = np.stack([point, good, holed, endless])
    assert usable(batch).tolist() == [False, True, False, False]
    found = fit_similarity(batch)
    np.testing.assert_array_equal(np.isfinite(found).all(axis=(1, 2)), usable(batch))
    np.testing.assert_array_equal(found[1], fit_similarity(good[None])[0])


def test_no_faces():
    assert fit_similarity(np.zeros((0, 5, 2))).shape == (0, 2, 3)


def test_warp_puts_landmarks_on_the_template_and_black_outside():
    landmarks = ARCFACE_112.round() + np.array([0, 10])
    image = np.full((150, 112, 3), 40, np.uint8)
    for x, y in landmarks.astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = (255, 128, 0)
    (matrix,) = fit_similarity(landmarks[None])
    crop = warp(image, matrix)
    for x, y in ARCFACE_112.round().astype(int):
        np.testing.assert_allclose(crop[y, x].astype(int), (255, 128, 0), atol=2)
    far = warp(image, np.array([[1.0, 0, 5000], [0, 1.0, 0]]))
    assert crop.shape == far.shape == (112, 112, 3)
    assert not far.any()


def test_warp_reads_far_corners_of_very_wide_photos():
    image = np.random.default_rng(0).integers(0, 256, (112, 40_000, 3), np.uint8)
    crop = warp(image, np.array([[1.0, 0, -39_500], [0, 1.0, 0]]))
    np.testing.assert_array_equal(crop, image[:, 39_500:39_612])
