"""Batches made in other processes are those made here, in order; their mistakes arrive as they were."""

from pathlib import Path

import numpy as np
import pytest
from training import small

from faceverify.errors import UserError
from faceverify.training.augment import AugmentConfig
from faceverify.training.batches import Recipe
from faceverify.training.feeding import LoaderFeed
from faceverify.training.recipe import BatchConfig

STEPS = 12
# Python warns of what PyTorch's loaders do everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> small.Data:
    return small.draw(tmp_path_factory.mktemp("feeding"))


def recipe_of(data: small.Data) -> Recipe:
    return Recipe(data.material(), BatchConfig(size=8, epochs=50, max_steps=STEPS), AugmentConfig(light=0.5))


@pytest.mark.parametrize("first", [0, 5])
def test_the_same_batches_by_other_processes(data: small.Data, first: int) -> None:
    recipe = recipe_of(data)
    here, there = (LoaderFeed(recipe, data.images(), 1, 2, processes) for processes in (0, 2))
    seen = []
    for got, want in zip(there.batches(first, STEPS), here.batches(first, STEPS), strict=True):
        seen.append(got.step)
        for name in ("faces", "rows", "label", "kind", "person", "is_fake"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert seen == list(range(first, STEPS))


@pytest.mark.parametrize("processes", [0, 1])
def test_a_damaged_picture_is_told_in_its_sentence(data: small.Data, processes: int) -> None:
    feed = LoaderFeed(recipe_of(data), lambda rows: [b"no picture"] * len(rows), processes=processes)
    with pytest.raises(UserError, match=r"^faces: a picture of the table is damaged \(.*\); run align again\.$"):
        next(feed.batches(0, STEPS))


def test_the_processes_end_with_the_batches(data: small.Data, tmp_path: Path) -> None:
    import multiprocessing

    batches = LoaderFeed(recipe_of(data), data.images(), processes=2).batches(0, STEPS)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()
