"""Embeddings and pair indices -> similarities.

A pair is two indices into the list of distinct photos, so that scoring is a look-up and a dot product. The similarity
is the cosine of the two embeddings, in [-1, 1].
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.errors import Reason
from faceverify.forensics.thresholds import ForensicThresholds

OK = "ok"
# A photo's state is 0 or the position of its Reason in this list.
STATES = (OK, *(reason.value for reason in Reason))
# Rows multiplied at a time: 2 x 2048 x 512 float32 is 8 MB and stays near the processor.
CHUNK = 2048

Take = Callable[[np.ndarray], np.ndarray]  # indices [P] -> unit vectors [P,D]


@dataclass
class ForensicFacts:
    """Forensic scores [N] float32 of the distinct photos and eye distances [N] in their pixels; NaN = not known."""

    scores: np.ndarray
    eyes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class PairDecision:
    """When a pair is accepted: if its similarity reaches the threshold, and neither photo counts as manipulated.

    Args:
        threshold: of the similarity; None decides nothing.
        forensic: thresholds of the forensic scores; None = these decide nothing.
        too_small: what a pair does of which a photo is not judged, because it is too small or has no score: the
            similarity alone decides, or it is refused.
        forensic_with: digest of the forensic model that scored the photos; empty = none did.
    """

    threshold: float | None = None
    forensic: ForensicThresholds | None = None
    too_small: Literal["similarity", "refuse"] = "similarity"
    forensic_with: str = ""


@dataclass
class PhotoFacts:
    """What scoring needs to know of each distinct photo besides its embedding; arrays of length N (photos).

    states: uint8 index into STATES. person, generator: string arrays or None; is_fake: boolean array or None; forensic:
    scores of a forensic model, if there is one.
    """

    states: np.ndarray
    person: pa.Array | None = None
    is_fake: pa.Array | None = None
    generator: pa.Array | None = None
    forensic: ForensicFacts | None = None


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
    decision: PairDecision,
    chunk: int = CHUNK,
    scored_with: str | None = None,
) -> pa.Table:
    """Rows of `scores` for rows of `pairs`, one for one and in the same order.

    Args:
        pairs: tables.PAIRS + extra columns + `fault` (the Reason that forbids a pair, or null).
        numbers: of both photos of each, int64; -1 where a pair is forbidden.
        take: unit vectors of photo numbers.
        facts: states and labels of the photos.
        decision: when a pair is accepted.
        chunk: pairs multiplied at a time.
        scored_with: model and crop of the embeddings, see `faceverify.provenance`.

    Returns:
        The pairs' columns without fault; then similarity, accepted, status, scored_with; where photos have forensic
        scores, also the columns of tables.FORENSIC_SCORES.
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
    accepted, forensic = _decided(similarity, blank, a, b, facts, decision)
    out = _labelled(pairs.drop_columns("fault"), a, b, facts)
    out = out.append_column("similarity", pa.array(similarity, mask=blank))
    out = out.append_column("accepted", accepted).append_column("status", status)
    out = out.append_column("scored_with", pa.array([scored_with] * len(a), pa.string()))
    for name, values in forensic.items():
        out = out.append_column(tables.FORENSIC_SCORES.field(name), values)
    return out


def _decided(
    similarity: np.ndarray, blank: np.ndarray, a: np.ndarray, b: np.ndarray, facts: PhotoFacts, decision: PairDecision
) -> tuple[pa.Array, dict[str, pa.Array]]:
    """The column `accepted`, null where `blank` says that there is no similarity, and the forensic columns."""
    nothing = pa.nulls(len(a), pa.bool_())
    near = None if decision.threshold is None else similarity >= decision.threshold
    known = facts.forensic
    if known is None:
        return (nothing if near is None else pa.array(near, mask=blank)), {}
    columns, manipulated = dict[str, pa.Array](), np.zeros(len(a), bool)
    unseen = {"a": np.zeros(len(a), bool), "b": np.zeros(len(a), bool)}
    for side, numbers in (("a", a), ("b", b)):
        at = np.maximum(numbers, 0)  # of a forbidden pair, which has no photos
        scores, eyes = (np.where(blank, np.nan, values[at]) for values in (known.scores, known.eyes))
        columns |= {f"forensic_{side}": pa.array(scores, mask=np.isnan(scores))}
        columns |= {f"eyes_{side}": pa.array(eyes, mask=np.isnan(eyes))}
        if decision.forensic is not None:
            found, seen = decision.forensic.judge(scores, eyes)
            manipulated, unseen[side] = manipulated | found, ~seen
    ordered = {name: columns[name] for name in ("forensic_a", "forensic_b", "eyes_a", "eyes_b")}
    ordered["forensic_with"] = pa.repeat(decision.forensic_with, len(a))
    ordered["refused_for"] = pa.nulls(len(a), pa.string())
    which = unseen["a"] + 2 * unseen["b"].astype(np.int8) - 1
    ordered["not_judged"] = pa.array(_WHICH, pa.string()).take(pa.array(which, mask=blank | (which < 0)))
    if near is None:
        return nothing, ordered
    unjudged = (which >= 0) & (decision.too_small == "refuse")
    why = np.select([~near & manipulated, ~near, manipulated, unjudged], range(len(_WHY)), -1)
    ordered["refused_for"] = pa.array(_WHY, pa.string()).take(pa.array(why, mask=blank | (why < 0)))
    return pa.array(why < 0, mask=blank), ordered


_WHY = ("both", "similarity", "forensic", "too_small")
_WHICH = ("a", "b", "both")


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
