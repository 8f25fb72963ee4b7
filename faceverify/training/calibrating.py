"""From which score on the branch `detail` turns a photo away: real ones may be turned so much on average, no more."""

import numpy as np
import torch

from faceverify.models.detail import Detail, threshold_of
from faceverify.training.batches import GetImages
from faceverify.training.learner import Learner
from faceverify.training.material import Material
from faceverify.training.validation import look_at_rows
from faceverify.training.world import World


def calibrate(
    learner: Learner, material: Material, images: GetImages, mistaken: float, world: World
) -> dict[str, float]:
    """Set the branch's threshold d0 by the real faces of the validation pairs; all workers must ask.

    Args:
        learner: its network has the branch, or nothing happens.
        material: of the training.
        images: pictures of the faces.
        mistaken: share by which the real faces may be turned away on average; 0 = d0 stays as it is.
        world: the workers.

    Returns:
        detail_threshold: d0, if it was set.
    """
    branch = getattr(learner.network, "detail", None)
    rows = np.unique(np.concatenate([material.val.a, material.val.b]))
    rows = rows[~material.faces.is_fake[rows]]
    if not isinstance(branch, Detail) or not mistaken or not len(rows):
        return {}
    scores = look_at_rows(learner, rows, images, world, lambda x: branch.scores(x)[:, None])
    d0 = threshold_of(torch.from_numpy(scores), mistaken)
    branch.threshold.fill_(d0)
    return {"detail_threshold": d0}
