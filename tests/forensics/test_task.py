"""What the forensic network minimises, how it is judged, and that a training goes on where it was interrupted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from forensics.conftest import Patches
from forensics.test_batches import BLENDS, MIX

from faceverify.forensics.batches import ForensicBuilder
from faceverify.forensics.config import ForensicLossConfig, ForensicNetworkConfig, ForensicSteps, ForensicValidation
from faceverify.forensics.network import ForensicNetwork
from faceverify.forensics.task import ForensicLearner, ForensicObjective, ForensicTask, fresh_card
from faceverify.storage import Location
from faceverify.training.batches import BatchLoader
from faceverify.training.checkpoints import CheckpointManager
from faceverify.training.config import OptimiserConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.loop import Training
from faceverify.training.metrics_log import MetricsLog


def training(patches: Patches, out: Path, steps: int = 4) -> Training:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    context = DistributedContext.current()
    validation = ForensicValidation(every=2, photos=4)
    builder = ForensicBuilder(patches.material(), ForensicSteps(size=2, max_steps=steps), BLENDS, MIX)
    learner = ForensicLearner(ForensicNetwork(), ForensicObjective(ForensicLossConfig()), torch.float32)
    return Training(
        task=ForensicTask(learner, fresh_card(True), builder, patches.images(), validation, context),
        network=ForensicNetworkConfig(),
        optimiser=OptimiserConfig(learning_rate=1e-3),
        validation=validation,
        loader=BatchLoader(builder, patches.images()),
        context=context,
        checkpoints=CheckpointManager(Location(str(out)), validation.keep),
        log=MetricsLog(Location(str(out)), []),
        log_every=1,
    )


def test_the_objective_is_that_of_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    scores, fields = rng.normal(0, 2, 6), rng.normal(0, 2, (6, 16, 16))
    is_fake, share = np.array([0, 0, 0, 1, 1, 0.0]), rng.random((6, 16, 16))
    config = ForensicLossConfig(photo=2, fields=3, ranking=0.5)

    def entropy(score: float, target: float) -> float:
        p = 1 / (1 + np.exp(-score))
        return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)))

    photo = np.mean([entropy(s, t) for s, t in zip(scores, is_fake, strict=True)])
    of_fields = np.mean([entropy(s, t) for s, t in zip(fields.ravel(), share.ravel(), strict=True)])
    ranking = np.mean([np.log1p(np.exp(scores[i] - scores[3 + i])) for i in (0, 1)])  # the third is no fake
    given = (torch.tensor(value, dtype=torch.float32) for value in (scores, fields, is_fake, share))
    cost = ForensicObjective(config)(*given)
    assert float(cost.total) == pytest.approx(2 * photo + 3 * of_fields + 0.5 * ranking, rel=1e-5)
    want = {"photo": photo, "fields": of_fields, "ranking": ranking}
    assert {name: float(value) for name, value in cost.components.items()} == pytest.approx(want, rel=1e-5)


def test_without_any_fake_ranking_costs_nothing() -> None:
    nothing = torch.zeros(2), torch.zeros(2, 16, 16), torch.zeros(2), torch.zeros(2, 16, 16)
    assert float(ForensicObjective(ForensicLossConfig())(*nothing).components["ranking"]) == 0


def test_parts_of_a_batch_are_whole_pairs(patches: Patches, tmp_path: Path) -> None:
    job = training(patches, tmp_path)
    batch = job.task.tensors(next(job.loader.batches(0, 1)))
    parts = job.task.split(batch, 2)
    for name, value in batch.items():
        real, fake = value.chunk(2)
        for i, part in enumerate(parts):
            torch.testing.assert_close(part[name], torch.stack([real[i], fake[i]]))


def test_an_interrupted_training_ends_with_the_same_bytes(patches: Patches, tmp_path: Path) -> None:
    whole, first = training(patches, tmp_path / "whole"), training(patches, tmp_path / "two", steps=4)
    whole.run()
    first.should_continue = lambda validations: len(validations) < 2  # ends after step 2
    first.run()
    second = training(patches, tmp_path / "two")
    second.run()
    one, other = (job.task.learner.network.state_dict() for job in (whole, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [line["loss"] for line in whole.log.lines if "loss" in line] == [
        line["loss"] for line in second.log.lines if "loss" in line
    ]
    assert not torch.equal(one["score.weight"], training(patches, tmp_path / "x").task.learner.network.score.weight)


def test_validation_sees_people_who_are_not_learnt_from_alike_each_time(patches: Patches, tmp_path: Path) -> None:
    task = training(patches, tmp_path).task
    first, again = task.validate(), task.validate()
    assert first == again
    batch, generator = task._judged
    material = task.builder.material
    assert {*material.person[batch.rows]} <= {*material.person[material.val]}
    assert set(first["auc_by_generator"]) == {"given" if n < 0 else BLENDS[n].name for n in np.unique(generator)}
    scores, fake = task._scores(batch), batch.is_fake > 0
    wins = [float(f > r) + 0.5 * float(f == r) for f in scores[fake] for r in scores[~fake]]
    assert first["auc"] == pytest.approx(np.mean(wins))
