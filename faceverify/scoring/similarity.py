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

OK = "ok"
# A photo's state is 0 or the position of its Reason in this list.
STATES = (OK, *(reason.value for reason in Reason))
# Rows multiplied at a time: 2 x 2048 x 512 float32 is 8 MB and stays near the processor.
CHUNK = 2048

Take = Callable[[np.ndarray], np.ndarray]  # indices [P] -> unit vectors [P,D]


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
    numbers: tuple[np.ndarray, np.ndarray],
    take: Take,
    facts: PhotoFacts,
    threshold: float | None,
    chunk: int = CHUNK,
    scored_with: str | None = None,
) -> pa.Table:
    """Rows of `scores` for rows of `pairs`, one for one and in the same order.

    Args:
        pairs: tables.PAIRS + extra columns + `fault` (the Reason that forbids a pair, or null).
        numbers: of both photos of each, int64; -1 where a pair is forbidden.
        take: unit vectors of photo numbers.
        facts: states and labels of the photos.
        threshold: accepted = similarity >= threshold; None decides nothing.
        chunk: pairs multiplied at a time.
        scored_with: model and crop of the embeddings, see `faceverify.provenance`.

    Returns:
        The pairs' columns without fault; then similarity, accepted, status, scored_with.
    """
    a, b = numbers
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
    out = _labelled(pairs.drop_columns("fault"), a, b, facts)
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


def mark_states(states: np.ndarray, names: pa.Array, rejects: Iterable[pa.Table]) -> None:
    """Enter the reasons of rejected photos into `states` [N] uint8, in place; `names` [N] are large strings."""
    joined = pa.concat_tables(rejects)
    photo, reason = (joined[name].combine_chunks() for name in ("photo", "reason"))
    at = pc.index_in(photo.cast(pa.large_string()), value_set=names).to_numpy()
    states[at] = pc.index_in(reason, value_set=pa.array(STATES)).to_numpy()
