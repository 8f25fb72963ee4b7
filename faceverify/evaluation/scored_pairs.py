"""The scores table as arrays: which pairs enter the error rates, of which group, and which fell out."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.errors import UserError
from faceverify.evaluation.intervals import Persons
from faceverify.provenance import column_or_null, crop_difference

KINDS = ("genuine", "impostor", "deepfake")
GENUINE, IMPOSTOR, DEEPFAKE = range(3)
UNKNOWN_GENERATOR = "unknown"


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
class ScoredPairs:
    """The pairs with a label and a score.

    Attributes:
        table: their rows.
        similarity: float32 [P].
        kind: int8 [P], index into KINDS.
        group: int32 [P]; 0 genuine, 1 impostor, 2 + g the fakes of `generators[g]`.
        generators: names, sorted.
        persons: for the bootstrap, or None.
        no_persons: why there are none, else empty.
        failures: what was left out.
        notes: what was assumed, as sentences.
    """

    table: pa.Table
    similarity: np.ndarray
    kind: np.ndarray
    group: np.ndarray
    generators: tuple[str, ...]
    persons: Persons | None
    no_persons: str
    failures: Failures
    notes: tuple[str, ...] = field(default=())

    def of(self, *groups: int) -> np.ndarray:
        """Similarities of these groups, float32."""
        return self.similarity[np.isin(self.group, groups)]


def read(scores: pa.Table) -> ScoredPairs:
    """Take the pairs that have status `ok` and a label.

    A negative pair without a kind is a deepfake if it has a generator, and else an impostor pair (and a note says so).

    Raises:
        UserError: wrong columns, no usable pair, a kind that is unknown or contradicts the label, an `ok` pair without
            a finite similarity.
    """
    tables.validate(scores.schema, tables.SCORES, "the scores table")
    ok = _codes(scores["status"], ("ok",)) == 0
    labelled = scores["label"].is_valid().to_numpy()
    kind, guessed = _kinds(scores)
    usable = ok & labelled
    if not usable.any():
        raise UserError(f"None of the {scores.num_rows:,} pairs has both a score and a label: set `label` to 0 or 1.")
    table = scores.filter(pa.array(usable))
    generators, group = _groups(table, kind[usable])
    persons, no_persons = _persons(table)
    notes = (f"{guessed:,} negative pairs name neither kind nor generator and count as impostors.",) if guessed else ()
    return ScoredPairs(
        table=table,
        similarity=_similarity(table),
        kind=kind[usable],
        group=group,
        generators=generators,
        persons=persons,
        no_persons=no_persons,
        failures=_failures(scores, ok, labelled, kind),
        notes=notes,
    )


def scored_with(scores: pa.Table) -> tuple[str, dict[str, Any] | None]:
    """The model and the crop behind the scores, as their column `scored_with` has them; "" and None if it does not say.

    Raises:
        UserError: they were made in several ways, so that no threshold means anything for all of them.
    """
    kinds = column_or_null(scores, "scored_with").unique().drop_null().to_pylist()
    found = [json.loads(kind) for kind in kinds]
    if len(found) > 1:
        one, other = found[:2]
        models = f"model {one['model'][:12]} and {other['model'][:12]}" if one["model"] != other["model"] else ""
        how = models or crop_difference(other["crop"], one["crop"])
        raise UserError(
            f"The scores table holds similarities made in {len(found)} ways ({how}), which no error rate may mix: "
            "score all pairs with one model and one aligner."
        )
    return (found[0]["model"], found[0]["crop"]) if found else ("", None)


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> np.ndarray:
    """Position of each value in `names`; -1 for others and for null."""
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    position = [names.index(value) if value in names else -1 for value in values]
    return np.array([*position, -1])[encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]


def _kinds(scores: pa.Table) -> tuple[np.ndarray, int]:
    """Index into KINDS of every row (of no meaning without a label), and for how many it was guessed."""
    label = scores["label"].fill_null(-1).to_numpy()
    named = scores["kind"].is_valid().to_numpy()
    index = _codes(scores["kind"], KINDS)
    _refuse(scores, named & (index < 0), f"kind is none of {', '.join(KINDS)}")
    _refuse(scores, scores["label"].is_valid().to_numpy() & ~np.isin(label, (0, 1)), "label is neither 0 nor 1")
    contradiction = named & (label >= 0) & ((label == 1) != (index == GENUINE))
    _refuse(scores, contradiction, "label and kind contradict each other (1 goes with genuine, 0 with the others)")
    has_generator = scores["generator"].is_valid().to_numpy()
    guess = np.where(label == 1, GENUINE, np.where(has_generator, DEEPFAKE, IMPOSTOR))
    guessed = int(np.count_nonzero(~named & (label == 0) & ~has_generator))
    return np.where(named, index, guess).astype(np.int8), guessed


def _refuse(scores: pa.Table, wrong: np.ndarray, fault: str) -> None:
    if wrong.any():
        first = scores["pair"][int(np.argmax(wrong))].as_py()
        raise UserError(f"The scores table is not usable: {fault} in {wrong.sum():,} rows, first in pair '{first}'.")


def _similarity(table: pa.Table) -> np.ndarray:
    similarity = table["similarity"].fill_null(float("nan")).to_numpy()
    _refuse(table, ~np.isfinite(similarity), "status is ok and similarity is no finite number")
    return similarity


def _groups(table: pa.Table, kind: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the generators, and the group of each row."""
    generator = table["generator"].fill_null(UNKNOWN_GENERATOR)
    fake = kind == DEEPFAKE
    names = tuple(sorted(generator.filter(pa.array(fake)).unique().to_pylist()))
    return names, np.where(fake, 2 + _codes(generator, names), kind).astype(np.int32)


def _persons(table: pa.Table) -> tuple[Persons | None, str]:
    """Codes of the persons of each pair, or the reason why there are none."""
    missing = int(np.count_nonzero(table["person_a"].is_null().to_numpy() | table["person_b"].is_null().to_numpy()))
    if missing:
        return None, f"{missing:,} pairs do not name both persons"
    both = pa.chunked_array([*table["person_a"].chunks, *table["person_b"].chunks], table["person_a"].type)
    codes = both.combine_chunks().dictionary_encode()
    count = len(codes.dictionary)
    if count < 2:
        return None, "all pairs are of one person"
    index = codes.indices.to_numpy()
    return Persons(index[: table.num_rows], index[table.num_rows :], count), ""


def _failures(scores: pa.Table, ok: np.ndarray, labelled: np.ndarray, kind: np.ndarray) -> Failures:
    counts = scores["status"].filter(pa.array(~ok)).value_counts().to_pylist()
    by_status = sorted(((row["values"], row["counts"]) for row in counts), key=lambda item: (-item[1], item[0]))
    failed_kinds = np.bincount(kind[~ok & labelled], minlength=len(KINDS))
    return Failures(
        pairs=scores.num_rows,
        failed=int(np.count_nonzero(~ok)),
        unlabelled=int(np.count_nonzero(ok & ~labelled)),
        by_status=dict(by_status),
        by_kind=dict(zip(KINDS, failed_kinds.tolist(), strict=True)),
    )
