"""Two networks on the same pairs: what each reaches at its own threshold, and which pairs are decided otherwise.

Scores of two networks lie on scales of their own, so each is judged at the threshold that its evaluation gives it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from faceverify.errors import UserError
from faceverify.evaluation import metrics, scored_pairs
from faceverify.evaluation.result import Evaluation
from faceverify.evaluation.scored_pairs import DEEPFAKE, GENUINE, ScoredPairs

SAME = ("pair", "photo_a", "photo_b")


class Change(NamedTuple):
    """One figure, before and after; None where the data cannot tell."""

    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One group of pairs: its EER against the genuine ones, and the share that is accepted, both in [0, 1]."""

    kind: str
    generator: str
    pairs: int
    eer: Change
    accepted: Change


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedPair:
    """One pair with both similarities."""

    photo_a: str
    photo_b: str
    person_a: str
    person_b: str
    generator: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Pairs that share their two decisions: how many, and some of them to look at."""

    pairs: int
    shown: tuple[ChangedPair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What changed.

    Attributes:
        before, after: the two evaluations.
        rows: all negatives, impostors, deepfakes, each generator, genuine pairs.
        fixed: deepfakes that were accepted and are refused now; not_fixed: that are accepted now; lost: genuine pairs
            that were accepted and are refused now; won: that were refused and are accepted now.
    """

    before: Evaluation
    after: Evaluation
    rows: tuple[Row, ...]
    fixed: Outcome
    not_fixed: Outcome
    lost: Outcome
    won: Outcome

    @property
    def photos(self) -> list[str]:
        """The photos of the pairs that are shown, sorted, each once."""
        shown = [pair for one in (self.fixed, self.not_fixed, self.lost) for pair in one.shown]
        return sorted({photo for pair in shown for photo in (pair.photo_a, pair.photo_b)})


def compare(
    before: tuple[pa.Table, Evaluation], after: tuple[pa.Table, Evaluation], examples: int
) -> Comparison | None:
    """Compare two scored tables of the same list of pairs.

    Args:
        before, after: the scores table and what `evaluate` made of it.
        examples: pairs to show of each outcome at most.

    Returns:
        None where one of the two has no threshold.

    Raises:
        UserError: the tables are not of the same pairs.
    """
    if any(not before[0][name].equals(after[0][name]) for name in SAME):
        raise UserError("before: its scores are of other pairs than scores; score the same list with both networks.")
    old, new = before[1].threshold, after[1].threshold
    if old is None or new is None:
        return None
    pairs = [scored_pairs.read(table) for table, _ in (before, after)]
    both = _Both(before[0], after[0], old, new)
    fake, genuine = both.of("deepfake"), both.of("genuine")
    return Comparison(
        before=before[1],
        after=after[1],
        rows=_rows(before[1], after[1], pairs),
        fixed=both.outcome(fake & both.accepted & ~both.accepts, -both.was, examples),
        not_fixed=both.outcome(fake & both.accepts, -both.now, examples),
        lost=both.outcome(genuine & both.accepted & ~both.accepts, both.now, examples),
        won=both.outcome(genuine & ~both.accepted & both.accepts, -both.now, 0),
    )


class _Both:
    """The pairs that both networks scored: similarities before and now, and what was and is accepted."""

    def __init__(self, before: pa.Table, after: pa.Table, old: float, new: float) -> None:
        self._table = after
        self.was, self.now = (table["similarity"].to_numpy().astype(np.float64) for table in (before, after))
        self._scored = np.isfinite(self.was) & np.isfinite(self.now)
        self.accepted, self.accepts = self.was >= np.float32(old), self.now >= np.float32(new)

    def of(self, kind: str) -> np.ndarray:
        """Where the pairs of a kind are."""
        return self._scored & (np.array(self._table["kind"].to_pylist(), object) == kind)

    def outcome(self, chosen: np.ndarray, order: np.ndarray, count: int) -> Outcome:
        """Count the pairs and show the first by `order`, of the generators in turn."""
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(order[rows], kind="stable")]
        names = self._table["generator"].take(pa.array(rows)).to_pylist()
        turn = {row: (names[:place].count(names[place]), place) for place, row in enumerate(rows.tolist())}
        first = sorted(turn, key=lambda row: turn[row])[:count]
        return Outcome(pairs=len(rows), shown=tuple(self._pair(row) for row in first))

    def _pair(self, row: int) -> ChangedPair:
        names = ("photo_a", "photo_b", "person_a", "person_b", "generator")
        texts = {name: self._table[name][row].as_py() or "" for name in names}
        return ChangedPair(**texts, before=float(self.was[row]), after=float(self.now[row]))


def _rows(before: Evaluation, after: Evaluation, pairs: list[ScoredPairs]) -> tuple[Row, ...]:
    kinds, generators = after.by_kind, after.by_generator
    of_fakes = Change(*(_eer_of_fakes(one) for one in pairs))
    real = Change(before.eer_real, after.eer_real)
    negatives = kinds["impostor"].pairs + kinds["deepfake"].pairs
    rows = [Row("all negatives", "", negatives, Change(before.eer, after.eer), Change(None, None))]
    for kind, eer in (("impostor", real), ("deepfake", of_fakes), ("genuine", Change(None, None))):
        shares = Change(*(_accepted(one, kind) for one in (before, after)))
        rows.append(Row(kind, "", kinds[kind].pairs, eer, shares))
        for name in generators if kind == "deepfake" else ():
            old, new = before.by_generator[name], generators[name]
            rows.append(Row(kind, name, new.pairs, Change(old.eer, new.eer), Change(old.accept_rate, new.accept_rate)))
    return tuple(row for row in rows if row.pairs)


def _accepted(evaluation: Evaluation, kind: str) -> float | None:
    found = evaluation.by_kind[kind]
    return None if found.accepted is None or not found.pairs else found.accepted / found.pairs


def _eer_of_fakes(pairs: ScoredPairs) -> float | None:
    genuine, fakes = pairs.of(GENUINE), pairs.similarity[pairs.kind == DEEPFAKE]
    return metrics.equal_error_rate(metrics.sort_scores(genuine, fakes)).eer if genuine.size and fakes.size else None
