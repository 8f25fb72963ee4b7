"""How many impostor and deepfake pairs each person gives, so that the whole is 50/25/25, or has more deepfakes."""

from dataclasses import dataclass

import numpy as np

from faceverify.pairs.chance import bits
from faceverify.pairs.people import People

_COIN, _SPARE = 1, 2  # streams of random numbers


@dataclass(frozen=True, eq=False)
class Quotas:
    """Pairs [P] each person gives, and what could be given at most."""

    genuine: np.ndarray
    impostor: np.ndarray
    deepfake: np.ndarray


def quotas(people: People, rebalance: bool, deepfakes_per_impostor: int = 1) -> Quotas:
    """Half of a person's genuine pairs for each other kind; odd halves are settled at random, evenly over a split.

    Args:
        people: whom to pair.
        rebalance: what a person cannot give (a person without fakes, say) is given by others of the split who can.
        deepfakes_per_impostor: so many times as many deepfake pairs in the split `train`.
    """
    genuine = people.genuine
    impostor, deepfake = genuine // 2, genuine // 2
    can_meet, can_fake = meetings(people), people.reals * people.fakes
    for split in range(len(people.splits)):
        members = np.flatnonzero(people.split == split)
        odd = members[genuine[members] % 2 == 1]
        odd = odd[np.argsort(bits(people.keys[odd], _COIN), kind="stable")]
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
    order = np.lexsort((bits(keys, _SPARE), extra - exact))
    order = order[spare[order] > extra[order]]
    extra[order[: missing - extra.sum()]] += 1
    return given + extra
