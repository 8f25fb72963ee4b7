"""Two numbers decide: forensic thresholds chosen so that they cost real people little, and what both refuse together.

Shape letters: P pairs, 2 their photos.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.evaluation.deepfakes import share_of_all
from faceverify.evaluation.intervals import Interval
from faceverify.evaluation.scored_pairs import UNKNOWN_GENERATOR
from faceverify.forensics.bands import BANDS, band_of
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.scoring.similarity import OK

LEAST_PHOTOS = 50
"""Real photos of a band below which it gets no threshold: with fewer, not even one photo is 2 % of them."""
MOST_PAIRS = 2_000_000
"""Genuine pairs, and deepfakes, that are held in memory; of more every second, third, ... is taken."""
COLUMNS = (
    "kind",
    "label",
    "generator",
    "person_a",
    "similarity",
    "status",
    "forensic_a",
    "forensic_b",
    "eyes_a",
    "eyes_b",
)


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Pairs of one kind with a similarity.

    similarity: [P] float32; scores, eyes: [P, 2] float32, forensic scores and eye distances of both photos, NaN =
    unknown; generator: [P] of deepfakes its name, else ""; person: [P] names of the claimed persons, over whom
    intervals are drawn; None where some are not known.
    """

    similarity: np.ndarray
    scores: np.ndarray
    eyes: np.ndarray
    generator: np.ndarray
    person: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.similarity)

    def of(self, which: np.ndarray) -> "JudgedPairs":
        """Some of the pairs, by a mask [P]."""
        person = None if self.person is None else self.person[which]
        return JudgedPairs(self.similarity[which], self.scores[which], self.eyes[which], self.generator[which], person)

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


def model_of(pieces: Iterable[pa.Table]) -> str:
    """Digest of the forensic model behind a scores table, from its column `forensic_with`; empty if there is none.

    Raises:
        UserError: scores of several models are in it.
    """
    found = set[str]()
    for piece in pieces:
        found |= {digest for digest in piece["forensic_with"].cast(pa.string()).unique().to_pylist() if digest}
    if len(found) > 1:
        names = " and ".join(sorted(digest[:12] for digest in found)[:2])
        raise UserError(
            f"The scores table holds forensic scores of {len(found)} models ({names}), which no threshold fits: score "
            "all pairs with one."
        )
    return next(iter(found), "")


def read_pairs(pieces: Iterable[pa.Table], rows: int) -> dict[str, JudgedPairs]:
    """The genuine pairs and the deepfakes of a scores table that have a label and a score, by kind.

    A negative pair without a kind is a deepfake if it has a generator, as everywhere in an evaluation.

    Args:
        pieces: with COLUMNS, in order.
        rows: how many there are in all, which says how many are left out.
    """
    step = max(1, -(-rows // MOST_PAIRS))
    found: dict[str, list[JudgedPairs]] = {kind: [] for kind in ("genuine", "deepfake")}
    for piece in pieces:
        scored = pc.and_(pc.equal(piece["status"].cast(pa.string()), OK), pc.is_finite(piece["similarity"]))
        some = piece.filter(pc.and_(scored, pc.is_valid(piece["label"])))
        negative = pc.if_else(pc.is_valid(some["generator"]), "deepfake", "impostor")
        kind = pc.coalesce(some["kind"].cast(pa.string()), pc.if_else(pc.equal(some["label"], 1), "genuine", negative))
        for name, parts in found.items():
            of_kind = np.flatnonzero(pc.equal(kind, name).to_numpy())[::step]
            parts.append(_pairs_of(some.take(pa.array(of_kind))))
    return {name: _joined(parts) for name, parts in found.items()}


def _pairs_of(table: pa.Table) -> JudgedPairs:
    def sides(name: str) -> np.ndarray:
        columns = [pc.fill_null(table[f"{name}_{side}"], np.nan).to_numpy() for side in "ab"]
        return np.stack(columns, axis=1).astype(np.float32)

    def names(column: pa.ChunkedArray) -> np.ndarray:
        return column.cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)

    generator = pc.fill_null(table["generator"].cast(pa.string()), UNKNOWN_GENERATOR)
    person = None if table["person_a"].null_count else names(table["person_a"])
    similarity = table["similarity"].to_numpy().astype(np.float32)
    return JudgedPairs(similarity, sides("forensic"), sides("eyes"), names(generator), person)


def _joined(parts: Sequence[JudgedPairs]) -> JudgedPairs:
    pairs, nobody = np.zeros((0, 2), np.float32), np.zeros(0, object)
    every = [JudgedPairs(np.zeros(0, np.float32), pairs, pairs, nobody, nobody), *parts]
    joined = {
        one.name: np.concatenate([getattr(part, one.name) for part in every])
        for one in fields(JudgedPairs)
        if all(getattr(part, one.name) is not None for part in every)
    }
    return JudgedPairs(**joined)


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
    if not len(above):
        return float(np.nextafter(ordered[refused], np.float32(np.inf))) + 1.0
    middle = np.float32((first_kept + float(above[-1])) / 2)
    # Between neighbouring float32 the middle can be rounded to the score that is to be kept.
    return float(middle if middle > ordered[refused] else above[-1])


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Deepfakes of one generator.

    Args:
        pairs: how many.
        accepted_alone: by the recogniser alone.
        accepted: by the whole system.
        interval_alone, interval: 95 % of their shares, drawing claimed persons; None with fewer than ten of them.
        persons: claimed; None where not all pairs name them.
    """

    pairs: int
    accepted_alone: int
    accepted: int
    interval_alone: Interval | None
    interval: Interval | None
    persons: int | None


@dataclass(frozen=True, kw_only=True)
class ForensicResult:
    """What two numbers decide together.

    Args:
        thresholds: of the forensic scores.
        threshold: of the similarity.
        genuine: pairs; of them `rejected_alone` by the recogniser, `rejected` by the whole system, `unjudged` with a
            photo that is too small or has no score.
        interval_alone, interval: 95 % of the shares rejected, drawing persons; None with fewer than ten of them.
        by_generator: deepfakes.
        same_pairs: whether the thresholds were chosen on these very pairs, which flatters.
    """

    thresholds: ForensicThresholds
    threshold: float
    genuine: int
    rejected_alone: int
    rejected: int
    unjudged: int
    interval_alone: Interval | None
    interval: Interval | None
    by_generator: dict[str, Refused]
    same_pairs: bool

    def to_dict(self) -> dict[str, Any]:
        """As `metrics.json` holds it."""
        by = {name: vars(one) for name, one in self.by_generator.items()}
        values = {name: value for name, value in vars(self).items() if name not in ("thresholds", "by_generator")}
        return {**values, "thresholds": self.thresholds.to_dict(), "by_generator": by}


def judge(
    pairs: dict[str, JudgedPairs],
    threshold: float,
    model: str,
    cost: float,
    given: ForensicThresholds | None,
    seed: int = 0,
) -> ForensicResult:
    """Choose forensic thresholds, unless some are given, and count what is refused.

    Args:
        pairs: of `read_pairs`.
        threshold: of the similarity.
        model: digest of the forensic model.
        cost: see `choose_thresholds`.
        given: thresholds of a calibration.
        seed: of the intervals.
    """
    genuine, fakes = pairs["genuine"], pairs["deepfake"]
    limits = given or choose_thresholds(genuine, threshold, model, cost)
    by = {}
    for name in sorted(set(fakes.generator.tolist())):
        some = fakes.of(fakes.generator == name)
        alone, both = (some.accepted(threshold, one) for one in (None, limits))
        by[name] = Refused(
            pairs=len(some),
            accepted_alone=int(alone.sum()),
            accepted=int(both.sum()),
            interval_alone=_interval(alone, some.person, seed),
            interval=_interval(both, some.person, seed),
            persons=None if some.person is None else len(set(some.person.tolist())),
        )
    alone, both = (~genuine.accepted(threshold, one) for one in (None, limits))
    return ForensicResult(
        thresholds=limits,
        threshold=threshold,
        genuine=len(genuine),
        rejected_alone=int(alone.sum()),
        rejected=int(both.sum()),
        unjudged=genuine.unjudged(limits),
        interval_alone=_interval(alone, genuine.person, seed),
        interval=_interval(both, genuine.person, seed),
        by_generator=by,
        same_pairs=given is None,
    )


def _interval(hits: np.ndarray, person: np.ndarray | None, seed: int) -> Interval | None:
    return None if person is None else share_of_all(hits, person, seed).interval
