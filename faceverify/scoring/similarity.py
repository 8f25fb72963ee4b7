"""Embeddings and pair indices -> similarities.

A pair is two indices into the list of distinct photos, so that scoring is a look-up and a dot product. The similarity
is the cosine of the two embeddings, in [-1, 1].
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import Reason
from faceverify.vectors import unit

OK = "ok"
# A photo's state is 0 or the position of its Reason in this list.
STATES = (OK, *(reason.value for reason in Reason))
# Rows multiplied at a time: 2 x 2048 x 512 float32 is 8 MB and stays near the processor.
CHUNK = 2048

Take = Callable[[np.ndarray], np.ndarray]  # indices [P] -> unit vectors [P,D]


class PhotoIndex:
    """Numbers the distinct photos that a stream of pairs names, in order of first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def encode(self, names: pa.ChunkedArray | pa.Array) -> np.ndarray:
        """Numbers [N] int64 of the names; new names get new numbers; null becomes -1."""
        encoded = names.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.unify_dictionaries().combine_chunks()
            encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        numbers = self.numbers
        known = [numbers.setdefault(name, len(numbers)) for name in encoded.dictionary.to_pylist()]
        table = np.array([*known, -1], np.int64)
        return table[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


@dataclass
class PhotoFacts:
    """What scoring needs to know of each distinct photo besides its embedding; arrays of length N (photos).

    states: uint8 index into STATES. person, generator: string arrays or None; is_fake: boolean array or None.
    """

    states: np.ndarray
    person: pa.Array | None = None
    is_fake: pa.Array | None = None
    generator: pa.Array | None = None


def cosines(take: Take, a: np.ndarray, b: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
    """Cosines [P] float32 of the photo pairs with numbers a [P], b [P]; `take` gives `chunk` unit vectors at a time."""
    out = np.empty(len(a), np.float32)
    for start in range(0, len(a), chunk):
        part = slice(start, start + chunk)
        np.einsum("ij,ij->i", take(a[part]), take(b[part]), out=out[part])
    return np.clip(out, -1, 1, out=out)  # rounding may pass 1 by some 1e-7; nothing is clipped to [0, 1]


def score_rows(
    pairs: pa.Table,
    take: Take,
    facts: PhotoFacts,
    threshold: float | None,
    chunk: int = CHUNK,
    scored_with: str | None = None,
) -> pa.Table:
    """Rows of `scores` for rows of `pairs`, one for one and in the same order.

    Args:
        pairs: tables.PAIRS + extra columns + `a`, `b` (int64 photo numbers) + `fault` (the Reason that forbids
            a pair, whose numbers are -1, or null).
        take: unit vectors of photo numbers.
        facts: states and labels of the photos.
        threshold: accepted = similarity >= threshold; None decides nothing.
        chunk: pairs multiplied at a time.
        scored_with: model and crop of the embeddings, see `faceverify.provenance`.

    Returns:
        The pairs' columns without a, b, fault; then similarity, accepted, status, scored_with.
    """
    a, b = (pairs[name].to_numpy() for name in ("a", "b"))
    state = np.zeros(len(a), np.uint8)
    sound = pairs["fault"].is_null().to_numpy()  # the others have no photo numbers
    state_a, state_b = facts.states[a[sound]], facts.states[b[sound]]
    state[sound] = np.where(state_a != 0, state_a, state_b)
    usable = sound & (state == 0)
    similarity = np.full(len(a), np.nan, np.float32)
    similarity[usable] = cosines(take, a[usable], b[usable], chunk)
    blank = ~usable
    status = pc.coalesce(pairs["fault"], pa.array(STATES).take(pa.array(state)))
    accepted = pa.nulls(len(a), pa.bool_()) if threshold is None else pa.array(similarity >= threshold, mask=blank)
    out = _labelled(pairs.drop_columns(["a", "b", "fault"]), a, b, facts)
    out = out.append_column("similarity", pa.array(similarity, mask=blank))
    out = out.append_column("accepted", accepted).append_column("status", status)
    return out.append_column("scored_with", pa.array([scored_with] * len(a), pa.string()))


def _labelled(pairs: pa.Table, a: np.ndarray, b: np.ndarray, facts: PhotoFacts) -> pa.Table:
    """Fill what the list left open from the photos' own labels: persons; label, kind, generator where all are null."""
    if facts.person is None:
        return pairs
    index_a, index_b = pa.array(a, mask=a < 0), pa.array(b, mask=b < 0)
    person_a, person_b = facts.person.take(index_a), facts.person.take(index_b)
    found = {"person_a": person_a, "person_b": person_b}
    if facts.is_fake is not None and pairs["label"].null_count == pairs["kind"].null_count == pairs.num_rows:
        fake_a, fake_b = (pc.fill_null(facts.is_fake.take(i), False) for i in (index_a, index_b))
        fake = pc.or_(fake_a, fake_b)
        same = pc.equal(person_a, person_b)
        found["label"] = pc.and_(same, pc.invert(fake)).cast(pa.int8())
        found["kind"] = pc.if_else(fake, "deepfake", pc.if_else(same, "genuine", "impostor"))
        if facts.generator is not None:
            found["generator"] = pc.coalesce(*(facts.generator.take(i) for i in (index_a, index_b)))
    for name, values in found.items():
        have = pairs[name]
        filled = values if have.null_count == len(have) else pc.coalesce(have.cast(values.type), values)
        pairs = pairs.set_column(
            pairs.schema.get_field_index(name), pairs.schema.field(name), filled.cast(pairs.schema.field(name).type)
        )
    return pairs


def fill_matrix(matrix: np.ndarray, rows: np.ndarray, table: pa.Table) -> None:
    """Put the unit embeddings of an embeddings table at `rows` of `matrix` [N,D], in place."""
    column = table["embedding"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    matrix[rows] = unit(column.flatten().to_numpy().reshape(len(rows), matrix.shape[1]))


def mark_states(states: np.ndarray, numbers: dict[str, int], rejects: Iterable[pa.Table]) -> None:
    """Enter the reasons of rejected photos into `states`, in place."""
    code = {name: i for i, name in enumerate(STATES)}
    for table in rejects:
        for photo, reason in zip(table["photo"].to_pylist(), table["reason"].to_pylist(), strict=True):
            states[numbers[photo]] = code[reason]
