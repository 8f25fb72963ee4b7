"""Every row once an epoch, shares that add up; batches of other processes are those of this one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import small

from faceverify.errors import UserError
from faceverify.training.augment import AugmentConfig
from faceverify.training.batches import BatchBuilder, BatchLoader, EpochOrder, worker_rows
from faceverify.training.config import BatchConfig


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 5), st.integers(0, 3))
def test_every_row_at_most_once_an_epoch(count: int, size: int, seed: int, epoch: int) -> None:
    if count < size:
        with pytest.raises(UserError, match=f"batches.size is {size}"):
            EpochOrder(count, size, seed)
        return
    order = EpochOrder(count, size, seed)
    seen = np.concatenate([order.rows(epoch * order.per_epoch + k) for k in range(order.per_epoch)])
    assert len(seen) == count // size * size == len(set(seen.tolist()))
    assert set(seen.tolist()) <= set(range(count))


def test_epochs_and_seeds_differ_and_steps_can_be_asked_in_any_order() -> None:
    order = EpochOrder(40, 8, 1)
    steps = {step: order.rows(step).copy() for step in (7, 0, 12, 5, 0)}
    again = EpochOrder(40, 8, 1)
    for step in (0, 5, 7, 12):
        assert np.array_equal(again.rows(step), steps[step])
    assert not np.array_equal(order.rows(0), order.rows(5))
    assert not np.array_equal(order.rows(0), EpochOrder(40, 8, 2).rows(0))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_shares_are_even_and_add_up(workers: int) -> None:
    rows = EpochOrder(40, 8, 0).rows(3)
    parts = [worker_rows(rows, rank, workers) for rank in range(workers)]
    assert {len(part) for part in parts} == {8 // workers}
    assert np.array_equal(np.concatenate(parts), rows)


def test_an_uneven_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"batches\.size is 8, which 3 workers"):
        worker_rows(np.arange(8), 0, 3)


STEPS = 12
# Python warns of what PyTorch's loaders do everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def builder_of(data: small.Data) -> BatchBuilder:
    return BatchBuilder(data.material(), BatchConfig(size=8, epochs=50, max_steps=STEPS), AugmentConfig(light=0.5))


@pytest.mark.parametrize("first", [0, 5])
def test_the_same_batches_by_other_processes(data: small.Data, first: int) -> None:
    builder = builder_of(data)
    here, there = (BatchLoader(builder, data.images(), 1, 2, processes) for processes in (0, 2))
    seen = []
    for got, want in zip(there.batches(first, STEPS), here.batches(first, STEPS), strict=True):
        seen.append(got.step)
        for name in ("faces", "rows", "label", "kind", "person", "is_fake"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert seen == list(range(first, STEPS))


@pytest.mark.parametrize("processes", [0, 1])
def test_a_damaged_picture_is_told_in_its_sentence(data: small.Data, processes: int) -> None:
    loader = BatchLoader(builder_of(data), lambda rows: [b"no picture"] * len(rows), processes=processes)
    with pytest.raises(UserError, match=r"^faces: a picture of the table is damaged \(.*\); run align again\.$"):
        next(loader.batches(0, STEPS))


def test_the_processes_end_with_the_batches(data: small.Data, tmp_path: Path) -> None:
    import multiprocessing

    batches = BatchLoader(builder_of(data), data.images(), processes=2).batches(0, STEPS)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()
