"""How many trials run at once: on any cluster all have what they need at the same time, and something is left."""

import itertools

import pytest

from faceverify.tuning.options import SearchConfig
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.training_group import threads_of, worker_needs
from ray_jobs.engine.trials import Referee, room
from ray_jobs.tune import TuneConfig


def config(workers: int = 0, concurrent: int = 0, algorithm: str = "random") -> TuneConfig:
    return TuneConfig(workers=workers, concurrent=concurrent, search=SearchConfig(algorithm=algorithm))  # type: ignore[arg-type]


@pytest.mark.parametrize("cpus, nodes, gpus", [(1, 1, 0), (2, 1, 0), (8, 4, 0), (64, 1, 0), (16, 2, 2), (12, 1, 8)])
def test_nobody_waits_for_what_others_hold(cpus: int, nodes: int, gpus: int) -> None:
    cluster = Cluster(cpus, gpus, nodes, 1 << 30, 1 << 30, (cpus // nodes,) * nodes)
    for workers, concurrent, total in itertools.product((0, 1, 2, 4), (0, 1, 3, 99), (1, 12)):
        if workers > (gpus or cpus):
            continue  # more than there is: `train` cannot either
        found = room(cluster, config(workers, concurrent), total)
        assert 1 <= found.trials <= total and (not concurrent or found.trials <= concurrent)
        needs = worker_needs(found.share, found.workers)
        running = found.trials * found.workers
        assert needs["cpu"] <= cpus // nodes
        assert running * needs["cpu"] <= cpus and running * needs.get("gpu", 0) <= gpus
        if not gpus:  # the tasks that prepare batches
            assert cpus - running * needs["cpu"] >= 0.4
            assert threads_of(found.share, found.workers) * running <= cpus


def test_as_many_as_there_is_room_for() -> None:
    assert room(Cluster(2, 0, 1, 1, 1), config(), 12).trials == 2
    assert room(Cluster(2, 0, 1, 1, 1), config(workers=2), 12).trials == 1
    assert room(Cluster(64, 8, 1, 1, 1), config(), 12).trials == 8
    assert room(Cluster(64, 8, 1, 1, 1), config(workers=4), 12).trials == 2
    assert room(Cluster(64, 8, 1, 1, 1), config(algorithm="optuna"), 12).trials == SearchConfig().window


def test_the_referee_remembers_whom_it_stopped() -> None:
    referee = Referee(SearchConfig(), 5)
    for number in range(2):
        referee.begun(number, 0)
    assert referee.goes_on(0, [{"step": 0, "eer": 0.5}, {"step": 5, "eer": 0.2}])
    assert not referee.goes_on(1, [{"step": 0, "eer": 0.5}, {"step": 5, "eer": 0.3}])
    assert (referee.stopped(0), referee.stopped(1)) == (False, True)
    assert "too little memory" in referee.fault(1)
    referee.failed(1, "the disk is full")
    assert referee.fault(1) == "the disk is full"
