"""A training goes on as if it had not been interrupted, on any number of workers, and stops where it must."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training.conftest import Train
from training.small import BRANCH, Asked, Data, losses, make, worker

from faceverify.losses import LossWeights
from faceverify.models import checkpoints
from faceverify.training.batches import BatchLoader
from faceverify.training.checkpoints import load_state, read_network
from faceverify.training.config import BatchConfig, NetworkConfig, OptimiserConfig, ValidationConfig
from faceverify.training.loop import Diverged

EVERYTHING = LossWeights(adaptive_margin=1.0, adaface=0.1, distill=0.1, center=0.01)
AT_THE_END = ValidationConfig(every=1000, replicates=0)


class Killed(Exception):
    """Instead of a signal."""


@pytest.mark.parametrize("weights", [LossWeights(adaptive_margin=1.0), EVERYTHING])
@pytest.mark.parametrize("at", [4, 7])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    train: Train, data: Data, tmp_path: Path, at: int, weights: LossWeights
) -> None:
    whole = train(tmp_path / "whole", weights=weights)
    broken = make(data, tmp_path / "broken", Asked(weights=weights))

    def on_step(step: int, steps: int, line: dict[str, Any]) -> None:
        if step == at and "loss" in line:
            raise Killed

    broken.on_step = on_step
    with pytest.raises(Killed):
        broken.run()
    broken.checkpoints.wait()
    resumed = train(tmp_path / "broken", weights=weights)
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6) and len(losses(whole)) == 8
    assert [line["eer"] for line in resumed.log.validations] == [line["eer"] for line in whole.log.validations]
    one, other = (t.learner.state_dict() for t in (whole, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    assert [one.folder.name for one in resumed.checkpoints.complete()] == [
        one.folder.name for one in whole.checkpoints.complete()
    ]
    steps = [json.loads(line)["step"] for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()]
    assert [step for step in steps if step > 0] == sorted(steps[1:])


def test_it_learns(train: Train, tmp_path: Path) -> None:
    done = train(
        tmp_path / "out",
        batches=BatchConfig(size=8, epochs=50, max_steps=24),
        optimiser=OptimiserConfig(learning_rate=3e-3),
        validation=AT_THE_END,
    )
    assert np.mean(losses(done)[-8:]) < 0.8 * np.mean(losses(done)[:5])


@pytest.mark.thorough
def test_the_branch_learns_alone(train: Train, tmp_path: Path) -> None:
    batches = BatchConfig(size=16, epochs=50, max_steps=36)
    quickly = OptimiserConfig(learning_rate=3e-3)
    done = train(tmp_path / "out", batches=batches, optimiser=quickly, validation=AT_THE_END, **BRANCH)
    assert np.mean(losses(done)[-8:]) < 0.8 * np.mean(losses(done)[:5])
    torch.manual_seed(0)
    before, after = checkpoints.build("tiny_detail", 32).state_dict(), done.learner.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("detail.") for name in changed)


def test_batches_of_identities(train: Train, tmp_path: Path) -> None:
    batches = BatchConfig(kind="identities", size=8, epochs=10, max_steps=20)
    done = train(tmp_path / "out", batches=batches, weights=LossWeights(arcface=1.0), validation=AT_THE_END)
    assert np.mean(losses(done)[-5:]) < np.mean(losses(done)[:5])


def test_the_best_and_the_last_are_kept(train: Train, tmp_path: Path) -> None:
    done = train(
        tmp_path / "out",
        batches=BatchConfig(size=8, epochs=50, max_steps=24),
        validation=ValidationConfig(every=3, keep=1, replicates=20),
    )
    rows = [line.split(",") for line in (tmp_path / "out" / "leaderboard.csv").read_text().splitlines()]
    assert rows[0][:4] == ["checkpoint", "step", "epoch", "eer"] and len(rows) == 1 + 9
    assert [float(row[3]) for row in rows[1:]] == sorted(float(row[3]) for row in rows[1:])
    kept = {one.step for one in done.checkpoints.complete()}
    judged = [line for line in done.log.validations if line["step"]]
    best = min(judged, key=lambda line: (line["eer"], line["step"]))
    accurate = min(judged, key=lambda line: (-line["accuracy"], line["step"]))
    assert kept == {best["step"], accurate["step"], 24}
    assert {int(row[1]) for row in rows[1:] if row[0]} == kept
    network, card = read_network(done.checkpoints.complete()[-1].folder)
    assert card.dim == 32 and not network.training


def test_a_half_written_checkpoint_does_not_count(train: Train, tmp_path: Path) -> None:
    whole = train(tmp_path / "out")
    last = whole.checkpoints.complete()[-1]
    (Path(last.folder.path) / "done.json").unlink()
    resumed = train(tmp_path / "out")
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6)
    state = load_state(resumed.checkpoints.complete()[-1].folder)
    assert state["step"] == 8 and set(state) == {"step", "optimiser", "schedule", "scaler", "objective"}


def test_a_disk_that_fills_up_stops_the_run_and_spoils_nothing(train: Train, data: Data, tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoints" / "step-00000006" / "model.safetensors").mkdir(parents=True)  # cannot be written
    with pytest.raises(OSError):
        train(tmp_path / "out")
    assert [one.step for one in make(data, tmp_path / "out", Asked()).checkpoints.complete()] == [3]
    (tmp_path / "out" / "checkpoints" / "step-00000006" / "model.safetensors").rmdir()
    assert losses(train(tmp_path / "out")) == pytest.approx(losses(train(tmp_path / "whole")), abs=1e-6)


def test_a_loss_that_is_no_number_stops_before_the_weights_are_spoilt(data: Data, tmp_path: Path) -> None:
    training = make(data, tmp_path / "out", Asked())

    def on_step(step: int, steps: int, line: dict[str, Any]) -> None:
        if step == 5 and "loss" in line:
            with torch.no_grad():
                training.learner.network.output_layer[3].bias.fill_(float("nan"))

    training.on_step = on_step
    with pytest.raises(Diverged, match=r"the loss of step 6 is nan .* at learning rate 0\.001; its .* photos"):
        training.run()
    line = json.loads((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()[-1])
    expected = next(training.loader.batches(5, 6))
    names = training.material.faces.photos.to_pylist()
    assert line["step"] == 6 and set(line["photos"]) == {names[row] for row in expected.rows}
    assert training.checkpoints.complete()[-1].step == 3
    assert torch.isfinite(read_network(training.checkpoints.complete()[-1].folder)[0].output_layer[3].bias).all()


def test_it_stops_when_nothing_gets_better(train: Train, tmp_path: Path) -> None:
    done = train(
        tmp_path / "out",
        batches=BatchConfig(size=8, epochs=50, max_steps=60),
        optimiser=OptimiserConfig(learning_rate=0.0),
        network=NetworkConfig(bn="frozen"),
        validation=ValidationConfig(every=2, stop_after=3, replicates=0),
    )
    assert done.log.lines[-1]["step"] == 8  # the first of them sets the mark


# -- several workers ---------------------------------------------------------------------------------------------------


def run_workers(size: int, data: Data, home: Path, branch: bool = False) -> None:
    context = multiprocessing.get_context("spawn")
    given = (str(data.faces), str(data.pairs), str(home), branch)
    workers = [context.Process(target=worker, args=(rank, size, *given)) for rank in range(size)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(120)
    assert [process.exitcode for process in workers] == [0] * size


def test_two_workers_give_the_gradient_and_the_losses_of_one(data: Data, tmp_path: Path) -> None:
    found = {}
    for size in (1, 2):
        home = tmp_path / str(size)
        home.mkdir()
        run_workers(size, data, home)
        lines = [json.loads(line) for line in (home / "out" / "metrics.jsonl").read_text().splitlines()]
        found[size] = (torch.load(home / "gradient.pt", weights_only=True), lines)
    one, two = found[1][0], found[2][0]
    assert torch.allclose(one, two, atol=1e-5 * float(one.abs().max()), rtol=0)
    # Dropout differs by worker, and so the later losses do a little; what they are measured on is the same.
    assert [line["step"] for line in found[1][1]] == [line["step"] for line in found[2][1]]
    assert found[1][1][0]["eer"] == pytest.approx(found[2][1][0]["eer"], abs=1e-9)


def test_two_workers_teach_the_branch_alone(data: Data, tmp_path: Path) -> None:
    """What the loss leaves out of the network must not keep the workers waiting for each other."""
    run_workers(2, data, tmp_path, branch=True)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))


def test_another_number_of_workers_goes_on_from_the_same_sample(data: Data, tmp_path: Path) -> None:
    home = tmp_path / "run"
    home.mkdir()
    first = make(
        data, home / "out", Asked(network=NetworkConfig(bn="frozen"), batches=BatchConfig(size=8, max_steps=3))
    )
    first.run()
    run_workers(2, data, home)
    lines = [json.loads(line) for line in (home / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
    whole = next(first.loader.batches(3, 4))
    parts = [next(BatchLoader(first.builder, first.images, rank, 2).batches(3, 4)) for rank in range(2)]
    assert np.array_equal(np.concatenate([part.label for part in parts]), whole.label)
    assert np.array_equal(np.concatenate([part.faces[:4] for part in parts]), whole.faces[:8])


def test_the_original_network_sees_real_faces_only(data: Data, tmp_path: Path) -> None:
    training = make(data, tmp_path, Asked(weights=LossWeights(adaptive_margin=1.0, distill=0.1)))
    assert training.original is not None
    seen: list[int] = []
    training.original.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    real = [int((~batch.is_fake).sum()) for batch in training.loader.batches(0, 8)]
    training.run()
    assert seen == real and min(real) < 16
