"""Two networks on the same pairs: what each reaches at its own threshold, and which pairs are decided otherwise.

Scores of two networks lie on scales of their own, so each is judged at the threshold that its evaluation gives it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.evaluation.result import Evaluation
from faceverify.evaluation.score_rows import ScoreRows

SAME = ("pair", "photo_a", "photo_b")
_TEXTS = ["photo_a", "photo_b", "person_a", "person_b", "generator"]


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
    before: tuple[pa.Table | ScoreRows, Evaluation], after: tuple[pa.Table | ScoreRows, Evaluation], examples: int
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
    old, new = before[1].threshold, after[1].threshold
    fixed, not_fixed, lost, won = (_Changed(examples) for _ in range(4))
    for was, now in _side_by_side(
        *(rows if isinstance(rows, ScoreRows) else ScoreRows(rows) for rows, _ in (before, after))
    ):
        if old is None or new is None:
            continue
        both = _Both(was, now, old, new)
        fake, genuine = both.of("deepfake"), both.of("genuine")
        fixed.add(both, fake & both.accepted & ~both.accepts, -both.was)
        not_fixed.add(both, fake & both.accepts, -both.now)
        lost.add(both, genuine & both.accepted & ~both.accepts, both.now)
        won.add(both, genuine & ~both.accepted & both.accepts, -both.now)
    if old is None or new is None:
        return None
    return Comparison(
        before=before[1],
        after=after[1],
        rows=_rows(before[1], after[1]),
        fixed=fixed.outcome(examples),
        not_fixed=not_fixed.outcome(examples),
        lost=lost.outcome(examples),
        won=won.outcome(0),
    )


def _side_by_side(before: ScoreRows, after: ScoreRows) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows of two tables, some at a time.

    Raises:
        UserError: they are not of the same pairs.
    """
    old, new = (
        before.batches((*SAME, "similarity")),
        after.batches((*dict.fromkeys([*SAME, *_TEXTS]), "kind", "similarity")),
    )
    was, now = next(old, None), next(new, None)
    while was is not None and now is not None:
        count = min(was.num_rows, now.num_rows)
        if any(not was[name][:count].equals(now[name][:count]) for name in SAME):
            break
        yield was[:count], now[:count]
        was = was[count:] if count < was.num_rows else next(old, None)
        now = now[count:] if count < now.num_rows else next(new, None)
    if was is not None or now is not None:
        raise UserError("before: its scores are of other pairs than scores; score the same list with both networks.")


class _Both:
    """Some pairs with what both networks make of them: similarities before and now, what was and is accepted."""

    def __init__(self, before: pa.Table, after: pa.Table, old: float, new: float) -> None:
        self.table = after
        self.was, self.now = (table["similarity"].to_numpy().astype(np.float64) for table in (before, after))
        self._scored = np.isfinite(self.was) & np.isfinite(self.now)
        self.accepted, self.accepts = self.was >= np.float32(old), self.now >= np.float32(new)

    def of(self, kind: str) -> np.ndarray:
        """Where the pairs of a kind are that both scored."""
        return self._scored & pc.equal(self.table["kind"], kind).fill_null(False).to_numpy()

    def pairs(self, rows: np.ndarray) -> list[ChangedPair]:
        """A few of them."""
        texts = self.table.select(_TEXTS).take(pa.array(rows)).to_pylist()
        return [
            ChangedPair(**{name: text or "" for name, text in row.items()}, before=float(was), after=float(now))
            for row, was, now in zip(texts, self.was[rows], self.now[rows], strict=True)
        ]


class _Changed:
    """Pairs that share their two decisions, of which the first few of each generator are kept.

    Args:
        examples: pairs to keep of each generator.
    """

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._pairs = 0
        self._first: dict[str, list[tuple[float, int, ChangedPair]]] = {}

    def add(self, both: _Both, chosen: np.ndarray, order: np.ndarray) -> None:
        """Take the chosen rows; those come first that are small in `order`, and of equal ones the first met."""
        rows = np.flatnonzero(chosen)
        met, self._pairs = self._pairs, self._pairs + len(rows)
        names = both.table["generator"].take(pa.array(rows)).fill_null("").combine_chunks()
        for name in names.unique().to_pylist():
            of_name = rows[pc.equal(names, name).to_numpy(zero_copy_only=False)]
            best = of_name[np.argsort(order[of_name], kind="stable")[: self._examples]]
            places = (met + np.searchsorted(rows, best)).tolist()
            found = zip(order[best].tolist(), places, both.pairs(best), strict=True)
            kept = self._first.get(name, [])
            self._first[name] = sorted([*kept, *found], key=lambda one: one[:2])[: self._examples]

    def outcome(self, shown: int) -> Outcome:
        """How many there were, and the first of them, of the generators in turn."""
        turns = [(turn, *one) for kept in self._first.values() for turn, one in enumerate(kept)]
        first = sorted(turns, key=lambda one: one[:3])[:shown]
        return Outcome(pairs=self._pairs, shown=tuple(pair for *_, pair in first))


def _rows(before: Evaluation, after: Evaluation) -> tuple[Row, ...]:
    kinds, generators = after.by_kind, after.by_generator
    of_fakes = Change(before.eer_fakes, after.eer_fakes)
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
