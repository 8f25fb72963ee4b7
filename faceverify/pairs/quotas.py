"""How many impostor and deepfake pairs each person gives, so that the shares are 50/25/25, or have more deepfakes."""

from dataclasses import dataclass

import numpy as np

from faceverify.pairs.chance import random_bits
from faceverify.pairs.people import People

_ODD_STREAM, _REMAINDER_STREAM = 1, 2  # of random numbers


@dataclass(frozen=True, eq=False)
class Quotas:
    """How many pairs of each kind each person gives, [P] int64 each."""

    genuine: np.ndarray
    impostor: np.ndarray
    deepfake: np.ndarray


def quotas(people: People, rebalance: bool, deepfakes_per_impostor: int = 1) -> Quotas:
    """Half of a person's genuine pairs for each other kind; odd halves are settled at random, evenly over a split.

    Args:
        people: whom to pair.
        rebalance: what a person cannot give (a person without fakes, say) is given by others of the split who can.
        deepfakes_per_impostor: factor by which the split `train` has more deepfake than impostor pairs.
    """
    genuine = people.genuine
    impostor, deepfake = genuine // 2, genuine // 2
    can_meet, can_fake = meetings(people), people.reals * people.fakes
    for split in range(len(people.splits)):
        members = np.flatnonzero(people.split == split)
        odd = members[genuine[members] % 2 == 1]
        odd = odd[np.argsort(random_bits(people.keys[odd], _ODD_STREAM), kind="stable")]
        half = len(odd) // 2
        impostor[odd[:half]] += 1
        deepfake[odd[half : 2 * half]] += 1
        deepfake[members] *= times(people.splits[split], deepfakes_per_impostor)
        for wanted, possible in ((impostor, can_meet), (deepfake, can_fake)):
            wanted[members] = _possible(wanted[members], possible[members], people.keys[members], rebalance)
    return Quotas(genuine, impostor, deepfake)


def times(split: str, deepfakes_per_impostor: int) -> int:
    """Deepfake pairs per impostor pair of a split: validation and test stay as they are, so that errors compare."""
    return deepfakes_per_impostor if split == "train" else 1


def meetings(people: People) -> np.ndarray:
    """How many impostor pairs each person can give, [P].

    A pair of photos could be drawn by either person; so that none comes twice, each belongs to one of the two. With
    ranks i, j of the photos, those with i + j even belong to the person who comes first, the others to the second.
    """
    possible = np.zeros(len(people.reals), np.int64)
    for split in range(len(people.splits)):
        members = np.flatnonzero(people.split == split)
        even, odd = (people.reals[members] + 1) // 2, people.reals[members] // 2
        before = np.stack([np.cumsum(even) - even, np.cumsum(odd) - odd])
        after = np.stack([even.sum() - before[0] - even, odd.sum() - before[1] - odd])
        possible[members] = even * after[0] + odd * after[1] + even * before[1] + odd * before[0]
    return possible


def _possible(wanted: np.ndarray, possible: np.ndarray, keys: np.ndarray, rebalance: bool) -> np.ndarray:
    """`wanted` cut to what is possible; what is cut away goes to the others in proportion to what they can spare."""
    given = np.minimum(wanted, possible)
    spare = possible - given
    missing = int(wanted.sum() - given.sum())
    if not rebalance or missing == 0:
        return given
    if spare.sum() <= missing:
        return possible
    exact = spare * (missing / spare.sum())
    extra = np.minimum(exact.astype(np.int64), spare)
    # Largest remainders first, then at random.
    order = np.lexsort((random_bits(keys, _REMAINDER_STREAM), extra - exact))
    order = order[spare[order] > extra[order]]
    extra[order[: missing - extra.sum()]] += 1
    return given + extra
