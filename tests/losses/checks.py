"""Embeddings at the edges, and the checks that every loss has to pass on them."""

from collections.abc import Callable

import torch
from torch import Tensor


def ordinary(rows: int, dim: int = 8, seed: int = 0) -> Tensor:
    """[rows, dim] float64 of lengths near 5."""
    generator = torch.Generator().manual_seed(seed)
    return 5 * torch.randn(rows, dim, generator=generator, dtype=torch.float64) / dim**0.5


def edges(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """a, b [8, 8]: identical, opposite, orthogonal, almost identical, both zero, one zero, very short, very long."""
    a, b = ordinary(8, seed=1), ordinary(8, seed=2)
    b[0], b[1] = a[0], -a[1]
    a[2], b[2] = torch.eye(8)[0], torch.eye(8)[1]
    b[3] = a[3] + 1e-7
    a[4] = b[4] = b[5] = 0
    a[6] *= 1e-7
    b[7] *= 1e4
    return a.to(dtype), b.to(dtype)


def assert_finite(loss: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Value and gradient to every input are finite, and the gradient is not beyond all measure; gives the gradients."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    assert value.shape == () and value.isfinite() and value.dtype in (torch.float32, torch.float64)
    gradients = torch.autograd.grad(value, leaves)
    for gradient in gradients:
        assert gradient.isfinite().all() and gradient.abs().max() < 1e9
    return list(gradients)


def assert_precise_in_half(loss: Callable[..., Tensor], *inputs: Tensor) -> None:
    """bfloat16 inputs are computed with in float32, outside and inside autocast."""
    rounded = [x.bfloat16() for x in inputs]
    want = loss(*(x.float() for x in rounded))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(*(x.float() for x in rounded))
    for got in (loss(*rounded), inside):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)


def gradcheck(loss: Callable[..., Tensor], *inputs: Tensor) -> bool:
    """Whether autograd agrees with finite differences in double precision."""
    return torch.autograd.gradcheck(loss, [x.detach().clone().double().requires_grad_() for x in inputs])
