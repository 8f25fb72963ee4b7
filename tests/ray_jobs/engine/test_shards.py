"""Work on shards: everything is done once, in tasks, in actors and here; faults reach the user as sentences."""

import gc
import os
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from faceverify.errors import PlatformError, UserError
from ray_jobs.engine.cluster import Cluster, connect
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.shards import SHARD, Shards, by_shard, map_shards


class Worker:
    """Writes down what it is given; some shards are special."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names

    def __call__(self, shard: int, rows: pa.Table) -> tuple[int, int]:
        """Rows, rejected or not."""
        name = self.names[shard]
        assert rows.column_names == ["name", "row"] and set(rows["name"].to_pylist()) == {name}
        seen = self.folder / f"{shard}.{name}.seen"
        if name == "deadly" or (name == "once" and not seen.exists()):
            seen.touch()
            os._exit(1)
        if name == "wrong":
            raise UserError("one sentence.")
        if name == "full":
            raise OSError(28, "No space left on device")
        with seen.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if name == "waits":  # for another worker, which a busy machine may start late
            others, end = {str(os.getpid())}, time.monotonic() + 300
            while len(others) < 2 and time.monotonic() < end:
                time.sleep(0.01)
                others |= {line for path in self.folder.iterdir() for line in path.read_text().split()}
        return rows.num_rows, rows.num_rows * name.endswith("x")


def worked(folder: Path, names: list[str], shard: int, rows: pa.Table) -> tuple[int, int]:
    """The same as a function."""
    return Worker(folder, names)(shard, rows)


def rows_of(names: list[str], shard: int) -> pa.Table:
    return pa.table({"name": [names[shard]] * (shard % 3 + 1), "row": list(range(shard % 3 + 1))})


def run(where: Cluster, folder: Path, names: list[str], actors: bool, numbers: list[int] | None = None) -> Progress:
    progress = Progress("rows", 1)
    source = Shards(partial(rows_of, names), list(range(len(names))) if numbers is None else numbers, "Names")
    map_shards(source, Worker if actors else worked, (folder, names), where, progress, workers=2)
    return progress


def seen(folder: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in folder.iterdir()}


@pytest.mark.parametrize("actors", [True, False])
def test_every_shard_is_done_once_by_all_workers(cluster: Cluster, tmp_path: Path, actors: bool) -> None:
    names = ["waits", *(f"{number}{'x' * (number % 5 == 0)}" for number in range(1, 100))]
    progress = run(cluster, tmp_path, names, actors)
    assert seen(tmp_path) == {f"{number}.{name}": 1 for number, name in enumerate(names)}
    counts = [number % 3 + 1 for number in range(100)]
    assert (progress.done, progress.rejected) == (sum(counts), sum(counts[5::5]))
    assert len({line for path in tmp_path.iterdir() for line in path.read_text().split()}) >= 2


def test_the_same_in_this_process(tmp_path: Path) -> None:
    progress = run(connect(units=1), tmp_path, ["a", "bx", "c"], actors=True, numbers=[0, 2])
    assert seen(tmp_path) == {"0.a": 1, "2.c": 1}
    assert (progress.done, progress.rejected) == (4, 0)


def test_which_operators_ran_is_told(cluster: Cluster, tmp_path: Path) -> None:
    source = Shards(partial(rows_of, ["a", "b"]), [0, 1], "Names")
    operators = map_shards(source, worked, (tmp_path, ["a", "b"]), cluster, Progress("rows", 3))
    assert [one["operator"] for one in operators] == ["ReadNames->MapBatches(worked)"]
    assert operators[0]["rows"] == 2  # of counts: one row for each shard


@pytest.mark.parametrize("actors", [True, False])
def test_a_worker_that_dies_is_replaced(cluster: Cluster, tmp_path: Path, actors: bool) -> None:
    names = ["a", "once", "b", "once", "once", "c"]
    run(cluster, tmp_path, names, actors)
    assert all(count >= 1 for count in seen(tmp_path).values()) and len(seen(tmp_path)) == 6


@pytest.mark.parametrize(
    ("name", "error", "words"), [("wrong", UserError, "one sentence."), ("full", PlatformError, "space")]
)
@pytest.mark.parametrize("actors", [True, False])
def test_faults_reach_the_user(
    cluster: Cluster, tmp_path: Path, actors: bool, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        run(cluster, tmp_path, ["a", name, "b"], actors)
    assert "\n" not in str(caught.value)


def test_a_failed_pool_gives_its_cpus_back(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    gc.disable()  # nothing is to depend on when it runs by itself
    request.addfinalizer(gc.enable)
    with pytest.raises(UserError) as caught:
        run(cluster, tmp_path, ["a", "wrong", "b"], actors=True)
    end = time.monotonic() + 60
    workers = {int(line) for path in tmp_path.iterdir() for line in path.read_text().split()}
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end, f"{alive} live as long as {caught.value!r} does"
        time.sleep(0.05)


def test_a_batch_is_cut_where_the_shard_changes() -> None:
    batch = pa.table({"x": [1, 2, 3, 4], SHARD: [7, 7, 3, 8]})
    assert [(shard, rows["x"].to_pylist()) for shard, rows in by_shard(batch)] == [(7, [1, 2]), (3, [3]), (8, [4])]
    assert not list(by_shard(batch.slice(0, 0)))
