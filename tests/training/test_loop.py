"""A training goes on as if it had not been interrupted, on any number of workers, and stops where it must."""

import json
import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training.conftest import Train
from training.small import (
    BRANCH,
    FROZEN,
    Asked,
    Data,
    first_gradient,
    losses,
    make,
    raise_loss,
    worker,
)

from faceverify.losses import LossWeights
from faceverify.models import checkpoints
from faceverify.training import loop
from faceverify.training.batches import BatchLoader
from faceverify.training.checkpoints import load_state, read_network
from faceverify.training.config import BatchConfig, OptimiserConfig, ValidationConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.loop import Diverged, Training

EVERYTHING = LossWeights(adaptive_margin=1.0, adaface=0.1, distill=0.1, center=0.01)
AT_THE_END = ValidationConfig(every=1000, replicates=0)


class Killed(Exception):
    """Instead of a signal."""


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def whole_run(data: Data, home: Path, weights: LossWeights) -> tuple[Training, list[int]]:
    """A training that nobody disturbs, and how many faces its original network saw in each step."""
    training, seen = make(data, home / "whole", Asked(weights=weights)), list[int]()
    if training.task.original is not None:
        training.task.original.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    training.run()
    return training, seen


@pytest.fixture(scope="module")
def whole(data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, list[int]]:
    return whole_run(data, tmp_path_factory.mktemp("whole"), EVERYTHING)


def check_interrupted(train: Train, data: Data, home: Path, at: int, whole: Training, weights: LossWeights) -> None:
    broken = make(data, home / "broken", Asked(weights=weights))

    def on_step(step: int, steps: int, line: dict[str, Any]) -> None:
        if step == at and "loss" in line:
            raise Killed

    broken.on_step = on_step
    with pytest.raises(Killed):
        broken.run()
    broken.checkpoints.wait()
    resumed = train(home / "broken", weights=weights)
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6) and len(losses(whole)) == 8
    assert [line["eer"] for line in resumed.log.validations] == [line["eer"] for line in whole.log.validations]
    one, other = (t.task.learner.state_dict() for t in (whole, resumed))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
    kept = [[one.step for one in t.checkpoints.complete()] for t in (whole, resumed)]
    assert kept[0] == kept[1]
    steps = [line["step"] for line in lines_of(home / "broken")]
    assert [step for step in steps if step > 0] == sorted(steps[1:])


@pytest.mark.parametrize("at", [4, 7])
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    train: Train, data: Data, tmp_path: Path, at: int, whole: tuple[Training, list[int]]
) -> None:
    check_interrupted(train, data, tmp_path, at, whole[0], EVERYTHING)


@pytest.mark.thorough
@pytest.mark.parametrize("at", [4, 7])
def test_an_interrupted_training_of_pairs_alone(train: Train, data: Data, tmp_path: Path, at: int) -> None:
    weights = LossWeights(adaptive_margin=1.0)
    check_interrupted(train, data, tmp_path, at, whole_run(data, tmp_path, weights)[0], weights)


def test_the_original_network_sees_real_faces_only(whole: tuple[Training, list[int]]) -> None:
    training, seen = whole
    real = [int((~batch.is_fake).sum()) for batch in training.loader.batches(0, 8)]
    assert seen == real and min(real) < 16


def test_it_learns_and_keeps_the_best_and_the_last(train: Train, tmp_path: Path) -> None:
    done = train(
        tmp_path / "out",
        batches=BatchConfig(size=8, epochs=50, max_steps=24),
        optimiser=OptimiserConfig(learning_rate=3e-3),
        validation=ValidationConfig(every=3, keep=1, replicates=20),
    )
    assert np.mean(losses(done)[-8:]) < 0.8 * np.mean(losses(done)[:5])
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


@pytest.mark.thorough
def test_the_branch_learns_alone(train: Train, tmp_path: Path) -> None:
    batches = BatchConfig(size=16, epochs=50, max_steps=36)
    quickly = OptimiserConfig(learning_rate=3e-3)
    done = train(tmp_path / "out", batches=batches, optimiser=quickly, validation=AT_THE_END, **BRANCH)
    assert np.mean(losses(done)[-8:]) < 0.8 * np.mean(losses(done)[:5])
    torch.manual_seed(0)
    before, after = checkpoints.build("tiny_detail", 32).state_dict(), done.task.learner.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("detail.") for name in changed)


def test_batches_of_identities(train: Train, tmp_path: Path) -> None:
    batches = BatchConfig(kind="identities", size=8, epochs=10, max_steps=14)
    done = train(tmp_path / "out", batches=batches, weights=LossWeights(arcface=1.0), validation=AT_THE_END)
    assert np.mean(losses(done)[-5:]) < np.mean(losses(done)[:5])


def test_a_half_written_checkpoint_does_not_count(
    train: Train, tmp_path: Path, whole: tuple[Training, list[int]]
) -> None:
    last = whole[0].checkpoints.complete()[-1].folder
    shutil.copytree(Path(last.path).parent.parent, tmp_path / "out")
    (tmp_path / "out" / "checkpoints" / last.name / "done.json").unlink()
    resumed = train(tmp_path / "out", weights=EVERYTHING)
    assert losses(resumed) == pytest.approx(losses(whole[0]), abs=1e-6)
    state = load_state(resumed.checkpoints.complete()[-1].folder)
    assert state["step"] == 8 and set(state) == {"step", "optimiser", "schedule", "scaler", "objective"}


def test_a_disk_that_fills_up_stops_the_run_and_spoils_nothing(
    train: Train, data: Data, tmp_path: Path, whole: tuple[Training, list[int]]
) -> None:
    file = tmp_path / "out" / "checkpoints" / "step-00000006" / "model.safetensors"
    file.mkdir(parents=True)  # cannot be written
    with pytest.raises(OSError):
        train(tmp_path / "out", weights=EVERYTHING)
    assert [one.step for one in make(data, tmp_path / "out", Asked()).checkpoints.complete()] == [3]
    file.rmdir()
    assert losses(train(tmp_path / "out", weights=EVERYTHING)) == pytest.approx(losses(whole[0]), abs=1e-6)


def test_metrics_and_checkpoints_are_reported(data: Data, tmp_path: Path) -> None:
    asked = FROZEN.of(validation=ValidationConfig(every=3, checkpoint_every=2, replicates=0))
    training, reported = make(data, tmp_path, asked), list[Any]()

    def on_checkpoint(metrics: dict[str, Any], checkpoint: Any) -> None:
        if checkpoint is not None:
            checkpoint.written.result()
            assert (Path(checkpoint.folder.path) / "done.json").exists()
        reported.append((metrics["step"], metrics.get("eer"), checkpoint and checkpoint.folder.name))

    training.on_checkpoint = on_checkpoint
    training.run()
    eer = {line["step"]: line["eer"] for line in training.log.validations}
    named = {step: f"step-{step:08d}" for step in (2, 3, 4, 5)}
    assert reported == [(0, eer[0], None), *((step, eer.get(step), name) for step, name in named.items())]


# -- a loss that is not finite -----------------------------------------------------------------------------------------


def test_a_network_that_is_no_number_stops_the_run(data: Data, tmp_path: Path) -> None:
    training = make(data, tmp_path / "out", Asked())

    def on_step(step: int, steps: int, line: dict[str, Any]) -> None:
        if step == 5 and "loss" in line:
            with torch.no_grad():
                training.task.learner.network.output_layer[3].bias.fill_(float("nan"))

    training.on_step = on_step
    with pytest.raises(Diverged, match=r"the loss of step 6 is nan .* at learning rate 0\.001; its .* photos"):
        training.run()
    line = lines_of(tmp_path / "out")[-1]
    expected = next(training.loader.batches(5, 6))
    names = training.task.material.faces.photos.to_pylist()
    assert line["step"] == 6 and set(line["photos"]) == {names[row] for row in expected.rows}
    assert training.checkpoints.complete()[-1].step == 3
    assert torch.isfinite(read_network(training.checkpoints.complete()[-1].folder)[0].output_layer[3].bias).all()


@pytest.mark.parametrize("optimiser", ["plain", "adamw", "sgd"])
def test_a_loss_that_is_not_finite_changes_no_weight(
    data: Data, tmp_path: Path, optimiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of this loss is finite. A fused optimiser, as on GPUs, is stopped without being asked each step."""
    if optimiser != "plain":
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimiser]
        build = lambda network, *_: kind([{"params": [*network.parameters()], "base": 1e-3}], lr=1e-3, fused=True)  # noqa: E731
        monkeypatch.setattr(loop, "build_optimiser", build)
    training = make(data, tmp_path, FROZEN)
    training.log_every = 1
    raise_loss(training, at=3)
    before: dict[str, torch.Tensor] = {}

    def on_step(step: int, steps: int, line: dict[str, Any]) -> None:
        if step == 2:
            before.update({name: p.detach().clone() for name, p in training.task.learner.named_parameters()})
            training.log_every = 1000

    training.on_step = on_step
    with pytest.raises(Diverged, match=r"the loss of step 3 is inf .* at learning rate 0\.001"):
        training.run()
    assert before and all(torch.equal(p, before[name]) for name, p in training.task.learner.named_parameters())


def test_losses_are_read_only_when_they_are_logged(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Training, list[int]]
) -> None:
    training, read, mean = make(data, tmp_path, Asked(weights=EVERYTHING)), [], DistributedContext.all_reduce_mean
    monkeypatch.setattr(
        DistributedContext, "all_reduce_mean", lambda context, values: read.append(len(values)) or mean(context, values)
    )
    training.log_every = 2
    training.run()
    assert read == [1, 1, 1, 1, 2, 2]  # the steps 1, 2, 3 (of a validation), 4, 5 and 6, 7 and 8
    every = {line["step"]: line["loss"] for line in whole[0].log.lines if "loss" in line}
    told = {line["step"]: line["loss"] for line in training.log.lines if "loss" in line}
    assert told == {step: every[step] for step in (1, 2, 4, 6, 8)}


def test_it_stops_when_nothing_gets_better(train: Train, tmp_path: Path) -> None:
    done = train(
        tmp_path / "out",
        batches=BatchConfig(size=8, epochs=50, max_steps=60),
        optimiser=OptimiserConfig(learning_rate=0.0),
        network=FROZEN.network,
        validation=ValidationConfig(every=2, stop_after=3, replicates=0),
    )
    assert done.log.lines[-1]["step"] == 8  # the first of them sets the mark


# -- several workers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have done all that `worker` does."""
    home = tmp_path_factory.mktemp("two")
    make(data, home / "resumed", FROZEN.of(batches=BatchConfig(size=8, max_steps=2))).run()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=worker, args=(rank, 2, str(data.faces), str(data.pairs), str(home))) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return home


def test_two_workers_give_the_gradient_and_the_losses_of_one(data: Data, two_workers: Path, tmp_path: Path) -> None:
    one = make(data, tmp_path, FROZEN)
    gradient, expected = torch.load(two_workers / "gradient.pt", weights_only=True), first_gradient(one)
    assert torch.allclose(gradient, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    make(data, tmp_path, FROZEN).run()
    # Dropout differs by worker, and so the later losses do a little; what they are measured on is the same.
    single, double = lines_of(tmp_path), lines_of(two_workers / "out")
    assert [line["step"] for line in single] == [line["step"] for line in double]
    assert single[0]["eer"] == pytest.approx(double[0]["eer"], abs=1e-9)


def test_two_workers_teach_the_branch_alone(two_workers: Path) -> None:
    """What the loss leaves out of the network must not keep the workers waiting for each other."""
    told = [line["step"] for line in lines_of(two_workers / "branch") if "loss" in line]
    assert told == list(range(1, 6))


def test_another_number_of_workers_goes_on_from_the_same_sample(data: Data, two_workers: Path, tmp_path: Path) -> None:
    told = [line["step"] for line in lines_of(two_workers / "resumed") if "loss" in line]
    assert told == list(range(1, 6))
    first = make(data, tmp_path, FROZEN)
    whole = next(first.loader.batches(2, 3))
    parts = [next(BatchLoader(first.task.builder, first.task.images, rank, 2).batches(2, 3)) for rank in range(2)]
    assert np.array_equal(np.concatenate([part.label for part in parts]), whole.label)
    assert np.array_equal(np.concatenate([part.faces[:4] for part in parts]), whole.faces[:8])


def test_a_bad_loss_of_one_worker_ends_both_before_a_weight_changes(two_workers: Path) -> None:
    ends = [json.loads((two_workers / f"diverged{rank}.json").read_text()) for rank in range(2)]
    assert ends[0] == ends[1] and ends[0]["unchanged"]
    assert ends[0]["sentence"].startswith("the loss of step 3 is inf")
    assert lines_of(two_workers / "diverged")[-1]["step"] == 3
