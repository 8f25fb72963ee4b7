"""Work on actors: everything is done once, faults reach the user, an actor that has no CPU yet holds nothing back."""

import os
import time
from pathlib import Path

import pytest

from faceverify.errors import PlatformError, UserError
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.tasks import run_in_actors


class Worker:
    """Writes down what it is given; some items are special."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def work(self, item: str) -> tuple[int, int]:
        """One row, rejected or not."""
        seen = self.folder / f"{item}.seen"
        if item.startswith("deadly") or (item.startswith("once") and not seen.exists()):
            seen.touch()
            os._exit(1)
        if item == "wrong":
            raise UserError("one sentence.")
        with seen.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if item == "waits":  # for the other actor, which a busy machine may start late
            others, end = {str(os.getpid())}, time.monotonic() + 300
            while len(others) < 2 and time.monotonic() < end:
                time.sleep(0.01)
                others |= {line for path in self.folder.iterdir() for line in path.read_text().split()}
        return 1, int(item.endswith("x"))


def run(folder: Path, items: list[str], workers: int = 2, **resources: float) -> Progress:
    progress = Progress("items", len(items))
    run_in_actors(Worker, (folder,), items, workers, progress, **(resources or {"num_cpus": 1.0}))
    return progress


def seen(folder: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in folder.iterdir()}


def test_every_item_is_done_once_on_all_actors(cluster: object, tmp_path: Path) -> None:
    items = ["waits", *(f"{number}{'x' * (number % 3 == 0)}" for number in range(1, 200))]
    progress = run(tmp_path, items)
    assert seen(tmp_path) == dict.fromkeys(items, 1)
    assert (progress.done, progress.rejected) == (200, 66)
    assert len({line for path in tmp_path.iterdir() for line in path.read_text().split()}) == 2


def test_an_actor_that_dies_is_replaced_and_one_that_always_dies_ends_the_run(cluster: object, tmp_path: Path) -> None:
    items = ["a", "once1", "b", "once2", "once3", "c"]
    run(tmp_path, items)
    assert seen(tmp_path) == dict.fromkeys(items, 1)
    with pytest.raises(PlatformError, match="workers died again and again at the same piece of work"):
        run(tmp_path, ["deadly"])


def test_what_is_raised_for_the_user_arrives(cluster: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^one sentence\.$"):
        run(tmp_path, ["a", "wrong", "b"])


def test_an_actor_without_a_cpu_keeps_nothing_back(cluster: object, tmp_path: Path) -> None:
    items = [str(number) for number in range(20)]
    run(tmp_path, items, workers=50, num_cpus=1.0)  # far more than there are CPUs
    assert seen(tmp_path) == dict.fromkeys(items, 1)


def test_nothing_to_do(cluster: object, tmp_path: Path) -> None:
    assert run(tmp_path, []).done == 0
