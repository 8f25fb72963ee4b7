"""The best, the front, the tables, what mattered."""

import io
import itertools
import json
import random
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tuning.simulated import BASE, SPACE, search, trial

from faceverify.config import from_yaml, replaced
from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.tuning import results
from faceverify.tuning.importance import importances
from faceverify.tuning.trials import (
    GIVEN,
    RECORD,
    Trial,
    adopt,
    conclude,
    find,
    folder_of,
    pareto,
    ranked,
    read,
    read_given,
    so_far,
    started,
    write,
    write_given,
)
from ray_jobs.train import TrainConfig


def two(number: int, real: float, fakes: float | None) -> Trial:
    lines = [{"step": 1, "eer": 0.5, "eer_real": real, "deepfake_accepted": fakes}]
    return trial(number, [], validations=lines, best_step=1)


def test_the_front_is_what_nothing_beats() -> None:
    rng = random.Random(0)
    trials = [two(n, rng.randrange(8) / 8, rng.randrange(8) / 8) for n in range(40)] + [two(40, 0.0, None)]
    points = {t.number: (t.score("eer_real"), t.score("deepfake_accepted")) for t in trials[:40]}
    front = {t.number for t in pareto(trials)}
    for a, b in itertools.product(points, points):
        better = points[a][0] <= points[b][0] and points[a][1] <= points[b][1] and points[a] != points[b]
        assert not (better and b in front)
    outside = set(points) - front
    assert all(any(points[f][0] <= points[o][0] and points[f][1] <= points[o][1] for f in front) for o in outside)
    assert 40 not in front and 0 < len(front) < 40


def test_a_trial_is_judged_by_its_best_checkpoint() -> None:
    lines = [
        {"step": 0, "eer": 0.01, "eer_real": 0.01},
        {"step": 5, "eer": 0.4, "eer_real": 0.1},
        {"step": 10, "eer": 0.3, "eer_real": 0.2},
        {"step": 15, "eer": 0.35, "eer_real": 0.05},
    ]
    assert so_far(lines, "eer") == [0.4, 0.3, 0.3]
    assert so_far(lines, "eer_real") == [0.1, 0.2, 0.2]
    one = trial(0, [], validations=lines, best_step=10)
    assert one.score("eer_real") == 0.2
    diverged = trial(1, [], validations=lines, best_step=10, state="diverged")
    assert diverged.best is None and diverged.score("eer") == 1.0
    assert ranked([diverged, trial(2, [0.5, 0.4]), one, trial(3, [0.5])], "eer") == [one, trial(2, [0.5, 0.4])]


def test_records_are_kept(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    trials = search()
    for one in reversed(trials):
        write(out, one)
    assert read(out) == trials and find(out, 7) == trials[7] and find(out, 99) is None
    (folder_of(out, 3) / RECORD).write_bytes(b"{")
    with pytest.raises(UserError, match=r"0003/trial\.json is damaged"):
        read(out)


def test_what_trials_were_given_is_kept(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    assert started(out) == []
    write_given(out, 0, BASE, 0)
    write_given(out, 2, {"x": 0.1, "y": 0.2}, 4)
    assert started(out) == [BASE, None, {"x": 0.1, "y": 0.2}] and read_given(out, 2) == ({"x": 0.1, "y": 0.2}, 4)
    (folder_of(out, 2) / GIVEN).write_bytes(b"[]")
    with pytest.raises(UserError, match=r"0002/given\.json is damaged.*runs again"):
        started(out)


def training(folder: Path, steps: dict[int, float]) -> None:
    """What a training leaves that validated at these steps, with a checkpoint of each but the first."""
    lines = []
    for step, eer in steps.items():
        lines += [{"step": step, "loss": eer}, {"step": step, "eer": eer, "accuracy": 1 - eer}]
        if step:
            place = folder / "checkpoints" / f"step-{step:08d}"
            place.mkdir(parents=True)
            (place / "state.pt").write_text(f"{folder.name} {step}")
            (place / "done.json").write_text(json.dumps(lines[-1]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_a_stopped_trial_is_concluded_from_what_it_left(tmp_path: Path) -> None:
    training(tmp_path / "trials" / "0004", {0: 0.5, 2: 0.2, 4: 0.3})
    found = conclude(Location(str(tmp_path)), 4, BASE, "pruned", seconds=7.0)
    assert found == find(Location(str(tmp_path)), 4)
    assert (found.best_step, [one["step"] for one in found.validations]) == (2, [0, 2, 4])
    board = pd.read_csv(tmp_path / "trials" / "0004" / "leaderboard.csv")
    assert list(board["checkpoint"][:2]) == ["step-00000002", "step-00000004"]


def test_a_trial_goes_on_from_another_ones_checkpoint(tmp_path: Path) -> None:
    heir, parent = tmp_path / "heir", tmp_path / "parent"
    training(heir, {0: 0.5, 2: 0.4, 4: 0.45, 6: 0.44})
    training(parent, {0: 0.5, 2: 0.3, 4: 0.1})
    adopt(Location(str(heir)), Location(str(parent / "checkpoints" / "step-00000004")))
    left = {path.name: (path / "state.pt").read_text() for path in (heir / "checkpoints").iterdir()}
    assert left == {"step-00000002": "heir 2", "step-00000004": "parent 4"}
    lines = [json.loads(text) for text in (heir / "metrics.jsonl").read_text().splitlines()]
    assert [(one["step"], one["eer"]) for one in lines if "eer" in one] == [(0, 0.5), (2, 0.4), (4, 0.1)]

    before = (parent / "metrics.jsonl").read_text()
    adopt(Location(str(parent)), Location(str(parent / "checkpoints" / "step-00000004")))  # its own, after a pause
    assert (parent / "metrics.jsonl").read_text() == before


def test_the_tables_say_what_the_trials_say() -> None:
    trials = search()
    table = results.trials_table(trials, SPACE, "eer")
    frame = pd.read_csv(io.StringIO(results.to_csv(table)))
    assert list(frame["trial"]) == list(range(30)) and list(frame["x"]) == [one.values["x"] for one in trials]
    best = frame[frame["rank"] == 1].iloc[0]
    assert best["trial"] == ranked(trials, "eer")[0].number and best["eer"] == frame["eer"].min()
    assert set(frame[frame["pareto"]]["trial"]) == {one.number for one in pareto(trials)}
    assert frame[frame["state"] == "diverged"]["eer"].isna().all()
    lines = results.validations_table(trials)
    assert lines.num_rows == sum(len(one.validations) for one in trials)


def test_train_takes_best_yaml_as_it_is(tmp_path: Path) -> None:
    values = {"optimiser.learning_rate": 1.5e-5, "losses.weights": {"contrastive": 1.0}, "optimiser.name": "sgd"}
    config = replaced(TrainConfig(faces="f", pairs="p"), {**values, "out": "o"}, "")
    text = results.best_yaml(config, values, "Trial 3")
    (tmp_path / "best.yaml").write_text(text)
    assert from_yaml(TrainConfig, tmp_path / "best.yaml") == config
    assert text.startswith("# Trial 3\n#   optimiser.learning_rate: 1.5e-05\n")
    assert yaml.safe_load(text)["optimiser"]["learning_rate"] == 1.5e-5


def test_what_mattered() -> None:
    trials = search(60)
    shares = importances(trials, SPACE, "eer")
    assert list(shares) == ["x", "y"] and shares["x"] > 0.8 and sum(shares.values()) == pytest.approx(1)
    assert importances(trials, SPACE, "deepfake_accepted")["y"] > 0.8
    assert importances(trials[:5], SPACE, "eer") == {} and BASE["x"] == 0.9
