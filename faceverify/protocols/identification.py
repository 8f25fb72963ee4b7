"""1:N: each probe is searched for in a gallery that is read in blocks, so that it may be larger than memory.

IJB's 1:N is published in two forms, which give different numbers on the same data; they are kept apart by name:

    joined   insightface `ijb_1n.py` and AdaFace: both galleries as one. The threshold at a FAR is the k-th largest of
             all scores of a probe and an entry of another person, k = FAR x probes rounded up; a probe is found if the
             score of its own entry is above it, whatever its rank.
    apart    insightface `ijb_evals.py` and GhostFaceNets: each gallery by itself, probes of the other one not mated.
             The threshold at an FPIR comes from the best scores of the probes that are not mated; a probe is found if
             the score of its own entry is above it and above those of all others. Rates are the mean of both galleries,
             ranks count over all probes.

Scores are inner products in the type of the vectors. Equal scores count against the probe; scores within a few units of
rounding are equal, because a matrix product may round one and the same sum in two ways.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceverify.errors import UserError

RANKS = (1, 5, 10)
FPIRS = (0.01, 0.1)
_PROBES_AT_A_TIME = 2048
_ENTRIES_AT_A_TIME = 4096
_MATES_AT_A_TIME = 1 << 14
_ROUNDING = 8  # units of the last place


@dataclass(frozen=True, slots=True)
class Search:
    """What a search of all probes in a gallery found.

    Attributes:
        mates: entries of the probe's own person [P] int64.
        mate: the best score of these [P]; -inf without one.
        above: entries of other people that score as high or higher [P] int64; the best mate's rank is above + 1.
        other: the best score of an entry of another person [P]; -inf without one.
        highest: the largest of all scores with entries of other people, descending [up to `keep`].
    """

    mates: np.ndarray
    mate: np.ndarray
    above: np.ndarray
    other: np.ndarray
    highest: np.ndarray

    def rank_rate(self, rank: int) -> float:
        """Share of the probes with a mate whose mate is within the first `rank`; NaN if no probe has one."""
        mated = self.mates > 0
        return float((self.above[mated] < rank).mean()) if mated.any() else math.nan


@dataclass(frozen=True, slots=True)
class Found:
    """TPIR at one target.

    Attributes:
        target: the FAR or FPIR asked for.
        tpir: share of the mated probes that are found.
        thresholds: one for each gallery; a probe is found if its score is greater.
    """

    target: float
    tpir: float
    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Identification:
    """Results of one form.

    Attributes:
        form: joined or apart.
        ranks: rank -> share of the probes that have a mate with the mate within this rank.
        tpir: one for each target.
        mated: searches for a probe that has an entry.
        not_mated: searches for one that has none.
    """

    form: str
    ranks: dict[int, float]
    tpir: tuple[Found, ...]
    mated: int
    not_mated: int


def search(
    probes: np.ndarray, person: np.ndarray, gallery: np.ndarray, entry_person: np.ndarray, keep: int = 0
) -> Search:
    """Search all probes in a gallery, block by block; a million entries need no more memory than a few blocks.

    Args:
        probes: unit vectors [P,D].
        person: whom each shows [P], integers.
        gallery: unit vectors [G,D]; may be mapped from a file.
        entry_person: whom each entry shows [G], integers; -1 shows nobody who is searched for.
        keep: how many of the highest scores with other people to return.

    Raises:
        UserError: probes or gallery are empty, or differ in their length.
    """
    if not len(probes) or not len(gallery) or probes.shape[1] != gallery.shape[1]:
        raise UserError(
            f"gallery: vectors {list(gallery.shape)} cannot be searched for probes {list(probes.shape)}; "
            "neither may be empty, and both must come from one network."
        )
    kind = np.result_type(probes, gallery)
    probes = probes.astype(kind, copy=False)
    probe_at, entry_at = _mates(person, entry_person)
    mate = _mate_scores(probes, gallery, probe_at, entry_at)
    bar = mate - _ROUNDING * np.finfo(kind).eps  # the score from which an entry counts against the probe
    above = np.zeros(len(probes), np.int64)
    other = np.full(len(probes), -np.inf, kind)
    highest = _Highest(keep, kind)
    by_entry = np.argsort(entry_at, kind="stable")
    probe_at, entry_at = probe_at[by_entry], entry_at[by_entry]
    for start in range(0, len(gallery), _ENTRIES_AT_A_TIME):
        block = np.ascontiguousarray(gallery[start : start + _ENTRIES_AT_A_TIME].T, kind)
        low, high = np.searchsorted(entry_at, (start, start + block.shape[1]))
        own_probe, own_entry = probe_at[low:high], entry_at[low:high] - start
        for at in range(0, len(probes), _PROBES_AT_A_TIME):
            scores = probes[at : at + _PROBES_AT_A_TIME] @ block
            stop = at + len(scores)
            here = (own_probe >= at) & (own_probe < stop)
            scores[own_probe[here] - at, own_entry[here]] = -np.inf
            above[at:stop] += np.count_nonzero(scores >= bar[at:stop, None], axis=1)
            np.maximum(other[at:stop], scores.max(axis=1), out=other[at:stop])
            highest.add(scores)
    mates = np.bincount(probe_at, minlength=len(probes))
    return Search(mates, mate, np.where(mates > 0, above, len(gallery)), other, highest.sorted())


def joined(
    probes: np.ndarray,
    person: np.ndarray,
    gallery: np.ndarray,
    entry_person: np.ndarray,
    targets: Sequence[float] = FPIRS,
    ranks: Sequence[int] = RANKS,
) -> Identification:
    """The form `joined` (module docstring); arguments as of `search`, the gallery being all galleries together.

    Raises:
        UserError: a probe has no entry, or several; as `search`.
    """
    wanted = [math.ceil(len(probes) * target) for target in targets]
    found = search(probes, person, gallery, entry_person, keep=max(wanted, default=0))
    odd = np.flatnonzero(found.mates != 1)
    if odd.size:
        raise UserError(
            f"gallery: {odd.size:,} probes have not exactly one entry (person {int(person[odd[0]])} has "
            f"{int(found.mates[odd[0]])}), which the form 'joined' needs; use the form 'apart'."
        )
    rates = []
    for target, count in zip(targets, wanted, strict=True):
        threshold = float(found.highest[min(count, found.highest.size) - 1]) if found.highest.size else -math.inf
        rates.append(Found(target, float((found.mate > threshold).mean()), (threshold,)))
    return Identification("joined", {rank: found.rank_rate(rank) for rank in ranks}, tuple(rates), len(probes), 0)


def apart(
    probes: np.ndarray,
    person: np.ndarray,
    galleries: Sequence[tuple[np.ndarray, np.ndarray]],
    targets: Sequence[float] = FPIRS,
    ranks: Sequence[int] = RANKS,
) -> Identification:
    """The form `apart` (module docstring).

    Args:
        probes: unit vectors [P,D].
        person: whom each shows [P], integers.
        galleries: of each the unit vectors [G,D] and whom they show [G].
        targets: FPIRs.
        ranks: for `Identification.ranks`.

    Raises:
        UserError: all probes of a gallery are mated, or none; as `search`.
    """
    searches = [search(probes, person, *gallery) for gallery in galleries]
    each = [open_set(found, targets) for found in searches]
    mated = sum(int((found.mates > 0).sum()) for found in searches)
    share = {rank: sum(int((one.above[one.mates > 0] < rank).sum()) for one in searches) / mated for rank in ranks}
    rates = [
        Found(target, float(np.mean([rate.tpir for rate in same])), tuple(rate.thresholds[0] for rate in same))
        for target, *same in zip(targets, *each, strict=True)
    ]
    return Identification("apart", share, tuple(rates), mated, len(probes) * len(galleries) - mated)


def open_set(found: Search, targets: Sequence[float] = FPIRS) -> list[Found]:
    """TPIR in one gallery at thresholds from the probes that have no mate in it.

    Raises:
        UserError: all probes are mated, or none.
    """
    mated = found.mates > 0
    if mated.all() or not mated.any():
        raise UserError(
            f"gallery: {int(mated.sum()):,} of {mated.size:,} probes have an entry; an open set needs probes with and "
            "without one."
        )
    best = np.sort(found.other[~mated])[::-1]
    first = mated & (found.above == 0)
    rates = []
    for target in targets:
        threshold = float(best[max(int(best.size * target) - 1, 0)])
        rates.append(Found(target, float((found.mate[first] > threshold).sum() / mated.sum()), (threshold,)))
    return rates


def _mates(person: np.ndarray, entry_person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a probe and an entry of its person, by probe: their rows."""
    order = np.argsort(entry_person, kind="stable")
    ascending = np.asarray(entry_person)[order]
    low, high = (np.searchsorted(ascending, person, side=side) for side in ("left", "right"))
    count = np.where(np.asarray(person) < 0, 0, high - low)
    probe = np.repeat(np.arange(len(person)), count)
    within = np.arange(probe.size) - np.repeat(np.cumsum(count) - count, count)
    return probe, order[low[probe] + within]


def _mate_scores(probes: np.ndarray, gallery: np.ndarray, probe: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """The best score of each probe with its mates [P]; -inf without one."""
    best = np.full(len(probes), -np.inf, probes.dtype)
    for start in range(0, probe.size, _MATES_AT_A_TIME):
        some = slice(start, start + _MATES_AT_A_TIME)
        scores = np.einsum("md,md->m", probes[probe[some]], gallery[entry[some]], dtype=probes.dtype)
        np.maximum.at(best, probe[some], scores)
    return best


class _Highest:
    """The `keep` largest of scores that come in blocks."""

    def __init__(self, keep: int, kind: np.dtype) -> None:
        self._keep = keep
        self._held = np.empty(0, kind)
        self._bar = -np.inf

    def add(self, scores: np.ndarray) -> None:
        """Take a block into account."""
        if not self._keep:
            return
        self._held = np.concatenate([self._held, scores[scores > self._bar]])
        if self._held.size > self._keep:
            self._held = np.partition(self._held, self._held.size - self._keep)[-self._keep :]
            self._bar = self._held.min()

    def sorted(self) -> np.ndarray:
        """Descending."""
        return np.sort(self._held)[::-1]
