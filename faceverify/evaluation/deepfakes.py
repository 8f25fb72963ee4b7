"""How well fakes of each generator are refused, and at what cost to real photos, in the terms of ISO/IEC 30107-3.

    IAPAR   share of attack presentations that the whole system accepts as the person they claim to be
    APCER   share of attack presentations that the detector alone takes for real
    BPCER   share of real photos that the detector takes for attacks

Frames of one clip are not independent. What counts once is a *unit*, such as a clip and the person whom it claims to
show: pictures are averaged within their unit, units weigh equally, and intervals draw units. With fewer than
LEAST_UNITS of them there is no interval, and a figure is to be read as a count.

Shape letters: N pictures, P pairs, U units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from faceverify.evaluation.intervals import Interval, limits
from faceverify.forensics.bands import TOO_SMALL, band_of
from faceverify.forensics.thresholds import ForensicThresholds

LEAST_UNITS = 10
"""Units below which a share is given as a count and has no interval."""
REPLICATES = 1000
_DRAWN = 1 << 22  # units drawn at a time, so that memory stays small with many persons


@dataclass(frozen=True, slots=True)
class Share:
    """The mean of some values in [0, 1], such as "accepted" or "refused".

    Args:
        value: the mean; None where there is nothing.
        interval: 95 %; None below LEAST_UNITS units.
        total: sum of the values over pictures: how many, where each is 0 or 1.
        of: pictures, or pairs.
        units: independent ones among them.
    """

    value: float | None
    interval: Interval | None
    total: float
    of: int
    units: int

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.interval is None and self.total != round(self.total):
            return f"{self.value:.1%} of {self.of:,} ({self.units} units)"
        if self.interval is None:
            return f"{self.total:g} of {self.of:,} ({self.units} units)"
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%})"


def share_of_units(values: np.ndarray, units: np.ndarray, seed: int = 0) -> Share:
    """The mean over units of the mean within each, with an interval by bootstrap over units.

    Args:
        values: [N] in [0, 1]; bool is fine. NaN is left out.
        units: [N] names.
        seed: of the bootstrap.
    """
    sums, counts = _by_unit(values, units)
    return _share(sums / np.maximum(counts, 1), np.ones(len(counts)), sums, counts, seed)


def share_of_all(values: np.ndarray, units: np.ndarray, seed: int = 0) -> Share:
    """The mean over all pictures or pairs, with an interval by bootstrap over units, such as persons.

    Args and units as of `share_of_units`, in which each unit has the same weight and not each picture.
    """
    sums, counts = _by_unit(values, units)
    return _share(sums, counts, sums, counts, seed)


def _by_unit(values: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum [U] and number [U] of the values of each unit, in the order of their names."""
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    # Not as numpy's strings, which are all as wide as the longest: one long name would take gigabytes.
    names, at = np.unique(np.asarray(units)[known], return_inverse=True)
    # Sorted within a unit: sums of floats must not depend on the order of the rows.
    order = np.lexsort((values[known], at))
    sums = np.bincount(at[order], values[known][order], minlength=len(names))
    return sums, np.bincount(at, minlength=len(names)).astype(np.float64)


def _share(above: np.ndarray, below: np.ndarray, sums: np.ndarray, counts: np.ndarray, seed: int) -> Share:
    """sum(above) / sum(below) over units [U], and over units drawn with replacement."""
    total, pictures, units = float(sums.sum()), int(counts.sum()), len(counts)
    if not units:
        return Share(None, None, 0.0, 0, 0)
    value = float(above.sum() / below.sum())
    if units < LEAST_UNITS:
        return Share(value, None, total, pictures, units)
    rng, chances, samples = np.random.default_rng(seed), np.full(units, 1 / units), list[np.ndarray]()
    at_once = max(1, _DRAWN // units)
    for start in range(0, REPLICATES, at_once):
        drawn = rng.multinomial(units, chances, min(at_once, REPLICATES - start)).astype(np.float64)
        samples.append((drawn @ above) / (drawn @ below))
    return Share(value, limits(np.concatenate(samples), value, units), total, pictures, units)


def wins(scores: np.ndarray, against: np.ndarray) -> np.ndarray:
    """For each score [N] the share of `against` [M] that lies below it, ties counted half; its mean is the AUC.

    NaN in `scores` gives NaN, in `against` it is left out; without any there, all are NaN.
    """
    scores = np.asarray(scores, np.float64)
    ordered = np.sort(np.asarray(against, np.float64)[~np.isnan(against)])
    if not len(ordered):
        return np.full(len(scores), np.nan)
    below, up_to = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.where(np.isnan(scores), np.nan, (below + up_to) / 2 / len(ordered))


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one kind: fakes of one generator, or real photos.

    Args:
        scores: [N] float32 forensic scores; NaN = none.
        eyes: [N] float32 eye distances in pixels; NaN = unknown.
        units: [N] names: clip and claimed person of fakes, the person of real photos.
        hosts: [N] float32, of fakes the score of the real picture each was made from; NaN = unknown.
    """

    scores: np.ndarray
    eyes: np.ndarray
    units: np.ndarray
    hosts: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, which: np.ndarray) -> "Pictures":
        """Some of them, by a mask [N]."""
        return Pictures(self.scores[which], self.eyes[which], self.units[which], self.hosts[which])


@dataclass(frozen=True, eq=False)
class Claims:
    """Pairs of a fake and a real photo of the person whom it claims to show.

    Args:
        fake: [P] index of the fake among its `Pictures`.
        similarity: [P] float32.
        scores: [P] float32 forensic score of the real photo.
        eyes: [P] float32 eye distance of the real photo.
    """

    fake: np.ndarray
    similarity: np.ndarray
    scores: np.ndarray
    eyes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class GeneratorResult:
    """What became of the fakes of one generator.

    Args:
        iapar: accepted by the whole system: similarity reached, and neither photo counts as manipulated.
        iapar_alone: accepted by the recogniser alone.
        apcer: taken for real by the detector alone; fakes that are not judged are.
        auc: chance that a fake scores above a real photo of the comparison.
        paired_auc: chance that a fake scores above the very picture it was made from.
        not_judged: fakes that are too small, or of a band without a threshold.
        pictures, units: how many there are.
    """

    iapar: Share
    iapar_alone: Share
    apcer: Share
    auc: Share
    paired_auc: Share
    not_judged: int
    pictures: int
    units: int


def judge_generator(
    fakes: Pictures,
    claims: Claims,
    real: Pictures,
    limits: ForensicThresholds,
    threshold: float,
    band: int | None = None,
    seed: int = 0,
) -> GeneratorResult:
    """Judge the fakes of one generator.

    Args:
        fakes: the pictures.
        claims: pairs with real photos of the claimed person.
        real: real photos that the AUC compares with.
        limits: thresholds of the forensic score.
        threshold: of the similarity.
        band: only fakes whose eye distance is in this band (number in `bands.BANDS`), against real photos of the same
            band; None = all.
        seed: of the bootstraps.
    """
    inside = np.ones(len(fakes), bool) if band is None else band_of(fakes.eyes) == band
    beside = real if band is None else real.of(band_of(real.eyes) == band)
    manipulated, judged = limits.judge(fakes.scores, fakes.eyes)
    near = claims.similarity >= np.float32(threshold)
    other, _ = limits.judge(claims.scores, claims.eyes)
    some = inside[claims.fake]
    units = fakes.units[claims.fake][some]
    accepted = near & ~manipulated[claims.fake] & ~other
    scored = fakes.of(inside)
    return GeneratorResult(
        iapar=share_of_units(accepted[some], units, seed),
        iapar_alone=share_of_units(near[some], units, seed),
        apcer=share_of_units(~manipulated[inside], scored.units, seed),
        auc=share_of_units(wins(scored.scores, beside.scores), scored.units, seed),
        paired_auc=share_of_units(paired_wins(scored.scores, scored.hosts), scored.units, seed),
        not_judged=int((~judged[inside]).sum()),
        pictures=int(inside.sum()),
        units=len(set(scored.units.tolist())),
    )


def paired_wins(scores: np.ndarray, hosts: np.ndarray) -> np.ndarray:
    """[N]: 1 where a fake scores above its own host, 0.5 where equal, 0 below, NaN where either is unknown."""
    difference = np.asarray(scores, np.float64) - np.asarray(hosts, np.float64)
    return np.where(np.isnan(difference), np.nan, (np.sign(difference) + 1) / 2)


@dataclass(frozen=True, slots=True)
class Overall:
    """Several generators in one figure.

    Args:
        mean: over generators, each with the same weight; None without any.
        worst: the generator with the highest share.
        highest: that share.
        generators: how many have the figure.
    """

    mean: float | None
    worst: str
    highest: float | None
    generators: int


def overall(shares: Mapping[str, Share]) -> Overall:
    """Macro mean and worst of some generators; give seen and unseen ones apart, for they say different things."""
    known = {name: share.value for name, share in sorted(shares.items()) if share.value is not None}
    if not known:
        return Overall(None, "", None, 0)
    worst = max(known, key=lambda name: known[name])
    return Overall(float(np.mean(list(known.values()))), worst, known[worst], len(known))


def bpcer_by_source(
    photos: Pictures, sources: np.ndarray, limits: ForensicThresholds, seed: int = 0
) -> dict[str, Share]:
    """BPCER of each source of real photos, over those that are judged, with intervals by person.

    Args:
        photos: real ones; units are persons.
        sources: [N] names.
        limits: thresholds of the forensic score.
        seed: of the bootstrap.
    """
    manipulated, judged = limits.judge(photos.scores, photos.eyes)
    return {
        name: share_of_all(manipulated[which], photos.units[which], seed)
        for name in sorted(set(sources.tolist()))
        if (which := judged & (sources == name)).any()
    }


@dataclass(frozen=True, kw_only=True)
class GenuineResult:
    """What real pairs pay: rejected by the recogniser alone, by the whole system, and the difference."""

    alone: Share
    system: Share
    cost: Share
    not_judged: int


def judge_genuine(
    similarity: np.ndarray,
    scores: np.ndarray,
    eyes: np.ndarray,
    persons: np.ndarray,
    limits: ForensicThresholds,
    threshold: float,
    seed: int = 0,
) -> GenuineResult:
    """False non-match rates of genuine pairs, with intervals by person.

    Args:
        similarity: [P] float32.
        scores, eyes: [P, 2] float32 forensic scores and eye distances of both photos.
        persons: [P] names.
        limits: thresholds of the forensic score.
        threshold: of the similarity.
        seed: of the bootstrap.
    """
    manipulated, judged = (one.reshape(-1, 2) for one in limits.judge(scores.ravel(), eyes.ravel()))
    alone = similarity < np.float32(threshold)
    system = alone | manipulated.any(axis=1)
    return GenuineResult(
        alone=share_of_all(alone, persons, seed),
        system=share_of_all(system, persons, seed),
        cost=share_of_all(system & ~alone, persons, seed),
        not_judged=int((~judged.all(axis=1)).sum()),
    )


@dataclass(frozen=True, slots=True)
class Shortcut:
    """Whether a share stays as it is when pictures are stored again, so that it does not rest on how they were saved.

    Args:
        shares: of the pictures as they were, then of the other ways.
        difference: the largest one to the first.
        allowed: how large it may be.
    """

    shares: dict[str, float]
    difference: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is within what is allowed."""
        return self.difference <= self.allowed + 1e-12


def shortcut(hits: Mapping[str, np.ndarray], allowed: float) -> Shortcut:
    """Compare the share of pictures that count as manipulated, as they were made and stored again.

    Args:
        hits: way -> [N] bool of the same pictures; the first is how they were made.
        allowed: difference of shares, such as 0.05.
    """
    shares = {way: float(np.mean(some)) for way, some in hits.items()}
    first = next(iter(shares.values()))
    return Shortcut(shares, max(abs(share - first) for share in shares.values()), allowed)


def too_small(eyes: np.ndarray) -> int:
    """How many photos [N] are too small to be judged, or have no landmarks."""
    return int((band_of(eyes) == TOO_SMALL).sum())
