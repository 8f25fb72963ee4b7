"""Unit vectors, cosines and means: values, and no NaN where there is no direction."""

import torch
from losses.checks import assert_precise_in_half, edges, gradcheck, ordinary

from faceverify.losses.vectors import cosine, cosine_matrix, masked_mean, unit


def test_unit_vectors_and_cosines_are_those_of_a_loop() -> None:
    a, b = ordinary(5, seed=1), ordinary(5, seed=2)
    torch.testing.assert_close(unit(a).norm(dim=1), torch.ones(5, dtype=torch.float64))
    want = torch.tensor([[(x @ y / (x @ x).sqrt() / (y @ y).sqrt()).item() for y in b] for x in a]).double()
    torch.testing.assert_close(cosine_matrix(unit(a), unit(b)), want)
    torch.testing.assert_close(cosine(a, b), cosine_matrix(unit(a), unit(b)).diagonal())
    assert gradcheck(cosine, a, b) and gradcheck(lambda x, y: cosine_matrix(unit(x), unit(y)), a, b)


def test_a_vector_without_length_has_no_direction_and_no_gradient() -> None:
    a, b = (x.requires_grad_() for x in edges())
    result = cosine(a, b)
    assert result[4] == 0 and result[5] == 0 and result[6] == 0
    result.sum().backward()
    assert a.grad is not None and b.grad is not None
    assert (a.grad[4:7] == 0).all() and (b.grad[4:6] == 0).all()
    assert a.grad.isfinite().all() and a.grad.abs().max() < 10


def test_nan_is_not_hidden() -> None:
    assert unit(torch.tensor([[float("nan"), 1.0]])).isnan().any()


def test_precision_in_half() -> None:
    a, b = ordinary(6, seed=1), ordinary(6, seed=2)
    assert_precise_in_half(lambda x, y: cosine(x, y).sum(), a, b)
    assert_precise_in_half(lambda x, y: cosine_matrix(unit(x), unit(y)).sum(), a, b)


def test_masked_mean() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert masked_mean(values, None) == 3
    assert masked_mean(values, torch.tensor([True, False, True])) == 3.5
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0
