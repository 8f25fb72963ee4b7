"""Where to draw the lines: from the data's own cosines, or from a threshold given by the user.

A tenth of the labels may be wrong, so neither kind of pair is pure: of the pairs within a person many are strangers,
and among the pairs of two people the highest cosines are one person's under two names. What stays untouched by that is
the bulk of the cosines across people. It is close to a normal distribution, so its median and its 95th percentile tell
its spread, and the tail that cannot be seen for the errors is reckoned from them.
"""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from faceverify.errors import UserError

LINK_FMR = 1e-3  # of two strangers' photos so many may be linked; the mean of the component corrects it
WEAK_FMR = 1e-2
NEAR_DUPLICATE = 0.95  # 1,642 LFW photos, two networks: no two shots reach it, most re-encoded copies do
BINS = 2000  # of the histograms that are reckoned with; the manifest shows every ten of them as one
MIN_PAIRS = 1000  # across people, below which their spread is not to be trusted
_BLOCK = 1024
_Z = NormalDist().inv_cdf


@dataclass(frozen=True)
class Thresholds:
    """The lines, all of them cosines.

    link: two photos of a person at or above it are linked, and a photo is like a mean at or above it;
    weak: below it a photo is not like its person at all; between, it is doubtful;
    margin: by so much another person must be nearer than the own (one standard deviation of strangers' cosines).
    """

    link: float
    weak: float
    margin: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds with what they rest on: counts [BINS] of cosines from -1 to 1, within and across people."""

    thresholds: Thresholds
    within: np.ndarray
    across: np.ndarray
    explanation: str

    def manifest(self) -> dict[str, Any]:
        """For the manifest: the lines, how they were chosen, and both histograms in bins of 0.01."""
        coarse = {name: counts.reshape(-1, 10).sum(axis=1).tolist() for name, counts in self._histograms().items()}
        shown = {"bins_from": -1.0, "bins_to": 1.0, **coarse}
        return {**asdict(self.thresholds), "explanation": self.explanation, "histogram": shown}

    def _histograms(self) -> dict[str, np.ndarray]:
        return {"within_person": self.within, "across_people": self.across}


def calibrate(units: np.ndarray, person: np.ndarray, given: float | None) -> Calibration:
    """Choose the lines.

    Args:
        units: [S, D] float32, unit vectors of the real photos of some people, all of each one's.
        person: [S] int.
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
    lines = Thresholds(float(link), float(link - (_Z(1 - LINK_FMR) - _Z(1 - WEAK_FMR)) * spread), float(spread))
    return Calibration(lines, within, across, _explain(lines, within, across, median, given))


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
    """The cosine below which `share` of a histogram from -1 to 1 lies; straight within a bin."""
    edges = np.linspace(-1, 1, len(counts) + 1)
    return float(np.interp(share * counts.sum(), np.r_[0, np.cumsum(counts)], edges))


def _explain(lines: Thresholds, within: np.ndarray, across: np.ndarray, median: float, given: float | None) -> str:
    share = within[int((lines.link + 1) * BINS / 2) :].sum() / max(within.sum(), 1)
    seen = (
        f"{within.sum():,} pairs within people, {share:.1%} of them at or above it; across people {across.sum():,} "
        f"pairs, median {median:.3f}, standard deviation {lines.margin:.3f} by the 95th percentile"
    )
    if given is not None:
        return f"threshold {lines.link:.3f} as given; {seen}."
    return f"threshold {lines.link:.3f}, which {LINK_FMR:.1%} of the pairs across people would reach; {seen}."
