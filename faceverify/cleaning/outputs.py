"""What is published about a shard: decisions with a sentence of evidence each, the cleaned photos, duplicates."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.cleaning.decide import CLEANING, CleaningContext, PhotoDecisions
from faceverify.cleaning.duplicates import DUPLICATES
from faceverify.cleaning.plan import PhotoShard
from faceverify.cleaning.rule import CleaningReason, Decision, PhotoEvidence

GOES_ON = (Decision.KEPT, Decision.MOVED)
ADDED = (pa.field("original_person", pa.string()), pa.field("provenance", pa.string(), nullable=False))

# near: "cosine 0.85 to <suggested person>"; beside: the same after a semicolon, or that nobody is near.
_TEXTS = {
    CleaningReason.LINKED: "cosine {own:.2f} to the other photos of {name}",
    CleaningReason.LIKE_THE_MEAN: "linked to no photo of the main group, but cosine {own:.2f} to its mean{beside}",
    CleaningReason.WEAK_BUT_UNCLAIMED: "only cosine {own:.2f} to {name}, but nobody else reaches {claim:.2f}{beside}",
    CleaningReason.ONLY_PHOTO: "the only photo of {name}{beside}",
    CleaningReason.NEARER_TO_OTHER: "{near}, {versus_own}",
    CleaningReason.UNLIKE_OWN: "only {versus_own}{beside} (beyond chance: {claim:.2f})",
    CleaningReason.SECOND_GROUP: "like further photos here, but only {versus_own}: a second person?{beside}",
    CleaningReason.NO_MAJORITY: "the photos of {name} fall apart into equal groups{beside}",
    CleaningReason.ONLY_PHOTO_LIKE_OTHER: "the only photo of {name}{beside}",
    CleaningReason.FAKE_LIKE_CLAIMED: "cosine {best:.2f} to the nearest kept photo of {name}, threshold {link:.2f}",
    CleaningReason.FAKE_UNLIKE_CLAIMED: "cosine {best:.2f} to the nearest kept photo of {name}, threshold {link:.2f}",
    CleaningReason.FAKE_WITHOUT_REAL: "no real photo of {name} was kept to compare the fake with",
    CleaningReason.NO_EMBEDDING: "no embedding: an earlier job could not use the photo, its rejects say why",
    CleaningReason.NO_PERSON: "the table names no person{beside}",
    CleaningReason.EXACT_DUPLICATE: "the same bytes as {spare_of}",
    CleaningReason.REVIEWER: "decided by {by}{beside}",
}


def photos_schema(given: pa.Schema) -> pa.Schema:
    """The schema of the cleaned view of a photos table."""
    kept = [field for field in given if field.name not in {added.name for added in ADDED}]
    return pa.schema([*kept, *ADDED])


def decision_rows(
    rows: PhotoShard, evidence: PhotoEvidence, decisions: PhotoDecisions, context: CleaningContext
) -> pa.Table:
    """One row of tables.DECISIONS per photo of the shard."""
    suggested = [suggested_person(nearest, context) for nearest in evidence.nearest.tolist()]
    columns = {
        "photo": rows.photos["photo"],
        "person": rows.photos["person"],
        "is_fake": pa.array(rows.fake),
        "decision": pa.array(decisions.decision.tolist(), pa.string()),
        "new_person": pa.array(decisions.goes_to, pa.string()),
        "suggested_person": pa.array(suggested, pa.string()),
        "reason": pa.array(decisions.reason.tolist(), pa.string()),
        "evidence": pa.array(sentences(rows, evidence, decisions, context), pa.string()),
        "component": pa.array(evidence.component, mask=evidence.component < 0),
        "similarity_own": _number(evidence.own),
        "similarity_suggested": _number(evidence.other),
        "decided_by": pa.array(decisions.by, pa.string()),
    }
    return pa.table(columns, schema=tables.DECISIONS)


def photo_rows(rows: PhotoShard, decisions: PhotoDecisions, context: CleaningContext) -> pa.Table:
    """The rows of the photos that go on, with the person under whom they do and how that was decided.

    A photo that moves goes into the split of its new person, for a person is in one split only. A table that has been
    cleaned before keeps what it says of the person a photo first came under.
    """
    on = np.flatnonzero(np.isin(decisions.decision.astype(str), GOES_ON))
    photos = rows.photos.take(pa.array(on))
    first = photos["original_person" if "original_person" in photos.column_names else "person"]
    photos = photos.drop_columns([field.name for field in ADDED if field.name in photos.column_names])
    goes_to = pa.array([decisions.goes_to[row] for row in on], pa.string())
    photos = photos.set_column(photos.schema.get_field_index("person"), photos.schema.field("person"), goes_to)
    known = pc.index_in(goes_to, context.names)  # not a person whom a reviewer has named again
    split = pc.if_else(pc.is_valid(known), context.splits.take(known), photos["split"].combine_chunks())
    photos = photos.set_column(photos.schema.get_field_index("split"), photos.schema.field("split"), split)
    added = (first, pa.array([_provenance(decisions, row) for row in on.tolist()], pa.string()))
    for field, column in zip(ADDED, added, strict=True):
        photos = photos.append_column(field, column)
    return photos


def _provenance(decisions: PhotoDecisions, row: int) -> str:
    if decisions.decision[row] == Decision.MOVED:
        return f"moved by {decisions.by[row]}"
    return "kept" if decisions.by[row] == CLEANING else f"kept by {decisions.by[row]}"


def duplicate_rows(rows: PhotoShard, near: pa.Table, context: CleaningContext) -> pa.Table:
    """Photos of the shard that repeat another one: exactly (wherever that is), or nearly (within their person)."""
    persons = rows.photos["person"].to_pylist()
    at = {photo: row for row, photo in enumerate(rows.names)}
    repeats = []
    for row, photo in enumerate(rows.names):
        first = context.exact.first(photo)
        if first is not None:
            alike = float(rows.units[row] @ rows.units[at[first[0]]]) if first[0] in at else None
            repeats.append((photo, first[0], persons[row], first[1], "exact", alike))
    exact = {(photo, of) for photo, of, *_ in repeats}
    for a, b, similarity in zip(*(near[name].to_pylist() for name in ("first", "second", "similarity")), strict=True):
        one, other = rows.names[a], rows.names[b]
        if (other, one) not in exact and other not in dict(context.exact.others(one)):
            repeats.append((other, one, persons[b], persons[a], "near", similarity))
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*repeats, strict=True), DUPLICATES, strict=True)]
        if repeats
        else [pa.array([], field.type) for field in DUPLICATES],
        schema=DUPLICATES,
    )


def _number(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float32(), mask=np.isnan(values))


def sentences(
    rows: PhotoShard, evidence: PhotoEvidence, decisions: PhotoDecisions, context: CleaningContext
) -> list[str]:
    """A sentence per photo of a shard, in order, that says with numbers what its decision rests on."""
    names = [context.person(number) for number in range(int(rows.number[0]), int(rows.number[-1]) + 1)]
    own, other, best = (column.tolist() for column in (evidence.own, evidence.other, decisions.fake_best))
    texts = []
    for row, (number, nearest) in enumerate(zip(rows.number.tolist(), evidence.nearest.tolist(), strict=True)):
        name = names[number - int(rows.number[0])] or "nobody"
        suggested = suggested_person(nearest, context)
        near = f"cosine {other[row]:.2f} to {suggested}" if suggested else ""
        texts.append(
            _TEXTS[decisions.reason[row]].format(
                name=name,
                own=own[row],
                versus_own=_versus_own(own[row], name),
                near=near,
                beside=f"; {near}" if near else "; nobody else is near",
                best=best[row],
                link=context.thresholds.link,
                claim=context.thresholds.claim,
                spare_of=decisions.spare_of[row],
                by=decisions.by[row],
            )
        )
    return texts


def suggested_person(nearest: int, context: CleaningContext) -> str | None:
    """The person whose photo it probably is: the one of the nearest centroid `nearest` (-1 = none)."""
    return context.person(int(context.centroids.person[nearest])) if nearest >= 0 else None


def _versus_own(own: float, name: str) -> str:
    return f"{name} has no photos to compare with" if math.isnan(own) else f"{own:.2f} to the other photos of {name}"
