"""A chain of jobs: what is finished stays, the rest is done, a step is made again with all that follow."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from faceverify.config import JobConfig, identity
from faceverify.errors import UserError
from faceverify.run_folder import RunFolder
from faceverify.storage import open_location
from ray_jobs.engine.pipeline_steps import COLUMNS, Step, Steps, as_text, table_of


@dataclass(frozen=True, kw_only=True)
class Toy(JobConfig):
    rows: int = 3


class Chain:
    """Three jobs that note when they work, one of which may fail."""

    def __init__(self, out: Path, rows: int = 3, workers: int = 0) -> None:
        self.worked: list[str] = []
        self.failing = ""
        steps = [Step(name, f"makes {name}", lambda: Toy(rows=rows), self.job) for name in ("a", "first/b", "c")]
        self.steps = Steps(open_location(str(out)), steps, JobConfig(workers=workers))

    def job(self, config: Toy) -> None:
        folder = RunFolder(open_location(config.out), {"config": identity(config)}, ("rows",), config.overwrite)
        if not folder.complete:
            if folder.out.name == self.failing:
                folder.release()
                raise UserError("something is wrong")
            self.worked.append(folder.out.name)
            folder.finish({"rows_in": {"rows": config.rows}, "rows_out": {"rows": 1}, "rejects": {"empty": 2}})
        print(f"made {folder.out.name}")


def test_it_goes_on_at_the_first_unfinished_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = Chain(tmp_path)
    chain.failing = "b"
    with pytest.raises(UserError, match="something is wrong"):
        chain.steps.run()
    assert chain.worked == ["a"]
    assert [line.split(None, 2)[2] for line in chain.steps.plan().splitlines()] == [
        "finished  makes a",
        "runs      makes first/b (goes on where it was stopped)",
        "runs      makes c",
    ]
    capsys.readouterr()
    again = Chain(tmp_path)
    again.steps.run()
    assert again.worked == ["b", "c"]
    said = capsys.readouterr().out
    assert "== 1/3 a: makes a (finished)" in said and "made a" not in said and "made b" in said


def test_a_finished_step_whose_options_changed_is_refused(tmp_path: Path) -> None:
    Chain(tmp_path).steps.run()
    for ask in (Steps.check_unchanged, Steps.run):
        with pytest.raises(UserError, match=r"a was made with other options .*rows\); pass --redo a"):
            ask(Chain(tmp_path, rows=4).steps)
    Chain(tmp_path, workers=2).steps.check_unchanged()
    Chain(tmp_path, workers=2).steps.run()


def test_a_step_is_made_again_with_all_that_follow(tmp_path: Path) -> None:
    Chain(tmp_path).steps.run()
    (tmp_path / "c" / "of_another.json").write_text("kept")
    again = Chain(tmp_path)
    again.failing = "c"
    again.steps.begin_again("first/b", "--redo first/b")
    assert [line.split(None, 2)[2] for line in again.steps.plan().splitlines()] == [
        "finished  makes a",
        "runs      makes first/b (--redo first/b)",
        "runs      makes c (follows first/b)",
    ]
    assert Chain(tmp_path).steps.plan().count("finished") == 3, "asking notes nothing"
    with pytest.raises(UserError, match="something is wrong"):
        again.steps.run()
    last = Chain(tmp_path)  # without being told again
    last.steps.run()
    assert (again.worked, last.worked) == (["b"], ["c"])
    assert (tmp_path / "c" / "of_another.json").read_text() == "kept"
    with pytest.raises(UserError, match="redo is 'd', which is no step; the steps are a, first/b, c"):
        last.steps.begin_again("d", "")


@pytest.mark.parametrize("stop", [UserError("no such file"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["a", "first/b"])
def test_a_mistake_before_anything_is_touched_leaves_all_as_it_was(
    tmp_path: Path, stop: BaseException, at: str
) -> None:
    """`--redo first/b` where a job refuses its input, in that step or in a finished one before it, or Ctrl-C comes."""
    Chain(tmp_path).steps.run()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = Chain(tmp_path)

    def refuse(config: Toy) -> None:
        if config.out.endswith(at):
            raise stop
        again.job(config)

    again.steps.steps = [replace(step, run=refuse) for step in again.steps.steps]
    again.steps.begin_again("first/b", "--redo first/b")
    with pytest.raises(type(stop)):
        again.steps.run()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    last = Chain(tmp_path)
    last.steps.run()
    assert last.worked == []


def test_it_tells_what_every_step_did(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    chain.steps.run()
    rows = table_of(chain.steps.facts())
    assert [row[:4] for row in rows] == [(name, "3 rows", "1 rows", "2 empty") for name in ("a", "first/b", "c")]
    assert all(float(row[4]) >= 0 for row in rows)
    lines = as_text(rows).splitlines()
    assert len({len(line) for line in lines}) == 1 and lines[0].split() == list(COLUMNS)
    noted = json.loads((tmp_path / "pipeline.json").read_text())
    assert list(noted) == ["a", "first/b", "c"] and noted["c"]["rejects"] == {"empty": 2}
