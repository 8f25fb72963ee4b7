"""AdaFace: the authors' own numbers, a naive loop, the straight-through gradient, running statistics, the edges."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from losses.checks import assert_finite, assert_precise_in_half, edges, gradcheck, ordinary
from torch.nn.functional import cross_entropy

from faceverify.losses import AdaFaceOptions
from faceverify.losses.adaface import AdaFace
from faceverify.losses.class_vectors import ClassVectors

CLASSES = torch.tensor([0, 3, -1, 6, 2, 2, -1, 0])
GRADIENTS = pytest.mark.parametrize("gradient", ["true", "straight_through"])
Gradient = Literal["true", "straight_through"]


def build(options: AdaFaceOptions, classes: int = 7, dim: int = 8) -> AdaFace:
    return AdaFace(options, ClassVectors(classes, dim, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("run", ["a", "b", "c"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("mode", ["train", "eval as published"])
def test_equals_the_authors(golden: Path, run: str, dtype: torch.dtype, mode: str) -> None:
    want = np.load(golden / "adaface_loss.npz")
    mean, std = want[f"{run}_initial"].tolist()
    options = AdaFaceOptions(
        scale=float(want["s"]),
        margin=float(want["m"]),
        concentration=float(want["h"]),
        ema_rate=float(want[f"{run}_t_alpha"]),
        start_mean=mean,
        start_std=std,
        ema_in_eval=mode != "train",
    )
    loss = build(options, 50, 512).to(dtype).train(mode == "train")
    loss.batch_mean.fill_(mean)  # 22.099 has to survive the way through float32
    loss.batch_std.fill_(std)
    kernel = torch.from_numpy(want["kernel"]).to(dtype)
    with torch.no_grad():
        loss.vectors.weight.copy_(kernel.T)
    labels = torch.from_numpy(want["labels"])
    value_tolerance, gradient_tolerance = (1e-8, 1e-6) if dtype == torch.float64 else (1e-4, 1e-5)
    for step in range(3):
        # By its parts: the fixture's embeddings are of unit length only to float32, and must not be divided again.
        x = torch.from_numpy(want["embeddings"]).to(dtype).requires_grad_()
        logits = loss.logits(x, torch.from_numpy(want["norms"][step]).to(dtype), labels)
        value = cross_entropy(logits, labels)
        embedding_gradient, kernel_gradient = torch.autograd.grad(value, [x, loss.vectors.weight])
        np.testing.assert_allclose(logits.detach(), want[f"{run}_logits"][step], rtol=0, atol=value_tolerance)
        assert value.item() == pytest.approx(want[f"{run}_loss"][step], abs=value_tolerance)
        assert loss.batch_mean.item() == pytest.approx(want[f"{run}_ema_mean"][step], rel=value_tolerance)
        assert loss.batch_std.item() == pytest.approx(want[f"{run}_ema_std"][step], rel=value_tolerance)
        for got, name in ((embedding_gradient, "grad_embeddings"), (kernel_gradient.T, "grad_kernel")):
            expected = want[f"{run}_{name}"][step]
            np.testing.assert_allclose(got, expected, rtol=0, atol=gradient_tolerance * np.abs(expected).max())


@GRADIENTS
def test_equals_a_naive_loop(gradient: Gradient) -> None:
    x, options = 4 * ordinary(8), AdaFaceOptions(scale=12, start_mean=19.0, start_std=4.0, gradient=gradient)
    x = torch.cat([x[:6], x[6:7] / 8, 8 * x[7:]])  # lengths that reach both ends of z
    loss = build(options).double().eval()
    costs = []
    for row, target in zip(x.tolist(), CLASSES.tolist(), strict=True):
        z = min(1.0, max(-1.0, 0.333 * (math.hypot(*row) - 19.0) / (4.0 + 1e-3)))
        logits = []
        for j, centre in enumerate(loss.vectors.weight.tolist()):
            cos = sum(p * q for p, q in zip(row, centre, strict=True)) / math.hypot(*row) / math.hypot(*centre)
            logits.append(12 * (math.cos(math.acos(cos) - 0.4 * z) - (0.4 + 0.4 * z) if j == target else cos))
        if target >= 0:
            costs.append(math.log(sum(map(math.exp, logits))) - logits[target])
    assert loss(x, CLASSES).item() == pytest.approx(sum(costs) / 6, rel=1e-10)


def test_the_true_gradient_is_that_of_the_formula_with_lengths_held() -> None:
    loss = build(AdaFaceOptions(start_mean=5.0, start_std=1.0)).double().eval()
    x = ordinary(8)
    units, lengths = x / x.norm(dim=1, keepdim=True), x.norm(dim=1)
    target = CLASSES.clamp_min(0)
    assert gradcheck(lambda u: cross_entropy(loss.logits(u, lengths, target), target), units)


def test_the_straight_through_gradient_is_that_of_plain_cosines() -> None:
    x, target = ordinary(8).requires_grad_(), CLASSES.clamp_min(0)
    loss = build(AdaFaceOptions(start_mean=5.0, start_std=1.0, gradient="straight_through")).double().eval()
    true = build(AdaFaceOptions(start_mean=5.0, start_std=1.0)).double().eval()
    units, lengths = x / x.norm(dim=1, keepdim=True), x.detach().norm(dim=1)
    logits = loss.logits(units, lengths, target)
    torch.testing.assert_close(logits, true.logits(units, lengths, target))
    upstream = torch.randn(8, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (got,) = torch.autograd.grad(logits, x, upstream, retain_graph=True)
    (want,) = torch.autograd.grad(64 * loss.vectors(units), x, upstream, retain_graph=True)
    torch.testing.assert_close(got, want)
    (other,) = torch.autograd.grad(true.logits(units, lengths, target), x, upstream)
    assert not torch.allclose(got, other)


def test_the_length_changes_the_value_and_gets_no_gradient() -> None:
    loss = build(AdaFaceOptions(start_mean=5.0, start_std=1.0)).double().eval()
    x = ordinary(8).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, CLASSES), x)
    radial = (gradient * x).sum(dim=1)
    torch.testing.assert_close(radial, torch.zeros_like(radial), rtol=0, atol=1e-12)
    assert loss(1.5 * x, CLASSES).item() != pytest.approx(loss(x, CLASSES).item())


def test_running_statistics_move_only_in_training_and_only_by_photos_that_count() -> None:
    loss, x = build(AdaFaceOptions(ema_rate=1.0)), ordinary(8).float()
    loss.eval()(x, CLASSES)
    assert (loss.batch_mean, loss.batch_std) == (20, 100)
    loss.train()(x, torch.tensor([4] + 7 * [-1]))  # one photo has no standard deviation
    assert (loss.batch_mean, loss.batch_std) == (20, 100)
    loss(float("nan") * x, CLASSES)
    assert (loss.batch_mean, loss.batch_std) == (20, 100)
    loss(x, CLASSES)
    lengths = x[CLASSES >= 0].norm(dim=1)
    torch.testing.assert_close(loss.batch_mean, lengths.mean())
    torch.testing.assert_close(loss.batch_std, lengths.std())
    assert {"batch_mean", "batch_std", "vectors.weight"} == set(loss.state_dict())


@GRADIENTS
def test_edges(gradient: Gradient) -> None:
    for start in ((20.0, 100.0), (22.099, 3.86), (5.0, 0.0)):
        loss = build(AdaFaceOptions(start_mean=start[0], start_std=start[1], gradient=gradient))
        for a in edges():
            loss.vectors.start_from(a[:1])
            for sign in (1, -1):  # cosine +1 and -1 with its own class
                assert_finite(lambda x, loss=loss: loss(x, CLASSES), sign * a)
            assert_precise_in_half(lambda x, loss=loss: loss.eval()(x, CLASSES), a)
            nobody = loss.train()(a, torch.full((8,), -1))
            assert nobody == 0 and loss.batch_std.isfinite()


def test_a_mean_length_gives_cosface() -> None:
    loss = build(AdaFaceOptions(start_mean=5.0, start_std=1.0)).double().eval()
    units = torch.nn.functional.normalize(ordinary(7))
    target = torch.arange(7)
    logits = loss.logits(units, torch.full((7,), 5.0, dtype=torch.float64), target)
    torch.testing.assert_close(logits.diagonal(), 64 * (loss.vectors(units).diagonal() - 0.4))
