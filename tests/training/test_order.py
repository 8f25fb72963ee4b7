"""Every row once an epoch, another order in each, shares that add up, whoever asks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.errors import UserError
from faceverify.training.order import Order, share


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 5), st.integers(0, 3))
def test_every_row_at_most_once_an_epoch(count: int, size: int, seed: int, epoch: int) -> None:
    if count < size:
        with pytest.raises(UserError, match=f"batches.size is {size}"):
            Order(count, size, seed)
        return
    order = Order(count, size, seed)
    seen = np.concatenate([order.rows(epoch * order.per_epoch + k) for k in range(order.per_epoch)])
    assert len(seen) == count // size * size == len(set(seen.tolist()))
    assert set(seen.tolist()) <= set(range(count))


def test_epochs_and_seeds_differ_and_steps_can_be_asked_in_any_order() -> None:
    order = Order(40, 8, 1)
    steps = {step: order.rows(step).copy() for step in (7, 0, 12, 5, 0)}
    again = Order(40, 8, 1)
    for step in (0, 5, 7, 12):
        assert np.array_equal(again.rows(step), steps[step])
    assert not np.array_equal(order.rows(0), order.rows(5))
    assert not np.array_equal(order.rows(0), Order(40, 8, 2).rows(0))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_shares_are_even_and_add_up(workers: int) -> None:
    rows = Order(40, 8, 0).rows(3)
    parts = [share(rows, rank, workers) for rank in range(workers)]
    assert {len(part) for part in parts} == {8 // workers}
    assert np.array_equal(np.concatenate(parts), rows)


def test_an_uneven_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"batches\.size is 8, which 3 workers"):
        share(np.arange(8), 0, 3)
