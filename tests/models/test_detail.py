"""Energies of fine patterns: which filters, what they tell of a photo and what they leave out; the threshold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from faceverify.models.detail import Energies, cosines, share_of, threshold_of


def energies(photo: torch.Tensor) -> torch.Tensor:
    """Of RGB [B, 3, H, W] in 0..255."""
    return Energies()((photo - 127.5) / 127.5)


def test_filters_are_a_cosine_transform() -> None:
    filters = cosines(5).numpy().reshape(24, 25)
    assert np.allclose(filters @ filters.T, np.eye(24), atol=1e-6) and np.allclose(filters.sum(axis=1), 0, atol=1e-6)
    patch = np.random.default_rng(0).normal(size=(5, 5))
    assert np.allclose(filters @ patch.ravel(), fft.dctn(patch, norm="ortho").ravel()[1:], atol=1e-5)


def test_shape_and_mean() -> None:
    found = energies(torch.rand(2, 3, 112, 112) * 255)
    assert found.shape == (2, Energies.WIDTH, 28, 28) and found.mean((2, 3)).abs().max() < 1e-4


def test_contrast_of_the_whole_photo_says_nothing_about_patterns() -> None:
    noise = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    flat, strong = energies(127.5 + 10 * noise), energies(127.5 + 30 * noise)
    assert (flat - strong)[:, :40].abs().mean() < 0.02 < flat[:, :40].abs().mean()


def test_a_smooth_part_stands_out() -> None:
    photo = 127.5 + 20 * torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    inner = slice(40, 72)
    photo[..., inner, inner] = torch.nn.functional.avg_pool2d(photo, 3, 1, 1)[..., inner, inner]
    found = energies(photo)[0, 23]  # the finest pattern of brightness
    assert found[12:16, 12:16].mean() < found[:8].mean() - 1


def test_flat_and_black_photos_are_finite() -> None:
    for level in (0.0, 127.5, 255.0):
        assert energies(torch.full((1, 3, 112, 112), level)).isfinite().all()


@given(st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=50), st.floats(1e-4, 0.9))
def test_the_threshold_turns_real_photos_so_much_on_average(scores: list[float], mistaken: float) -> None:
    d0 = threshold_of(torch.tensor(scores), mistaken)
    assert share_of(torch.tensor(scores).double(), d0).mean().item() == pytest.approx(mistaken, rel=1e-9)


def test_one_odd_photo_does_not_set_the_threshold() -> None:
    scores = torch.full((1000,), -5.0)
    scores[0] = 30.0
    assert threshold_of(scores, 0.01) == pytest.approx(threshold_of(torch.full((1000,), -5.0), 0.01), abs=0.2)
