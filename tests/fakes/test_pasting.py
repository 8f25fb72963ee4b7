"""Pasting as published: against what the published programs gave for recipe pictures."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from golden import recipe

from faceverify.align.geometry import (
    SHARES,
    TURNED_112,
    fit_points,
    fit_similarity,
    nearest_pose,
    transform_points,
    warp,
)
from faceverify.fakes import pasting

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"


@pytest.fixture(scope="module")
def inswapper() -> Any:
    return np.load(GOLDEN / "inswapper.npz")


@pytest.fixture(scope="module")
def facefusion() -> Any:
    return np.load(GOLDEN / "facefusion_paste.npz")


@pytest.fixture(scope="module")
def ghost() -> Any:
    return np.load(GOLDEN / "ghost_paste.npz")


def cases(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())["cases"]


def levels(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


# -- the square of insightface -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cases("inswapper"))
def test_square(inswapper, name):
    photo = recipe.image(*cases("inswapper")[name]["image"])
    matrix = fit_similarity(inswapper[f"{name}_landmarks"][None], 128)[0]
    assert np.abs(matrix - inswapper[f"{name}_M"]).max() < 1e-4
    assert levels(warp(photo, matrix, 128), inswapper[f"{name}_aligned"]) <= 1
    made = pasting.square(photo, inswapper[f"{name}_generated"], matrix)
    assert levels(made.image, inswapper[f"{name}_final"]) <= 1
    alpha = np.zeros(photo.shape[:2], np.float32)
    x0, y0, x1, y1 = made.box
    alpha[y0:y1, x0:x1] = made.mask
    assert np.abs(255 * alpha - inswapper[f"{name}_alpha255"]).max() < 2e-3
    assert (made.image == photo)[alpha == 0].all(), "nothing outside the mask changes"


def test_a_face_too_small_for_the_square_leaves_no_trace(inswapper):
    photo = recipe.image(1, 60, 60)
    matrix = np.array([[16.0, 0, -300], [0, 16.0, -300]])  # 128 pixels of the crop are 8 of the photo
    for where in (matrix, np.array([[16.0, 0, 9000], [0, 16.0, 0]])):  # in the photo, and outside of it
        made = pasting.square(photo, inswapper["normal_generated"], where)
        assert made.box == (0, 0, 0, 0) and made.mask.size == 0 and (made.image == photo).all()


# -- the box of facefusion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("name", SHARES)
def test_templates(facefusion, name, size):
    made = fit_points(facefusion["landmarks"], SHARES[name] * size)
    expected = facefusion[f"M_{name}_{size}"]
    ours, theirs = (
        np.einsum("nij,nkj->nki", m[:, :, :2], facefusion["landmarks"]) + m[:, None, :, 2] for m in (made, expected)
    )
    apart = np.abs(ours - theirs).max(axis=(1, 2))
    # facefusion leaves out points that are more than 100 pixels off a fit to two of them: in the larger crops some of
    # four of the sets, which are no faces.
    same = np.isin(np.arange(10), {128: [], 256: [0, 4, 8], 512: [0, 4, 8, 9]}[size], invert=True)
    assert (apart[same] < 1e-2).all()


def test_box_mask(facefusion):
    for size in (128, 256, 512):
        assert np.abs(pasting.box_mask(size)[size // 2] - facefusion[f"box_mask_{size}_row"]).max() < 1e-5
    assert np.abs(pasting.box_mask(256) - facefusion["box_mask_256"]).max() < 1e-5
    padded = pasting.box_mask(256, padding=(10, 20, 5, 0))
    assert np.abs(padded - facefusion["box_mask_256_pad_10_20_5_0"]).max() < 1e-5


@pytest.mark.parametrize("name", cases("facefusion_paste"))
def test_box(facefusion, name):
    photo = recipe.image(*cases("facefusion_paste")[name]["image"])
    matrix = fit_points(facefusion[f"{name}_landmarks"][None], SHARES["arcface_112_v1"] * 256)[0]
    assert np.abs(matrix - facefusion[f"{name}_M"]).max() < 1e-2
    crop = warp(photo, matrix, 256, cv2.BORDER_REPLICATE)
    assert levels(crop[::4, ::4], facefusion[f"{name}_crop_rgb_sample"]) <= 1
    generated = recipe.image(61, 256, 256).astype(np.float32)
    made = pasting.box(photo, generated, matrix, pasting.box_mask(256))
    assert levels(made.image, facefusion[f"{name}_final_rgb"]) <= 1
    x0, y0, x1, y1 = made.box
    left, top, right, bottom = facefusion[f"{name}_box"]
    assert left <= x0 < x1 <= right and top <= y0 < y1 <= bottom


# -- the hull of Ghost -------------------------------------------------------------------------------------------------


def test_five_templates(ghost):
    for landmarks, index, matrix, errors in zip(
        ghost["five_landmarks"], ghost["five_index"], ghost["five_M224"], ghost["five_errors"], strict=True
    ):
        best, made = nearest_pose(landmarks, 224)
        assert best == index and np.abs(made - matrix).max() < 2e-4 * max(1, np.abs(matrix).max())
        apart = np.linalg.norm(transform_points(made, landmarks) - 2 * TURNED_112[best], axis=1).sum()
        assert abs(apart - errors[best]) < 1e-2


def mask_names(ghost: Any) -> list[str]:
    return [key.removeprefix("mask_").removesuffix("_mask255") for key in ghost.files if key.endswith("_mask255")]


def test_hull_masks(ghost):
    names = mask_names(ghost)
    assert len(names) >= 6
    for name in names:
        swapped, target = ghost["mask_landmarks_swap"], ghost[f"mask_{name}_landmarks_target"]
        mask, case = pasting.hull_mask(swapped, target)
        assert (mask == ghost[f"mask_{name}_mask255"]).all(), name
        assert (pasting.raised_brows(swapped, case.brows) == ghost[f"mask_{name}_expanded"]).all(), name


def test_hull(ghost):
    names = [name for name in mask_names(ghost) if f"mask_{name}_final_rgb" in ghost.files]
    assert len(names) == 3
    photo = recipe.image(51, 300, 340)
    generated = cv2.resize(recipe.image(53, 256, 256), (224, 224))
    for name in names:
        swapped, target = ghost["mask_landmarks_swap"], ghost[f"mask_{name}_landmarks_target"]
        mask, _ = pasting.hull_mask(swapped, target)
        made = pasting.hull(photo, generated, ghost["paste_M"], mask)
        assert levels(made.image, ghost[f"mask_{name}_final_rgb"]) <= 1


def test_the_milder_case_at_the_limits():
    still = np.full((106, 2), 100.0)

    def case(left: float, right: float) -> int:
        swapped = still.copy()
        swapped[1, 0] += left
        swapped[17, 0] -= right
        return pasting.hull_case(swapped, still).shrink

    assert [case(*jaw) for jaw in ((6.1, 0), (0, 6.1), (6, 0), (3.1, 0), (3, 3), (0, 0), (-3, -3), (-4, 0))] == [
        *(15, 15, 10, 10),
        *(5, 5, 5, 5),
    ]
    assert case(-3.1, -3.1) == -5, "both sides must be wider"
