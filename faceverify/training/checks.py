"""What is wrong with the data of a training, found before anything starts."""

import numpy as np

from faceverify.errors import UserError
from faceverify.pairs.rows import KINDS
from faceverify.training.material import Faces, Material, Pairs
from faceverify.wording import count_of

GENUINE = KINDS.index("genuine")
LACKS_OTHERS = (
    "learning needs others too: two people in the split, or deepfakes of one (form the pairs of more people, with a "
    "larger --validation-share, or of the output of fakes)"
)
LACKS_GENUINE = "learning needs both kinds: form the pairs of people with two real photos or more"


def choose(splits: dict[str, Pairs], faces: Faces, identities: bool) -> Material:
    """Bring together what is trained with and what is validated with, and check it.

    Args:
        splits: the pairs by split.
        faces: all faces.
        identities: batches of identities: no pairs are trained with.

    Raises:
        UserError: a split is missing or of one label, a person is in both, or there are too few persons to tell apart.
    """
    for name in ("val",) if identities else ("train", "val"):
        if name not in splits:
            raise UserError(
                f"pairs: no pair is of the split '{name}' (there are {', '.join(sorted(splits)) or 'none'}), and "
                "training needs train and val; `pairs` divides people whose photos name no split, if there are two or "
                "more, by --validation-share (above 0, below 1)."
            )
    for name in ("train", "val"):
        if name in splits and not (identities and name == "train"):
            _two_labels(name, splits[name])
    material = Material(faces, splits.get("train"), splits["val"])
    _disjoint(material)
    if identities and len(np.unique(faces.person[material.taught])) < 2:
        raise UserError("faces: fewer than two persons to train with have real faces; there is nobody to tell apart.")
    return material


def _two_labels(name: str, pairs: Pairs) -> None:
    count = np.bincount(pairs.label, minlength=2)
    if len(pairs) and (count[0] == 0 or count[1] == 0):
        only, lacks = ("genuine", LACKS_OTHERS) if count[1] else ("not genuine", LACKS_GENUINE)
        raise UserError(f"pairs: all {len(pairs):,} pairs of the split '{name}' are {only}; {lacks}.")
    if not len(pairs):
        raise UserError(f"pairs: the split '{name}' is empty.")


def _disjoint(material: Material) -> None:
    faces = material.faces
    learnt = material.taught if material.train is None else np.concatenate([material.train.a, material.train.b])
    judged = np.concatenate([material.val.a, material.val.b])
    both = np.intersect1d(faces.person[learnt], faces.person[judged])
    both = both[both >= 0]
    if len(both):
        raise UserError(
            f"pairs: {count_of(len(both), 'person', 'people')} in both train and val, '{faces.persons[both[0]]}' for "
            "one; a person whom the network has seen says nothing about strangers."
        )


def sample(pairs: Pairs, most: int, seed: int) -> Pairs:
    """At most `most` pairs at random (0 = all), every kind in its share, in their order."""
    if most == 0 or len(pairs) <= most:
        return pairs
    rng = np.random.default_rng([seed, len(pairs)])
    chosen = []
    for kind in range(len(KINDS)):
        of_kind = np.flatnonzero(pairs.kind == kind)
        chosen.append(rng.permutation(of_kind)[: round(most * len(of_kind) / len(pairs))])
    return pairs.take(np.sort(np.concatenate(chosen)))
