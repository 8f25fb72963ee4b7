"""The run folder: exactly-once parts, refusal of another plan, complete-or-absent output."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from faceverify import tables
from faceverify.errors import AnotherRun, UserError
from faceverify.parts import write_part
from faceverify.run_folder import MANIFEST, WORK, RunFolder
from faceverify.storage import Location, open_location

SCHEMA = pa.schema([("photo", pa.string())])
REJECT = pa.Table.from_pylist([{"photo": "bad", "stage": "read", "reason": "empty", "detail": ""}], tables.REJECTS)


def rows(*names: str) -> pa.Table:
    return pa.table({"photo": list(names)}, schema=SCHEMA)


def start(out: Path, plan: object = 1, overwrite: bool = False) -> RunFolder:
    return RunFolder(Location(str(out)), {"config": {"a": plan}}, ("things", "rejects"), overwrite)


def close(folder: RunFolder) -> None:
    """What the end of the process does."""
    folder.release()


def finish(folder: RunFolder) -> None:
    write_part(folder.work, "things", 1, rows("c"))
    write_part(folder.work, "things", 0, rows("a", "b"), REJECT)
    folder.publish_parts("things", SCHEMA, ["things"])
    assert folder.publish_rejects(["things"]) == {"empty": 1}
    folder.finish({"job": "test"})
    close(folder)


def test_parts_come_out_in_shard_order_and_the_work_is_removed(tmp_path: Path) -> None:
    finish(start(tmp_path))
    assert pd.read_parquet(tmp_path / "things")["photo"].tolist() == ["a", "b", "c"]
    assert pd.read_parquet(tmp_path / "rejects")["reason"].tolist() == ["empty"]
    assert not (tmp_path / WORK).exists()
    assert json.loads((tmp_path / MANIFEST).read_text())["job"] == "test"


def test_files_that_a_killed_writer_left_are_not_published(tmp_path: Path) -> None:
    folder = start(tmp_path)
    (tmp_path / "things").mkdir()
    litter = tmp_path / "things" / ".0001.png.x8h2k1ab.partial"
    litter.write_bytes(b"half a pic")
    folder.finish({"job": "test"})
    close(folder)
    assert not litter.exists()


def test_nothing_but_work_is_visible_before_the_commit(tmp_path: Path) -> None:
    folder = start(tmp_path)
    write_part(folder.work, "things", 0, rows("a"))
    assert [p.name for p in tmp_path.iterdir()] == [WORK]


def test_a_second_run_goes_on_and_a_third_finds_it_complete(tmp_path: Path) -> None:
    first = start(tmp_path)
    write_part(first.work, "things", 3, rows("a"))
    first.note("cut", {"shards": 4})
    close(first)
    second = start(tmp_path)
    assert second.resumed and second.done("things") == {3} and second.noted("cut") == {"shards": 4}
    finish(second)
    assert start(tmp_path).complete


def test_another_plan_is_refused_by_the_name_of_the_difference(tmp_path: Path) -> None:
    close(start(tmp_path))
    with pytest.raises(UserError, match=r"unfinished.*config\.a.*--overwrite"):
        start(tmp_path, plan=2)
    finish(start(tmp_path))
    with pytest.raises(UserError, match=r"finished.*config\.a"):
        start(tmp_path, plan=2)
    assert (tmp_path / "things").exists()


def test_overwrite_deletes_what_the_job_makes_and_nothing_else(tmp_path: Path) -> None:
    finish(start(tmp_path))
    (tmp_path / "mine.txt").write_text("precious")
    folder = start(tmp_path, plan=2, overwrite=True)
    assert not folder.complete and not folder.resumed
    assert sorted(p.name for p in tmp_path.iterdir()) == [WORK, "mine.txt"]


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    program = (
        "import sys, time; from faceverify.run_folder import RunFolder; from faceverify.storage import Location;"
        "f = RunFolder(Location(sys.argv[1]), {'config': {'a': 1}}, ('things',));"
        "print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline() == "ready\n"
        with pytest.raises(UserError, match="Another process"):
            start(tmp_path)
    finally:
        other.kill()
        other.communicate()
    assert start(tmp_path).resumed  # the lock died with its holder


def test_a_table_without_rows_is_still_a_table(tmp_path: Path) -> None:
    folder = start(tmp_path)
    assert folder.publish("things", [], SCHEMA) == 0
    assert pd.read_parquet(tmp_path / "things").columns.tolist() == ["photo"]


def test_the_same_on_s3(bucket: str) -> None:
    out = open_location(f"s3://{bucket}/run")
    folder = RunFolder(out, {"config": 1}, ("things",))
    write_part(folder.work, "things", 0, rows("a"))
    assert RunFolder(out, {"config": 1}, ("things",)).done("things") == {0}
    folder.publish_parts("things", SCHEMA, ["things"])
    folder.finish({"job": "test"})
    assert [f.path for f in out.files()] == [MANIFEST, "things/part-00000.parquet"]


def test_a_dry_run_refuses_what_the_real_run_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from faceverify.config import JobConfig
    from ray_jobs.engine.dry_run import is_dry

    plan, other, outputs = {"job": "one"}, {"job": "other"}, ("things", "things.csv")
    finished, begun, foreign, linked = (Location(str(tmp_path / name)) for name in ("done", "begun", "alien", "link"))
    run = RunFolder(finished, other, outputs)
    run.finish({})
    RunFolder(begun, other, outputs).release()
    (foreign / "things.csv").write_bytes(b"theirs")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "things").symlink_to(tmp_path / "alien")
    for out, word in (
        (finished, "finished"),
        (begun, "unfinished"),
        (foreign, "no run that made it"),
        (linked, "link"),
    ):
        before = sorted(str(path) for path in tmp_path.rglob("*"))
        for attempt in (
            lambda out=out: is_dry(JobConfig(dry_run=True), out, plan, outputs),
            lambda out=out: RunFolder(out, plan, outputs),
        ):
            with pytest.raises(UserError, match=word):
                attempt()
        assert sorted(str(path) for path in tmp_path.rglob("*")) == before, "a refusal leaves all as it was"
    assert "Dry run" not in capsys.readouterr().out
    for out in (finished, begun, foreign):
        assert is_dry(JobConfig(dry_run=True, overwrite=True), out, plan, outputs)
    for out in (finished, begun):
        assert is_dry(JobConfig(dry_run=True), out, other, outputs)
    assert is_dry(JobConfig(dry_run=True), Location(str(tmp_path / "new")), plan, outputs)
    assert not is_dry(JobConfig(), finished, plan, outputs)
    assert not (tmp_path / "new").exists()


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from faceverify.config import JobConfig
    from ray_jobs.engine.dry_run import is_dry

    out, plan = Location(str(tmp_path / "out")), {"config": {"seed": 1}}
    dry = lambda plan, **how: is_dry(JobConfig(dry_run=True, **how), out, plan, ("rows",))  # noqa: E731
    said = lambda: capsys.readouterr().out.rstrip()  # noqa: E731
    dry(plan)
    assert said().endswith("nothing was started.") and not (tmp_path / "out").exists()
    folder = RunFolder(out, plan, ("rows",))
    dry(plan)
    assert said().endswith("holds this run unfinished: it would go on.")
    for finish in (False, True):
        if finish:
            folder.finish({})
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(AnotherRun, match=r"result of another run \(it differs in config.seed\)") as caught:
            dry({"config": {"seed": 2}})
        assert caught.value.differs == "config.seed"
        dry({"config": {"seed": 2}}, overwrite=True)
        assert said().endswith("would be deleted (--overwrite).")
        assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    dry(plan)
    assert said().endswith("holds the finished result.")
