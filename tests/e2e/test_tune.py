"""Searches from end to end on Ray: killed and resumed, read by plain Ray code, diverging, a population, mistakes."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from e2e.harness import Driver, Run
from training.small import Data, draw, run_options

STEPS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """12 persons with 4 photos and 2 fakes each; 3 of them to validate with."""
    return draw(tmp_path_factory.mktemp("tune"))


def options(data: Data, out: Path, space: dict[str, Any], search: dict[str, Any], *more: str) -> list[str]:
    """Of a search over trainings of a few steps."""
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump({"space": space, "search": {"algorithm": "random", "seed": 1, **search}}))
    length = {"batches.max-steps": STEPS, "validation.every": 2}
    return [str(file), *run_options(data, out, **length), *more]


RATES = {
    "optimiser.learning_rate": {"log_uniform": ["1e-4", 0.03]},
    "losses.adaptive_margin.margin": {"uniform": [0, 0.6]},
}


def ended(out: Path) -> dict[str, tuple[bytes, int]]:
    """The records of trials that have ended, and when their training last wrote something."""
    found = {}
    for path in (out / "trials").glob("*/trial.json"):
        found[path.parent.name] = (path.read_bytes(), (path.parent / "metrics.jsonl").stat().st_mtime_ns)
    return found


def what_counts(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "trials.parquet").drop_columns("seconds").to_pylist()


def killed(
    drive: Callable[..., Driver], chosen: list[str], out: Path, done: int, kill: signal.Signals = signal.SIGKILL
) -> None:
    """Start a search and kill its driver when that many trials have ended and the next has a checkpoint."""
    driver = drive("tune", *chosen)
    going = lambda: any((out / "trials" / f"{done:04d}").glob("checkpoints/step-*/done.json"))  # noqa: E731
    assert driver.wait_until(lambda: len(ended(out)) >= done and going()), driver.end()
    assert driver.end(kill).code == {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}[kill]
    assert not (out / "manifest.json").exists()


def test_a_killed_search_repeats_no_trial_and_ray_shows_them_all(
    drive: Callable[..., Driver], run: Run, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.tune import ExperimentAnalysis

    out = tmp_path / "out"
    search = {"algorithm": "optuna", "scheduler": "asha", "trials": 4, "startup": 2}
    chosen = options(data, out, RATES, search, "--concurrent", "1")
    killed(drive, chosen, out, 1)
    before = ended(out)
    gone_on = run("tune", *chosen, "--resume")
    assert gone_on.code == 0, gone_on.err
    assert f"{len(before)} trials have ended" in gone_on.out and gone_on.err == ""
    assert before and {name: fact for name, fact in ended(out).items() if name in before} == before
    names = {path.name for path in out.iterdir()}
    tables = {"trials.parquet", "trials.csv", "validations.parquet"}
    assert names == {"trials", "ray_tune", *tables, "best.yaml", "report.html", "manifest.json"}
    assert all((out / "trials" / name / "leaderboard.csv").is_file() for name in ended(out))

    rows = pq.read_table(out / "trials.parquet").to_pandas()
    with monkeypatch.context() as patch:  # what any program that knows Ray, and not this package, can read
        for name in [name for name in sys.modules if name.partition(".")[0] in ("faceverify", "ray_jobs")]:
            patch.setitem(sys.modules, name, None)
        analysis = ExperimentAnalysis(str(out / "ray_tune"), default_metric="score", default_mode="min")
        trials = sorted(analysis.trials, key=str)
        last = [analysis.trial_dataframes[one.trial_id].iloc[-1] for one in trials]
        told = [list(analysis.trial_dataframes[one.trial_id]["step"]) for one in trials]
        best = analysis.best_result["score"]
    assert [int(str(one)) for one in trials] == list(rows["trial"])
    assert [one.config["optimiser.learning_rate"] for one in trials] == list(rows["optimiser.learning_rate"])
    assert [(one["score"], one["step"]) for one in last] == list(zip(rows["eer"], rows["steps"], strict=True))
    assert [one.get("ended") == "finished" for one in last] == list(rows["state"] == "finished")
    assert best == rows[rows["rank"] == 1].iloc[0]["eer"]
    validations = pq.read_table(out / "validations.parquet").to_pandas()
    found = [list(some["step"][some["step"] > 0]) for _, some in validations.groupby("trial")]
    assert told == found
    assert all(list((out / "ray_tune" / str(one)).glob("events.out.tfevents.*")) for one in trials)  # TensorBoard


@pytest.mark.thorough
@pytest.mark.parametrize(
    "search",
    [{"scheduler": "asha"}, {"algorithm": "optuna", "scheduler": "asha", "startup": 4}],
    ids=["asha", "optuna"],
)
def test_twelve_trials_killed_twice_are_those_of_an_undisturbed_search(
    drive: Callable[..., Driver], run: Run, data: Data, tmp_path: Path, search: dict[str, Any]
) -> None:
    made = []
    for name, kills in (("out", {2: signal.SIGKILL, 7: signal.SIGTERM}), ("other", {})):
        out = tmp_path / name
        chosen = options(data, out, RATES, {**search, "trials": 12}, "--concurrent", "1")
        for done, kill in kills.items():
            killed(drive, chosen, out, done, kill)
        assert run("tune", *chosen).code == 0
        made.append((what_counts(out), pq.read_table(out / "validations.parquet").to_pylist()))
    assert made[0] == made[1]
    assert {"finished", "pruned"} == {one["state"] for one in made[0][0]}


@pytest.mark.thorough
def test_several_at_once_killed_lose_nothing_and_double_nothing(
    drive: Callable[..., Driver], run: Run, data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    search = {"algorithm": "optuna", "scheduler": "median", "trials": 8, "startup": 2}
    chosen = options(data, out, RATES, search)
    killed(drive, chosen, out, 3)
    before = {path.parent.name: json.loads(path.read_text()) for path in (out / "trials").glob("*/given.json")}
    records = ended(out)
    assert run("tune", *chosen).code == 0
    assert {name: fact for name, fact in ended(out).items() if name in records} == records
    rows = what_counts(out)
    assert [one["trial"] for one in rows] == list(range(8))
    given = {name: {field: rows[int(name)][field] for field in RATES} for name in before}
    assert given == {name: facts["values"] for name, facts in before.items()}
    assert len({one["optimiser.learning_rate"] for one in rows}) == 8


@pytest.mark.thorough
def test_trials_of_two_workers_are_stopped_too(run: Run, data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    space = {"optimiser.learning_rate": {"choice": ["1e-7", "1e30"]}}
    search = {"algorithm": "grid", "scheduler": "asha", "grace": 3}
    more = ("--workers", "2", "--batches.max-steps", "8", "--optimiser.clip-norm", "0")
    searched = run("tune", *options(data, out, space, search, *more))
    assert searched.code == 0, searched.err
    found = [(one["state"], one["steps"]) for one in what_counts(out)]
    assert found == [("finished", 8), ("pruned", 6), ("diverged", 0)]


@pytest.mark.thorough
def test_trials_that_diverge_say_so_and_the_best_is_trained_again(run: Run, data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    space = {"optimiser.learning_rate": {"choice": ["1e-3", "1e30"]}}
    given = options(data, out, space, {"algorithm": "grid", "scheduler": "none"}, "--optimiser.clip-norm", "0")
    searched = run("tune", *given)
    assert searched.code == 0, searched.err
    assert "1 finished, 1 diverged" in searched.out
    first, second = what_counts(out)
    assert (first["state"], second["state"], second["rank"]) == ("finished", "diverged", None)
    assert "the loss of step" in second["reason"] and "learning rate" in second["reason"]
    assert second["reason"].partition("'")[0] in (out / "report.html").read_text()

    trained = run("train", out / "best.yaml")
    assert trained.code == 0, trained.err
    assert json.loads((out / "best" / "manifest.json").read_text())["best"]["eer"] == first["eer"]


@pytest.mark.thorough
def test_a_population_hands_its_checkpoints_on(
    drive: Callable[..., Driver], run: Run, data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    search = {"scheduler": "pbt", "trials": 3, "perturb_every": 1}
    chosen = options(data, out, RATES, search, "--batches.max-steps", "12")
    driver = drive("tune", *chosen)
    assert driver.wait_until(lambda: any((out / "trials").glob("*/checkpoints/step-00000004/done.json"))), driver.end()
    driver.end(signal.SIGKILL)
    searched = run("tune", *chosen)
    assert searched.code == 0, searched.err
    handed = out / "ray_tune" / "pbt_global.txt"
    assert [one["steps"] for one in what_counts(out)] == [12] * 3
    heir, parent, at, _, _, new = json.loads(handed.read_text().splitlines()[-1])
    numbers = [int(tag.partition("_")[0]) for tag in (heir, parent)]
    lines = [
        [json.loads(line) for line in (out / "trials" / f"{n:04d}" / "metrics.jsonl").read_text().splitlines()]
        for n in numbers
    ]
    steps = [[line["step"] for line in each if "eer" in line] for each in lines]
    assert steps == [list(range(0, 13, 2))] * 2 and at > 0
    rate = next(line["lr"] for line in reversed(lines[0]) if "lr" in line)
    assert rate == what_counts(out)[numbers[0]]["optimiser.learning_rate"] == new["optimiser.learning_rate"]
    assert not list((out / "ray_tune").glob("*/checkpoint_*"))


@pytest.mark.parametrize(
    "space, search, more, words",
    [
        ({"optimiser.learning_rat": {"uniform": [0, 1]}}, {}, [], ["optimiser.learning_rat", "did you mean"]),
        ({}, {}, [], ["space is empty"]),
        (RATES, {"algorithm": "grid"}, [], ["search.algorithm is grid", "range"]),
        (RATES, {}, ["--resume"], ["resume", "no search to go on with"]),
        (RATES, {"scheduler": "pbt", "algorithm": "optuna"}, [], ["pbt", "algorithm is optuna"]),
        (RATES, {"scheduler": "pbt"}, ["--workers", "2"], ["pbt", "workers is 2"]),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    run: Run,
    data: Data,
    tmp_path: Path,
    space: dict[str, Any],
    search: dict[str, Any],
    more: list[str],
    words: list[str],
) -> None:
    run("tune", *options(data, tmp_path / "out", space, search, *more)).refused(2, *words)
    assert not (tmp_path / "out").exists()
