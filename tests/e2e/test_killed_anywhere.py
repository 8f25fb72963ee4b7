"""A run killed before each single change that beginning, planning and committing make on disk."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.harness import People, Run, without_work

from ray_jobs import score


def planned(work: Path) -> dict[str, bytes]:
    """The files of a plan."""
    files = [*work.glob("pairs/*"), *work.glob("photos/*"), work / "plan_of_work.json"]
    return {str(path.relative_to(work)): path.read_bytes() for path in files}


@pytest.mark.thorough
def test_every_change_of_planning_and_committing_may_be_the_last(
    run: Run, people: People, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, done, target = tmp_path / "whole", tmp_path / "done", tmp_path / "killed"
    commit, plan = score.commit, {}

    def keep_the_parts(*args: Any) -> dict[str, Any]:
        for stage in ("embeddings", "scores", "scores.csv"):
            shutil.copytree(whole / ".work" / stage, done / stage)
        plan.update(planned(whole / ".work"))
        return commit(*args)

    monkeypatch.setattr(score, "commit", keep_the_parts)
    options = [*people.args(tiny, whole), "--photos-per-shard", "50", "--pairs-per-shard", "70"]
    assert run("score", *options).code == 0
    reference = without_work(whole)

    program = [sys.executable, str(Path(__file__).with_name("dying.py")), str(done), str(target), *options]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    killed = sorted(path for path in target.iterdir() if not path.suffix)
    assert len(killed) > 30 and len(plan) == 3
    for out in killed:
        assert planned(out.with_suffix(".plan")) == plan, f"killed before change {out.name}"
        assert without_work(out) == reference, f"killed before change {out.name}"
        left = {path.name for path in out.iterdir()} - {path.name for path in whole.iterdir()}
        # A file that was being written when the kill came may stay as a hidden draft; nothing reads it.
        assert all(name.startswith((".probe-", "..probe-", ".manifest.json.")) for name in left), (out.name, left)
