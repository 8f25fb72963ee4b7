"""Embeddings spread over blocks are looked up like one array."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.errors import PlatformError, UserError
from ray_jobs.engine.pair_scores import take_from_actors, take_from_arrays
from ray_jobs.engine.shards import guarded, ours

UNITS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


@given(st.lists(st.integers(0, 49), min_size=1, max_size=200), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_look_up_in_blocks_equals_one_in_the_whole(numbers: list[int], rows_per_block: int, seed: int) -> None:
    asked: list[int] = []
    places = np.random.default_rng(seed).permutation(60)[:50]  # of photos in blocks of 60 rows together
    places[places >= 50] = -1
    rows = np.zeros((50, 4), np.float32)
    rows[places[places >= 0]] = UNITS[places >= 0]
    starts = np.array([*range(0, 50, rows_per_block), 50])
    blocks = [rows[start:stop] for start, stop in itertools.pairwise(starts)]

    def fetch(wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        asked.extend(starts[b] + row for b, rows in wanted.items() for row in rows)
        return {b: blocks[b][rows] for b, rows in wanted.items()}

    want = np.where(places[numbers, None] >= 0, UNITS[numbers], 0)
    assert np.array_equal(take_from_actors(fetch, starts, places, 4)(np.array(numbers)), want)
    assert sorted(asked) == sorted({place for place in places[numbers].tolist() if place >= 0})  # none is sent twice
    assert np.array_equal(take_from_arrays(blocks, starts, places)(np.array(numbers)), want)


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
