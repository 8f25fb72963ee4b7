"""Which rows of a scores table enter the error rates, of which group, and which fell out; for tables of any size."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import failures, tables
from faceverify.errors import UserError
from faceverify.evaluation.columns import Columns, sort_sets
from faceverify.evaluation.intervals import Persons
from faceverify.evaluation.names import Names
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.protocols.lfw import FoldCounts
from faceverify.provenance import column_or_null, crop_difference
from faceverify.scoring.similarity import OK

KINDS = ("genuine", "impostor", "deepfake")
GENUINE, IMPOSTOR, DEEPFAKE = range(3)
UNKNOWN_GENERATOR = "unknown"

_COLUMNS = ("label", "kind", "generator", "person_a", "person_b", "similarity", "status", "scored_with", "fold")
# What makes a row unusable, in the order in which it is told.
_FAULTS = (
    f"kind is none of {', '.join(KINDS)}",
    "label is neither 0 nor 1",
    "label and kind contradict each other (1 goes with genuine, 0 with the others)",
    "status is ok and similarity is no finite number",
)
_NO_NUMBER = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """Pairs without a score, which no error rate counts; a failure to acquire in the sense of ISO/IEC 19795-1."""

    pairs: int
    """All pairs of the table."""
    failed: int
    """Those whose status is not `ok`."""
    unlabelled: int
    """Those with a score and no label."""
    by_status: dict[str, int]
    """Pairs per status other than `ok`, most frequent first."""
    by_kind: dict[str, int]
    """Failed pairs per kind, of those with a label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Mean and standard deviation of some scores."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredPairs:
    """The pairs with a label and a score. Their numbers lie in temporary files if they are many.

    Attributes:
        rows: the table that they come from.
        counts: pairs of each group; group 0 is genuine, 1 impostor, 2 + g the fakes of `generators[g]`.
        generators: names, sorted.
        persons: for the bootstrap, or None.
        no_persons: why there are none, else empty.
        failures: what was left out.
        folds: decisions by fold, if the table has a column `fold`.
        worst: of each kind the numbers of its most wrong rows, worst first.
        notes: what was assumed, as sentences.
    """

    rows: ScoreRows
    counts: np.ndarray
    generators: tuple[str, ...]
    persons: Persons | None
    no_persons: str
    failures: Failures
    folds: FoldCounts | None
    worst: tuple[list[int], ...]
    notes: tuple[str, ...]
    _columns: Columns
    _group_of: np.ndarray  # of each group as it was met
    _folder: Path

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """float32 similarity and int32 group of all pairs in the table's order, some at a time."""
        for similarity, met in self._columns.chunks("similarity", "group"):
            yield similarity, self._group_of[met]

    def chunks_with_persons(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Like `chunks`, with int32 codes of both persons; only where there are `persons`."""
        for similarity, met, first, second in self._columns.chunks("similarity", "group", "first", "second"):
            yield similarity, self._group_of[met], first, second

    def sorted(self, *sets: list[int]) -> list[np.ndarray]:
        """For each set of groups its scores, ascending float32; large ones are mapped from a temporary file."""
        return sort_sets(self.chunks, [self._mask(groups) for groups in sets], self._columns.rows, self._folder)

    def moments(self, *sets: list[int]) -> list[Moments | None]:
        """For each set of groups mean and standard deviation of its scores, in float64; None without pairs."""
        sizes = [int(self.counts[groups].sum()) for groups in sets]
        sums = self._sums(sets, [0.0] * len(sets), 1)
        means = [total / size if size else 0.0 for total, size in zip(sums, sizes, strict=True)]
        squares = self._sums(sets, means, 2)
        return [
            Moments(mean=mean, std=float(np.sqrt(square / size))) if size else None
            for mean, square, size in zip(means, squares, sizes, strict=True)
        ]

    def _mask(self, groups: list[int]) -> np.ndarray:
        return np.isin(np.arange(self.counts.size), groups)

    def _sums(self, sets: tuple[list[int], ...], means: list[float], power: int) -> list[float]:
        totals = [0.0] * len(sets)
        chosen = [self._mask(groups) for groups in sets]
        for similarity, group in self.chunks():
            for place, mask in enumerate(chosen):
                inside = similarity[mask[group]]
                deviation = inside if power == 1 else np.square(inside - np.float64(means[place]))
                totals[place] += float(deviation.sum(dtype=np.float64))
        return totals


class Reading:
    """Goes through a scores table once; use it as a context manager, in which its `ScoredPairs` can be used.

    A negative pair without a kind is a deepfake if it has a generator, and else an impostor pair (and a note says so).

    Args:
        rows: the table.
        examples: most wrong rows to remember, per kind.

    Raises:
        UserError: wrong columns, or a damaged file.
        PlatformError: no room for temporary files.
    """

    def __init__(self, rows: ScoreRows, examples: int = 0) -> None:
        tables.validate(rows.schema, tables.SCORES, "the scores table")
        self._rows, self._examples = rows, examples
        self._columns = Columns(similarity=np.float32, group=np.int32, first=np.int32, second=np.int32)
        self._folder = tempfile.TemporaryDirectory(prefix="faceverify-evaluate-", ignore_cleanup_errors=True)
        self._statuses, self._generators, self._people = Names(), Names(), Names(places=2)
        self._status_counts: Counter[str] = Counter()
        self._failed_first: dict[str, list[int]] = {}
        self._failed_kinds = np.zeros(len(KINDS), np.int64)
        self._faults = [(0, 0)] * len(_FAULTS)  # how many rows, and the first one
        self._ways: dict[str, None] = {}  # in the order in which they were met
        self._folds = FoldCounts() if "fold" in rows.schema.names else None
        self._worst = [_Worst(examples) for _ in KINDS]
        self._guessed = self._unlabelled = self._nameless = self._read = 0

    def __enter__(self) -> "Reading":
        try:
            with ThreadPoolExecutor(1) as reader:  # reads the next rows while these are looked at
                batches = self._rows.batches(_COLUMNS)
                waiting = reader.submit(next, batches, None)
                while (batch := waiting.result()) is not None:
                    waiting = reader.submit(next, batches, None)
                    self._add(batch)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._columns.__exit__()
        self._folder.cleanup()

    def check_failed(self, max_failed: float) -> None:
        """Refuse scores most of which are missing for one reason: error rates of the others say little of the system.

        Raises:
            UserError: names the reason and three pairs.
        """
        reason = failures.worst(self._status_counts, self._read, max_failed)
        if reason is not None:
            names = {reason: self._names(self._failed_first[reason])}
            failures.refuse(self._status_counts, self._read, max_failed, what="pairs", names=names)

    def scored_with(self) -> tuple[str, dict[str, Any] | None]:
        """The model and the crop behind the scores, as their column `scored_with` has them; "" and None if it does not
        say.

        Raises:
            UserError: they were made in several ways, so that no threshold means anything for all of them.
        """
        found = [json.loads(way) for way in self._ways]
        if len(found) > 1:
            one, other = found[:2]
            models = f"model {one['model'][:12]} and {other['model'][:12]}" if one["model"] != other["model"] else ""
            how = models or crop_difference(other["crop"], one["crop"])
            raise UserError(
                f"The scores table holds similarities made in {len(found)} ways ({how}), which no error rate may mix: "
                "score all pairs with one model and one aligner."
            )
        return (found[0]["model"], found[0]["crop"]) if found else ("", None)

    def pairs(self) -> ScoredPairs:
        """What was read.

        Raises:
            UserError: no usable pair, a kind that is unknown or contradicts the label, an `ok` pair without a finite
                similarity.
        """
        self._refuse_faults(_FAULTS[:_NO_NUMBER])
        if not self._columns.rows and not self._faults[_NO_NUMBER][0]:
            raise UserError(f"None of the {self._read:,} pairs has both a score and a label: set `label` to 0 or 1.")
        self._refuse_faults(_FAULTS[_NO_NUMBER:])
        generators = tuple(sorted(self._generators.texts()))
        place = {name: 2 + index for index, name in enumerate(generators)}
        group_of = np.array([GENUINE, IMPOSTOR, *(place[name] for name in self._generators.texts())], np.int32)
        counts = np.zeros(len(group_of), np.int64)
        for (met,) in self._columns.chunks("group"):
            counts += np.bincount(group_of[met], minlength=counts.size)
        persons, no_persons = self._persons()
        note = f"{self._guessed:,} negative pairs name neither kind nor generator and count as impostors."
        return ScoredPairs(
            rows=self._rows,
            counts=counts,
            generators=generators,
            persons=persons,
            no_persons=no_persons,
            failures=self._failures(),
            folds=self._folds,
            worst=tuple(worst.rows.tolist() for worst in self._worst),
            notes=(note,) if self._guessed else (),
            _columns=self._columns,
            _group_of=group_of,
            _folder=Path(self._folder.name),
        )

    def _add(self, batch: pa.Table) -> None:
        start, self._read = self._read, self._read + batch.num_rows
        ok = self._ok(batch["status"], start)
        label = batch["label"].fill_null(-1).to_numpy()
        labelled = batch["label"].is_valid().to_numpy()
        kind, guessed = self._kinds(batch, label, labelled, start)
        self._guessed += guessed
        self._unlabelled += int(np.count_nonzero(ok & ~labelled))
        self._failed_kinds += np.bincount(kind[~ok & labelled & (kind >= 0)], minlength=len(KINDS))
        self._ways |= dict.fromkeys(column_or_null(batch, "scored_with").unique().drop_null().to_pylist())
        usable = ok & labelled & (kind >= 0)
        similarity = batch["similarity"].fill_null(float("nan")).to_numpy()
        self._fault(_NO_NUMBER, usable & ~np.isfinite(similarity), start)
        usable &= np.isfinite(similarity)
        chosen = pa.array(usable)
        similarity, kind = similarity[usable] + np.float32(0), kind[usable]  # -0.0 becomes 0.0
        for worst, index in zip(self._worst, range(len(KINDS)), strict=True):
            inside = kind == index
            wrongness = similarity[inside] * np.float32(1 if index == GENUINE else -1)
            worst.add(wrongness, np.flatnonzero(usable)[inside] + start)
        if self._folds is not None:
            self._folds.add(similarity, kind == GENUINE, batch["fold"].filter(chosen))
        first, second = self._people.codes(batch["person_a"].filter(chosen), batch["person_b"].filter(chosen))
        self._nameless += int(np.count_nonzero((first < 0) | (second < 0)))
        group = kind.astype(np.int32)
        fakes = kind == DEEPFAKE
        made_by = batch["generator"].filter(chosen).filter(pa.array(fakes)).fill_null(UNKNOWN_GENERATOR)
        group[fakes] = 2 + self._generators.codes(made_by)[0]
        self._columns.append(similarity=similarity, group=group, first=first, second=second)

    def _ok(self, status: pa.ChunkedArray, start: int) -> np.ndarray:
        """Where a pair has a score; the others are counted by their status."""
        ok = pc.equal(status, OK).fill_null(False).to_numpy()
        if not ok.all():
            codes = self._statuses.codes(status)[0]
            for code, name in enumerate(self._statuses.texts()):
                at = np.flatnonzero(~ok & (codes == code))
                if at.size:
                    self._status_counts[name] += at.size
                    first = self._failed_first.setdefault(name, [])
                    first += (at[: failures.EXAMPLES - len(first)] + start).tolist()
        return ok

    def _kinds(self, batch: pa.Table, label: np.ndarray, labelled: np.ndarray, start: int) -> tuple[np.ndarray, int]:
        """Index into KINDS of every row (-1 where it makes no sense), and for how many it was guessed."""
        named = batch["kind"].is_valid().to_numpy()
        index = pc.index_in(batch["kind"], pa.array(KINDS, batch["kind"].type)).fill_null(-1).to_numpy()
        contradiction = named & (label >= 0) & ((label == 1) != (index == GENUINE))
        for place, wrong in enumerate((named & (index < 0), labelled & ~np.isin(label, (0, 1)), contradiction)):
            self._fault(place, wrong, start)
        has_generator = batch["generator"].is_valid().to_numpy()
        guess = np.where(label == 1, GENUINE, np.where(has_generator, DEEPFAKE, IMPOSTOR))
        guessed = int(np.count_nonzero(~named & (label == 0) & ~has_generator))
        return np.where(named, index, guess).astype(np.int8), guessed

    def _fault(self, place: int, wrong: np.ndarray, start: int) -> None:
        if wrong.any():
            count, first = self._faults[place]
            first = first if count else start + int(np.argmax(wrong))
            self._faults[place] = count + int(wrong.sum()), first

    def _refuse_faults(self, faults: tuple[str, ...]) -> None:
        for fault in faults:
            count, row = self._faults[_FAULTS.index(fault)]
            if count:
                name = self._names([row])[0]
                raise UserError(f"The scores table is not usable: {fault} in {count:,} rows, first in pair '{name}'.")

    def _names(self, numbers: list[int]) -> list[str]:
        rows = self._rows.take(numbers, ["pair"])
        return [rows[number]["pair"] for number in numbers]

    def _persons(self) -> tuple[Persons | None, str]:
        """What the bootstrap draws, or the reason why it cannot."""
        if self._nameless:
            return None, f"{self._nameless:,} pairs do not name both persons"
        if len(self._people) < 2:
            return None, "all pairs are of one person"
        return Persons(len(self._people), self._people.order()), ""

    def _failures(self) -> Failures:
        by_status = sorted(self._status_counts.items(), key=lambda item: (-item[1], item[0]))
        return Failures(
            pairs=self._read,
            failed=sum(self._status_counts.values()),
            unlabelled=self._unlabelled,
            by_status=dict(by_status),
            by_kind=dict(zip(KINDS, self._failed_kinds.tolist(), strict=True)),
        )


class _Worst:
    """The rows of the smallest numbers, first come first among equals.

    Args:
        count: how many to keep.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._values, self.rows = np.zeros(0, np.float32), np.zeros(0, np.int64)

    def add(self, values: np.ndarray, rows: np.ndarray) -> None:
        """Further rows, whose numbers are greater than all before."""
        if self._count and values.size > self._count:
            inside = values <= np.partition(values, self._count - 1)[self._count - 1]
            values, rows = values[inside], rows[inside]
        values, rows = np.concatenate([self._values, values]), np.concatenate([self.rows, rows])
        order = np.argsort(values, kind="stable")[: self._count]
        self._values, self.rows = values[order], rows[order]
