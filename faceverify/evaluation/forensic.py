"""Two numbers decide: forensic thresholds chosen so that they cost real people little, and what both refuse together.

Shape letters: P pairs, 2 their photos.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.forensics.bands import BANDS, band_of
from faceverify.forensics.thresholds import ForensicThresholds

LEAST_PHOTOS = 50
"""Real photos of a band below which it gets no threshold: with fewer, not even one photo is 2 % of them."""
MOST_PAIRS = 2_000_000
"""Genuine pairs, and deepfakes, that are held in memory; of more every second, third, ... is taken."""
COLUMNS = ("kind", "label", "generator", "similarity", "forensic_a", "forensic_b", "eyes_a", "eyes_b")


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Pairs of one kind with a similarity.

    similarity: [P] float32; scores, eyes: [P, 2] float32, forensic scores and eye distances of both photos, NaN =
    unknown; generator: [P] of deepfakes its name, else "".
    """

    similarity: np.ndarray
    scores: np.ndarray
    eyes: np.ndarray
    generator: np.ndarray

    def __len__(self) -> int:
        return len(self.similarity)

    def of(self, which: np.ndarray) -> "JudgedPairs":
        """Some of the pairs, by a mask [P]."""
        return JudgedPairs(self.similarity[which], self.scores[which], self.eyes[which], self.generator[which])

    def real_photos(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and eye distances [N] of the distinct photos that were judged; equal in both is one photo."""
        both = np.stack([self.scores.ravel(), self.eyes.ravel()], axis=1)
        scores, eyes = np.unique(both[np.isfinite(both[:, 0])], axis=0).T
        return scores, eyes

    def accepted(self, threshold: float, limits: ForensicThresholds | None = None) -> np.ndarray:
        """Which pairs [P] are accepted: by the recogniser alone, or, with `limits`, by both numbers."""
        near = self.similarity >= np.float32(threshold)
        if limits is None:
            return near
        manipulated, _ = limits.judge(self.scores.ravel(), self.eyes.ravel())
        return near & ~manipulated.reshape(-1, 2).any(axis=1)

    def unjudged(self, limits: ForensicThresholds) -> int:
        """How many pairs have a photo that is not judged."""
        _, judged = limits.judge(self.scores.ravel(), self.eyes.ravel())
        return int((~judged.reshape(-1, 2).all(axis=1)).sum())


def read_pairs(pieces: Iterable[pa.Table], rows: int) -> dict[str, JudgedPairs]:
    """The genuine pairs and the deepfakes of a scores table, by kind.

    Args:
        pieces: with COLUMNS, in order.
        rows: how many there are in all, which says how many are left out.
    """
    step = max(1, -(-rows // MOST_PAIRS))
    found: dict[str, list[JudgedPairs]] = {kind: [] for kind in ("genuine", "deepfake")}
    for piece in pieces:
        some = piece.filter(pc.is_valid(piece["similarity"]))
        same = pc.fill_null(pc.equal(some["label"], 1), False)
        kind = pc.coalesce(some["kind"].cast(pa.string()), pc.if_else(same, "genuine", "impostor"))
        for name, parts in found.items():
            of_kind = np.flatnonzero(pc.equal(kind, name).to_numpy())[::step]
            parts.append(_pairs_of(some.take(pa.array(of_kind))))
    return {name: _joined(parts) for name, parts in found.items()}


def _pairs_of(table: pa.Table) -> JudgedPairs:
    def sides(name: str) -> np.ndarray:
        columns = [pc.fill_null(table[f"{name}_{side}"], np.nan).to_numpy() for side in "ab"]
        return np.stack(columns, axis=1).astype(np.float32)

    names = pc.fill_null(table["generator"].cast(pa.string()), "unknown").to_numpy(zero_copy_only=False)
    similarity = table["similarity"].to_numpy().astype(np.float32)
    return JudgedPairs(similarity, sides("forensic"), sides("eyes"), names.astype(object))


def _joined(parts: Sequence[JudgedPairs]) -> JudgedPairs:
    pairs = np.zeros((0, 2), np.float32)
    every = [JudgedPairs(np.zeros(0, np.float32), pairs, pairs, np.zeros(0, object)), *parts]
    columns = {one.name: np.concatenate([getattr(part, one.name) for part in every]) for one in fields(JudgedPairs)}
    return JudgedPairs(**columns)


def choose_thresholds(genuine: JudgedPairs, threshold: float, model: str, cost: float) -> ForensicThresholds:
    """Forensic thresholds of all bands at one BPCER, the largest that costs genuine pairs no more than is allowed.

    The thresholds of a band lie in the middle between the scores of two real photos, so that as few count as
    manipulated as the BPCER says. The cost of a BPCER is the share of genuine pairs that the recogniser accepts and of
    which a photo counts as manipulated; it grows with the BPCER.

    Args:
        genuine: pairs of real photos of one person.
        threshold: of the similarity.
        model: digest of the forensic model.
        cost: how much FNMR of the whole system may exceed the recogniser's, 0..1.

    Returns:
        The thresholds; None for bands with fewer than LEAST_PHOTOS real photos.
    """
    scores, eyes = genuine.real_photos()
    band = band_of(eyes)
    ordered = [np.sort(scores[band == number])[::-1] for number in range(len(BANDS))]
    shares = {k / len(some) for some in ordered if len(some) >= LEAST_PHOTOS for k in range(len(some))}
    candidates = sorted(shares or {0.0})
    before = genuine.accepted(threshold)

    def limits_at(share: float) -> ForensicThresholds:
        values = tuple(_limit(some, share) if len(some) >= LEAST_PHOTOS else None for some in ordered)
        reached = tuple(
            None if value is None else float((some >= np.float32(value)).mean())
            for some, value in zip(ordered, values, strict=True)
        )
        return ForensicThresholds(model=model, values=values, bpcer=reached, photos=tuple(map(len, ordered)), cost=cost)

    def cost_of(share: float) -> float:
        if not len(genuine):
            return 0.0
        return float((before & ~genuine.accepted(threshold, limits_at(share))).mean())

    low, high = 0, len(candidates)  # the cost of candidates[low] is allowed: the first refuses nobody
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost_of(candidates[middle]) <= cost else (low, middle)
    return limits_at(candidates[low])


def _limit(ordered: np.ndarray, share: float) -> float:
    """The threshold at which at most this share of real photos, whose scores fall, count as manipulated."""
    refused = int(np.floor(share * len(ordered) + 1e-9))
    first_kept = float(ordered[refused])
    above = ordered[ordered > ordered[refused]]
    return (first_kept + float(above[-1])) / 2 if len(above) else float(np.nextafter(ordered[refused], np.inf)) + 1.0


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Deepfakes of one generator: how many pairs, how many the recogniser alone accepts, how many the whole system."""

    pairs: int
    accepted_alone: int
    accepted: int


@dataclass(frozen=True, kw_only=True)
class ForensicResult:
    """What two numbers decide together.

    Args:
        thresholds: of the forensic scores.
        threshold: of the similarity.
        genuine: pairs; of them `rejected_alone` by the recogniser, `rejected` by the whole system, `unjudged` with a
            photo that is too small or has no score.
        by_generator: deepfakes.
        same_pairs: whether the thresholds were chosen on these very pairs, which flatters.
    """

    thresholds: ForensicThresholds
    threshold: float
    genuine: int
    rejected_alone: int
    rejected: int
    unjudged: int
    by_generator: dict[str, Refused]
    same_pairs: bool

    def to_dict(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        by = {name: vars(one) for name, one in self.by_generator.items()}
        values = {name: value for name, value in vars(self).items() if name not in ("thresholds", "by_generator")}
        return {**values, "thresholds": self.thresholds.to_dict(), "by_generator": by}


def judge(
    pairs: dict[str, JudgedPairs], threshold: float, model: str, cost: float, given: ForensicThresholds | None
) -> ForensicResult:
    """Choose forensic thresholds, unless some are given, and count what is refused.

    Args:
        pairs: of `read_pairs`.
        threshold: of the similarity.
        model: digest of the forensic model.
        cost: see `choose_thresholds`.
        given: thresholds of a calibration.
    """
    genuine, fakes = pairs["genuine"], pairs["deepfake"]
    limits = given or choose_thresholds(genuine, threshold, model, cost)
    by = {}
    for name in sorted(set(fakes.generator.tolist())):
        some = fakes.of(fakes.generator == name)
        alone, both = (int(some.accepted(threshold, one).sum()) for one in (None, limits))
        by[name] = Refused(pairs=len(some), accepted_alone=alone, accepted=both)
    alone, both = (len(genuine) - int(genuine.accepted(threshold, one).sum()) for one in (None, limits))
    return ForensicResult(
        thresholds=limits,
        threshold=threshold,
        genuine=len(genuine),
        rejected_alone=alone,
        rejected=both,
        unjudged=genuine.unjudged(limits),
        by_generator=by,
        same_pairs=given is None,
    )
