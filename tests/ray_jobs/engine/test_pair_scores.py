"""Embeddings spread over blocks are looked up like one array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.errors import PlatformError, UserError
from ray_jobs.engine.pair_scores import take_from_blocks
from ray_jobs.engine.shards import guarded, ours

UNITS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


@given(st.lists(st.integers(0, 49), min_size=1, max_size=200), st.integers(1, 60))
def test_a_look_up_in_blocks_equals_one_in_the_whole(numbers: list[int], rows_per_block: int) -> None:
    asked: list[int] = []

    def fetch(wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        asked.extend(row for rows in wanted.values() for row in rows)
        return {b: UNITS[b * rows_per_block : (b + 1) * rows_per_block][rows] for b, rows in wanted.items()}

    got = take_from_blocks(fetch, rows_per_block)(np.array(numbers))
    assert np.array_equal(got, UNITS[numbers])
    assert len(asked) == len(set(numbers))  # none is sent twice


def test_a_storage_fault_in_a_worker_is_a_sentence() -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(PlatformError, match=r"storage failed: .*No space left.*run the same command again"):
        guarded(fail, 1)


@pytest.mark.parametrize("kind", [PlatformError, UserError])
def test_what_a_worker_raises_for_the_user_arrives_as_it_was(cluster: object, kind: type[Exception]) -> None:
    import ray

    def fail(_: dict) -> dict:
        raise kind("one sentence.")

    with pytest.raises(ray.exceptions.RayError) as by_task:
        ray.get(ray.remote(fail).remote({}))
    with pytest.raises(ray.exceptions.RayError) as by_data:
        ray.data.range(1).map_batches(fail).take_all()
    for caught in (by_task, by_data):
        error = ours(caught.value)
        assert type(error) is kind and str(error) == "one sentence."


def test_what_is_a_defect_stays_one(cluster: object) -> None:
    import ray

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ray.exceptions.RayError) as caught:
        ray.get(ray.remote(fail).remote())
    assert ours(caught.value) is caught.value
