"""From which score on the branch `detail` turns a photo away: it may be wrong about so many real people, no more."""

import numpy as np

from faceverify.models.detail import Detail
from faceverify.training.batches import GetImages
from faceverify.training.learner import Learner
from faceverify.training.material import Material
from faceverify.training.validation import look_at_rows
from faceverify.training.world import World

ASIDE = 4.0  # logits above the median at least: a branch that knows little turns nobody, instead of everybody by half


def calibrate(
    learner: Learner, material: Material, images: GetImages, mistaken: float, world: World
) -> dict[str, float]:
    """Set the branch's threshold d0 by the real faces of the validation pairs; all workers must ask.

    Args:
        learner: its network has the branch, or nothing happens.
        material: of the training.
        images: pictures of the faces.
        mistaken: share of the real faces whose score may lie above d0; 0 = d0 stays as it is.
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
    d0 = max(float(np.quantile(scores, 1 - mistaken, method="higher")), float(np.median(scores)) + ASIDE)
    branch.threshold.fill_(d0)
    return {"detail_threshold": d0}
