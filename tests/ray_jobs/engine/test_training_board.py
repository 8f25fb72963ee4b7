"""A training whose workers find no room says what they wait for."""

import re
import threading
from typing import Any

import pytest

from ray_jobs.engine import training_board
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.shards import beside_driver
from ray_jobs.engine.training_board import Board, Watch


@pytest.mark.parametrize("started", [False, True])
def test_it_says_what_the_workers_wait_for(
    cluster: Cluster, started: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.setattr(training_board, "PATIENCE", 0.5)
    told = beside_driver(Board).remote()
    if started:
        assert ray.get(told.start.remote()) is None
    spoke, waits_for = threading.Event(), training_board.waits_for

    def noticed(*args: Any) -> str:
        spoke.set()
        return waits_for(*args)

    monkeypatch.setattr(training_board, "waits_for", noticed)
    with Watch(told, {"CPU": 1.5}, 1):
        assert spoke.wait(2 if started else 120) != started
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("Waiting")]
    wanted = rf"Waiting for 1 worker with 1\.5 CPU each; the cluster has [\d.]+ of {cluster.cpus} CPU free\."
    assert bool(lines) != started and all(re.fullmatch(wanted, line) for line in lines)
