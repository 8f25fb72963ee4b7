"""A job is stopped once it is certain that too many rows fail, and never before."""

from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.errors import BadData, Reason, UserError
from faceverify.faces import Rejects
from faceverify.parts import write_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location
from ray_jobs.engine.failure_limit import Watch, Watched

ROWS = 4  # of a shard
FAILING = {  # shard: how many of its rows fail for which reason
    0: (4, Reason.NO_FACE),
    1: (4, Reason.NO_FACE),
    2: (0, Reason.NO_FACE),
    3: (3, Reason.TRUNCATED),
    4: (2, Reason.NO_FACE),
}


def folder(tmp_path: Path, name: str = "out") -> RunFolder:
    return RunFolder(Location(str(tmp_path / name)), {"job": "test"}, ("faces", "rejects"))


def finish_shard(run: RunFolder, shard: int) -> int:
    count, reason = FAILING[shard]
    rejects = Rejects()
    for row in range(count):
        rejects.add(f"{shard}-{row}.jpg", "align", BadData(reason))
    write_part(run.work, "faces", shard, pa.table({"photo": ["x"] * (ROWS - count)}), rejects.table())
    return count


def stopped_after(run: RunFolder, order: tuple[int, ...], max_failed: float) -> int | None:
    """How many shards were done when the job was stopped."""
    line = Watched("photos", 20, watch=Watch(run, "faces", 20, max_failed))
    for number, shard in enumerate(order, 1):
        try:
            line.add(ROWS, finish_shard(run, shard))
        except UserError:
            return number
    return None


def test_it_stops_as_soon_as_the_rest_cannot_change_it_whatever_comes_first(tmp_path: Path) -> None:
    # 10 of 20 rows have no face.
    for number, order in enumerate(permutations(FAILING)):
        if number % 10:
            continue
        assert stopped_after(folder(tmp_path, f"a{number}"), order, 0.5) is None
        when = stopped_after(folder(tmp_path, f"b{number}"), order, 0.45)
        failed = [sum(FAILING[s][0] for s in order[:n] if FAILING[s][1] == Reason.NO_FACE) for n in range(1, 6)]
        assert when == next(n for n, count in enumerate(failed, 1) if count > 9)


def test_what_it_says_and_leaves(tmp_path: Path) -> None:
    run = folder(tmp_path)
    watch = Watch(run, "faces", 20, 0.25)
    watch.add(finish_shard(run, 0))
    finished = finish_shard(run, 1)
    with pytest.raises(UserError) as caught:
        watch.add(finished)
    for word in (
        "8 of 20 photos failed with no_face ('0-0.jpg', '0-1.jpg', '0-2.jpg')",
        "--max-failed 1",
        "--overwrite",
    ):
        assert word in str(caught.value)
    assert run.done("faces") == {0, 1}, "the work is kept"
    assert len(pq.read_table(tmp_path / "out" / "rejects")) == 8 and not (tmp_path / "out" / "manifest.json").exists()


def test_rows_of_an_earlier_process_count(tmp_path: Path) -> None:
    run = folder(tmp_path)
    for shard in (0, 1):
        finish_shard(run, shard)
    watch = Watch(run, "faces", 20, 0.45, done=8)
    watch.add(finish_shard(run, 2))
    with pytest.raises(UserError, match="10 of 20"):
        watch.add(finish_shard(run, 4))


def test_one_never_stops_and_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder(tmp_path)
    monkeypatch.setattr("ray_jobs.engine.failure_limit.read_facts", None)
    watch = Watch(run, "faces", 8, 1)
    for shard in (0, 1):
        watch.add(finish_shard(run, shard))
