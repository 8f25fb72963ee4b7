"""The branch `detail` turns real validation faces away by no more than it may."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training import small

from faceverify.errors import UserError
from faceverify.models.detail import share_of
from faceverify.training.batches import decode_face
from faceverify.training.config import ValidationConfig
from faceverify.training.loop import Training
from faceverify.training.validation import calibrate_threshold


def scored(job: Training, spread: float) -> np.ndarray:
    """Let scores differ by so many logits from face to face; return those of the real validation faces."""
    branch, material = job.task.learner.network.detail, job.task.builder.material
    with torch.no_grad():
        branch.score.weight.mul_(spread)
    rows = np.unique(np.concatenate([material.val.a, material.val.b]))
    rows = rows[~material.faces.is_fake[rows]]
    faces = torch.from_numpy(np.stack([decode_face(image) for image in job.task.images(rows)]))
    job.task.learner.eval()
    with torch.inference_mode():
        x = ((faces.permute(0, 3, 1, 2).float()) - 127.5) / 127.5
        return branch.scores(x).numpy()


@pytest.mark.parametrize("mistaken", [0.01, 0.3])
def test_real_faces_are_turned_so_much_on_average(data: small.Data, tmp_path: Path, mistaken: float) -> None:
    job = small.make(data, tmp_path, small.Asked(**small.BRANCH))
    scores = scored(job, 1e4)
    found = calibrate_threshold(job.task.learner, job.task.builder.material, job.task.images, mistaken, job.context)
    d0 = float(job.task.learner.network.detail.threshold)
    assert found == {"detail_threshold": pytest.approx(d0)}
    assert share_of(torch.from_numpy(scores), d0).mean().item() == pytest.approx(mistaken, rel=1e-3)


def test_a_branch_that_knows_nothing_turns_nobody(data: small.Data, tmp_path: Path) -> None:
    job = small.make(data, tmp_path, small.Asked(**small.BRANCH))
    scores = scored(job, 1.0)
    calibrate_threshold(job.task.learner, job.task.builder.material, job.task.images, 0.01, job.context)
    assert share_of(torch.from_numpy(scores), job.task.learner.network.detail.threshold).max() < 0.02


def test_what_has_no_branch_or_is_not_asked_stays(data: small.Data, tmp_path: Path) -> None:
    plain = small.make(data, tmp_path / "plain", small.Asked())
    assert (
        calibrate_threshold(plain.task.learner, plain.task.builder.material, plain.task.images, 0.1, plain.context)
        == {}
    )
    job = small.make(data, tmp_path / "branch", small.Asked(**small.BRANCH))
    assert calibrate_threshold(job.task.learner, job.task.builder.material, job.task.images, 0.0, job.context) == {}
    assert float(job.task.learner.network.detail.threshold) == 5.0
    with pytest.raises(UserError, match=r"validation\.mistaken is 1"):
        ValidationConfig(mistaken=1)


def test_a_training_tells_and_keeps_it(data: small.Data, tmp_path: Path) -> None:
    asked = small.Asked(**small.BRANCH)
    job = small.make(
        data, tmp_path, asked.of(batches=small.FROZEN.batches, validation=replace(asked.validation, mistaken=0.1))
    )
    job.run()
    told = [line["detail_threshold"] for line in job.log.validations]
    assert len(told) == 3 and told[-1] == pytest.approx(float(job.task.learner.network.detail.threshold))
