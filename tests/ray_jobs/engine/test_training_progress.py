"""The driver of a training shows how far it is, what workers without room wait for, and hears Ctrl-C meanwhile."""

import re
import threading

import pytest

from faceverify.errors import UserError
from ray_jobs.engine import signals, training_progress
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.shards import beside_driver
from ray_jobs.engine.training_progress import Board, _Display, shown

NEEDS = {"CPU": 1.5}


@pytest.mark.parametrize("started", [False, True])
def test_it_says_what_the_workers_wait_for(
    cluster: Cluster, started: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_progress, "PATIENCE", 0.0)
    display = _Display(NEEDS, 1)
    for _ in range(2):
        display.update((started, 0, 0, {}))
    lines = capsys.readouterr().out.splitlines()
    wanted = rf"Waiting for 1 worker with 1\.5 CPU each; the cluster has [\d.]+ of {cluster.cpus} CPU free\."
    assert len(lines) == (0 if started else 2) and all(re.fullmatch(wanted, line) for line in lines)


def test_the_line_follows_the_board(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    seen, update = threading.Event(), _Display.update

    def noticed(display: _Display, read: tuple[bool, int, int, dict[str, float]] | None) -> None:
        update(display, read)
        if read and read[1] == 7:
            seen.set()

    monkeypatch.setattr(_Display, "update", noticed)
    monkeypatch.setattr(training_progress, "LOOK_SECONDS", 0.01)
    board = beside_driver(Board).remote()

    def work() -> str:
        ray.get([board.start.remote(), board.update.remote(7, 9, {"seconds": 1.0, "wait": 0.5})])
        assert seen.wait(120)
        return "done"

    assert shown(board, NEEDS, 1, work) == "done"
    assert "steps: 7/9" in capsys.readouterr().err
    assert ray.get(board.read.remote()) == (True, 7, 9, {"seconds": 1.0, "wait": 0.5})


def test_what_the_work_raises_is_raised_and_a_signal_waits_for_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, never = beside_driver(Board).remote(), threading.Event()

    def mistaken() -> None:
        raise UserError("a mistake")

    with pytest.raises(UserError, match="a mistake"):
        shown(board, NEEDS, 1, mistaken)
    monkeypatch.setattr(signals, "asked", [signals.Stopped])
    with pytest.raises(signals.Stopped):
        shown(board, NEEDS, 1, never.wait)
    never.set()
