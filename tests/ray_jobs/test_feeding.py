"""Batches by Ray Data are those that a thread makes, and its loop rests between two looks at the tasks."""

import time
from pathlib import Path

import numpy as np
import pytest
from training import small

from faceverify.training.augment import AugmentConfig
from faceverify.training.batches import Recipe, ThreadFeed
from faceverify.training.recipe import BatchConfig
from ray_jobs import feeding

STEPS = 12


def test_the_same_batches_and_a_loop_that_rests(
    cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    rests, rest = [], feeding.Unhurried.on_execution_step

    def counted(self: feeding.Unhurried, executor: object) -> None:
        before = time.perf_counter()
        rest(self, executor)
        rests.append(time.perf_counter() - before)

    monkeypatch.setattr(feeding.Unhurried, "on_execution_step", counted)
    data = small.draw(tmp_path)
    recipe = Recipe(data.material(), BatchConfig(size=8, epochs=50, max_steps=STEPS), AugmentConfig(light=0.5))
    given = feeding.RayFeed(ray.put(recipe), data.images(), rank=1, workers=2, tasks=1)
    wanted = ThreadFeed(recipe, data.images(), rank=1, workers=2)
    for got, want in zip(given.batches(0, STEPS), wanted.batches(0, STEPS), strict=True):
        assert got.step == want.step
        for name in ("faces", "rows", "label", "kind", "person", "is_fake"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert rests and min(rests) >= feeding.PAUSE  # none, if Ray Data does not know the hook any more
