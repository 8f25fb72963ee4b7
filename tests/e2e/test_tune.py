"""Searches from end to end on Ray: killed and taken up again, diverging trials, a population, mistakes."""

import json
import signal
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


def checkpoints(out: Path) -> bool:
    return any((out / "trials").glob("*/checkpoints/step-*/done.json"))


def what_counts(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "trials.parquet").drop_columns("seconds").to_pylist()


@pytest.mark.thorough
def test_a_killed_search_goes_on_and_repeats_no_trial(
    drive: Callable[..., Driver], run: Run, data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    search = {"scheduler": "asha", "trials": 4}
    chosen = options(data, out, RATES, search)
    for kill, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        done, again = len(ended(out)), (out / "trials").exists()
        driver = drive("tune", *chosen)
        come = lambda: len(ended(out)) > done or (not again and checkpoints(out))  # noqa: B023, E731
        assert driver.wait_until(come), driver.end()
        assert driver.end(kill).code == code
    before = ended(out)
    assert before and not (out / "manifest.json").exists()

    gone_on = run("tune", *chosen, "--resume")
    assert gone_on.code == 0, gone_on.err
    assert f"{len(before)} trials have ended" in gone_on.out
    assert {name: fact for name, fact in ended(out).items() if name in before} == before

    other = tmp_path / "other"  # undisturbed
    assert run("tune", *options(data, other, RATES, search)).code == 0
    assert what_counts(out) == what_counts(other)
    states = {one["state"] for one in what_counts(out)}
    assert "pruned" in states and states <= {"finished", "pruned"}
    names = {path.name for path in out.iterdir()}
    tables = {"trials.parquet", "trials.csv", "validations.parquet"}
    assert names == {"trials", *tables, "best.yaml", "report.html", "manifest.json"}


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


def test_a_population_hands_its_checkpoints_on(run: Run, data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    search = {"scheduler": "pbt", "trials": 2, "pbt": {"every": 1, "share": 0.5}}
    searched = run("tune", *options(data, out, RATES, search, "--validation.every", "3"))
    assert searched.code == 0, searched.err
    turn = json.loads((out / "trials" / "turn-0000.json").read_text())
    heir, parent = next((number, one["parent"]) for number, one in turn.items() if one["parent"] != int(number))
    lines = [
        [json.loads(line) for line in (out / "trials" / f"{int(n):04d}" / "metrics.jsonl").read_text().splitlines()]
        for n in (heir, parent)
    ]
    found = [next(line["eer"] for line in each if line["step"] == 3 and "eer" in line) for each in lines]
    assert found[0] == found[1]
    rate = next(line["lr"] for line in lines[0] if line["step"] == 4)
    assert rate == turn[heir]["values"]["optimiser.learning_rate"]
    assert [one["steps"] for one in what_counts(out)] == [STEPS, STEPS]


@pytest.mark.parametrize(
    "space, search, more, words",
    [
        ({"optimiser.learning_rat": {"uniform": [0, 1]}}, {}, [], ["optimiser.learning_rat", "did you mean"]),
        ({}, {}, [], ["space is empty"]),
        (RATES, {"algorithm": "grid"}, [], ["search.algorithm is grid", "range"]),
        (RATES, {}, ["--resume"], ["resume", "no search to go on with"]),
        (RATES, {"scheduler": "pbt", "algorithm": "optuna"}, [], ["pbt", "algorithm is optuna"]),
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
