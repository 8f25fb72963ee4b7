"""The thresholds of cleaning: from the data's own cosines, or from a threshold given by the user.

A tenth of the labels may be wrong, so neither kind of pair is pure: of the pairs within a person many are strangers,
and among the pairs of two people the highest cosines are one person's under two names. What stays untouched by that is
the bulk of the cosines across people. It is close to a normal distribution, so its median and its 95th percentile give
its spread, and the tail that the errors hide is computed from them.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from faceverify.errors import UserError

LINK_FMR = 1e-3  # share of pairs of strangers' photos that may be linked; the mean of the component corrects it
WEAK_FMR = 1e-2
NEAR_DUPLICATE = 0.95  # 1,642 LFW photos, two networks: no two shots reach it, most re-encoded copies do
BINS = 2000  # of the histograms in use; the manifest shows every ten of them as one
MIN_PAIRS = 1000  # across people, below which their spread is not to be trusted
CHANCE_SHARE = 0.99  # share of clear photos that are further from every other person than the chance level
MIN_CLEAR = 50  # clear photos, below which the chance level is not to be trusted
_BLOCK = 1024
_Z = NormalDist().inv_cdf


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a run, all of them cosines.

    link: two photos of a person at or above it are linked, and a photo is like a mean at or above it;
    weak: below it a photo is not like its person at all; between, it is doubtful;
    margin: by so much another person must be nearer than the own (one standard deviation of strangers' cosines);
    claim: what another person's mean must reach to claim a photo; infinite until `chance_level` has measured it.
    """

    link: float
    weak: float
    margin: float
    claim: float = math.inf


@dataclass(frozen=True)
class Calibration:
    """Thresholds with the evidence for them: counts [BINS] of cosines from -1 to 1, within and across people."""

    thresholds: Thresholds
    within: np.ndarray
    across: np.ndarray
    explanation: str

    def manifest(self) -> dict[str, Any]:
        """For the manifest: the thresholds, how they were chosen, and both histograms in bins of 0.01."""
        histograms = {"within_person": self.within, "across_people": self.across}
        coarse = {name: counts.reshape(-1, 10).sum(axis=1).tolist() for name, counts in histograms.items()}
        shown = {"bins_from": -1.0, "bins_to": 1.0, **coarse}
        chosen = {name: getattr(self.thresholds, name) for name in ("link", "weak", "margin")}
        return {**chosen, "explanation": self.explanation, "histogram": shown}


def calibrate(units: np.ndarray, person: np.ndarray, given: float | None) -> Calibration:
    """Choose the thresholds `link`, `weak` and `margin`.

    Args:
        units: [S, D] float32, unit vectors of all real photos of a sample of people.
        person: [S] int, numbers of people.
        given: the user's threshold, which becomes `link`; None = chosen.

    Raises:
        UserError: nothing was given, and there are too few pairs across people to choose from.
    """
    within, across = _histograms(units, person)
    median, spread = _bulk(across) if across.sum() >= MIN_PAIRS else (0.0, 1 / np.sqrt(max(units.shape[1], 1)))
    if given is None and across.sum() < MIN_PAIRS:
        raise UserError(
            f"threshold: {int(across.sum())} pairs of photos across people are too few to choose one from (at least "
            f"{MIN_PAIRS}); give --threshold."
        )
    # Cosines that crowd at 1, those of a network that tells people badly apart, fall off faster than the normal tail.
    tail = min(median + _Z(1 - LINK_FMR) * spread, quantile(across, 1 - LINK_FMR))
    link = tail if given is None else given
    weak = link - (_Z(1 - LINK_FMR) - _Z(1 - WEAK_FMR)) * spread
    thresholds = Thresholds(float(link), float(weak), float(spread))
    return Calibration(thresholds, within, across, _explain(thresholds, within, across, median, given))


def chance_level(nearest: np.ndarray, link: float) -> float:
    """The cosine to another person's mean that clear photos of other people hardly ever reach by chance.

    It grows with the number of people searched and depends on the network, so it is measured.

    Args:
        nearest: [S] cosine of a sample of clearly labelled photos to the nearest other person.
        link: the least that is returned.
    """
    known = nearest[np.isfinite(nearest)]
    return max(link, float(np.quantile(known, CHANCE_SHARE))) if len(known) >= MIN_CLEAR else link


def _histograms(units: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of cosines of all pairs within, and across people; a block of rows at a time."""
    counts = np.zeros((2, BINS), np.int64)
    for at in range(0, len(units), _BLOCK):
        cosine = units[at : at + _BLOCK] @ units[at:].T
        other = person[at : at + _BLOCK, None] != person[None, at:]
        upper = np.arange(cosine.shape[1])[None, :] > np.arange(cosine.shape[0])[:, None]
        for kind, chosen in enumerate((~other & upper, other & upper)):
            place = ((cosine[chosen] + 1) * (BINS / 2)).astype(np.int64).clip(0, BINS - 1)
            counts[kind] += np.bincount(place, minlength=BINS)
    return counts[0], counts[1]


def _bulk(counts: np.ndarray) -> tuple[float, float]:
    """Median and standard deviation of the normal distribution behind a histogram, by median and 95th percentile."""
    median, high = (quantile(counts, share) for share in (0.5, 0.95))
    return median, max((high - median) / _Z(0.95), 2 / BINS)


def quantile(counts: np.ndarray, share: float) -> float:
    """The cosine below which `share` of a histogram from -1 to 1 lies; linear within a bin."""
    edges = np.linspace(-1, 1, len(counts) + 1)
    return float(np.interp(share * counts.sum(), np.r_[0, np.cumsum(counts)], edges))


def _explain(thresholds: Thresholds, within: np.ndarray, across: np.ndarray, median: float, given: float | None) -> str:
    share = within[int((thresholds.link + 1) * BINS / 2) :].sum() / max(within.sum(), 1)
    seen = (
        f"{within.sum():,} pairs within people, {share:.1%} of them at or above it; across people {across.sum():,} "
        f"pairs, median {median:.3f}, standard deviation {thresholds.margin:.3f} by the 95th percentile"
    )
    if given is not None:
        return f"threshold {thresholds.link:.3f} as given; {seen}."
    return f"threshold {thresholds.link:.3f}, which {LINK_FMR:.1%} of the pairs across people would reach; {seen}."
