"""How many trials run at once, the values they get from Ray's searchers, and that nobody waits for a slow one."""

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle, tune
from tuning import simulated
from tuning.simulated import BASE, SPACE, STEPS, line

from faceverify.errors import UserError
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Values
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.training_group import threads_of, worker_needs
from ray_jobs.engine.trials import KILLED, Reporter, _fault, room
from ray_jobs.engine.tuner import build_searcher, build_tuner
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
    assert room(Cluster(64, 8, 1, 1, 1), config(algorithm="optuna"), 12).trials == 8


def asked(known: list[Values | None], trials: int, base: Values | None = BASE) -> list[Values]:
    """The values of the trials of a search with Optuna, one at a time; of an earlier run's they are `known`."""
    searcher, _ = build_searcher(SearchConfig(startup=3, seed=1), SPACE, base, known, 1)
    found = []
    for number in range(trials):
        found.append(searcher.suggest(str(number)))
        assert searcher.suggest("another") is None  # as many at once as were asked for
        searcher.on_trial_complete(str(number), {"score": line(found[-1], STEPS)["eer"]})
    return found


def test_rays_optuna_searcher_is_resumed_with_what_was_given() -> None:
    whole = asked([], 10)
    assert whole[0] == BASE
    for count in (1, 4, 9):
        assert asked([*whole[:count]], 10) == whole
    assert asked([BASE, None, whole[2]], 10) == whole  # a folder that somebody deleted
    other = {"x": 0.25, "y": 0.125}
    assert asked([BASE, other], 3)[1] == other  # several at once: chosen from fewer results than there are now
    outside = {"x": 2.0, "y": 0.0}
    assert asked([], 3, base=outside)[0] == outside and asked([outside], 3, base=outside)[0] == outside


@pytest.mark.usefixtures("cluster")
def test_nobody_waits_for_a_slow_trial(tmp_path: Path) -> None:
    """Trial 0, the first that is validated, stands still from then on until all the others have ended."""

    cloudpickle.register_pickle_by_value(simulated)  # Ray's workers know no test modules
    seen = ray.remote(num_cpus=0)(simulated.Seen).remote()

    def wait_for(what: str, count: int) -> None:
        while ray.get(seen.count.remote(what)) < count:
            time.sleep(0.01)

    def train(config: dict[str, Any]) -> None:
        number = int(tune.get_context().get_trial_name())
        reporter, lines = Reporter("eer"), [line(config, 0)]
        wait_for("validated", min(number, 1))
        for step in range(1, STEPS + 1):
            lines.append(line(config, step))
            if step < STEPS and not reporter(lines):
                break
            ray.get(seen.add.remote("validated", number))
            wait_for("ended", 0 if number else 11)
        if not reporter.stopped:
            reporter.tell(lines, "finished")
        ray.get(seen.add.remote("ended", number))
        if reporter.stopped:
            raise SystemExit(0)

    search = SearchConfig(algorithm="random", trials=12, seed=2)
    run_config = tune.RunConfig(name="search", storage_path=str(tmp_path), verbose=0)
    trainable = tune.with_resources(train, {"cpu": 0.01})
    results = build_tuner(trainable, search, SPACE, BASE, 12, 2, run_config).fit()

    assert not results.errors and len(results) == 12
    found = {Path(one.path).name: one.metrics for one in results}
    assert found["0000"]["config"] == BASE and found["0000"]["validations"] == 3  # stopped at the next rung
    pruned = [one["validations"] for one in found.values() if "ended" not in one]
    assert (
        pruned and set(pruned) <= {1, 3} and 0.0 < results.get_best_result().metrics["score"] < found["0000"]["score"]
    )
    assert {path.parent.name for path in tmp_path.glob("search/*/events.out.tfevents.*")} == set(found)


@pytest.mark.parametrize(
    "text, said",
    [
        ("Failure # 1\nTraceback\n  File 1\nfaceverify.errors.PlatformError: storage failed: no space\n\n", "no space"),
        ("Failure # 1\nThe actor died because its node died.\nActorDiedError: it\n", KILLED),
        ("", KILLED),
    ],
)
def test_why_a_trial_was_lost(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "error.txt").write_text(text)
    assert said in _fault(tmp_path / "error.txt")


@pytest.mark.parametrize("field, value", [("grace", 0), ("reduction", 1), ("perturb_every", 0), ("startup", 0)])
def test_options_out_of_range(field: str, value: int) -> None:
    with pytest.raises(UserError, match=rf"search\.{field} is {value}: give"):
        SearchConfig(**{field: value})
