"""A shard's rows of the published tables: decisions, the cleaned photos, duplicates."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.cleaning.duplicates import DUPLICATES
from faceverify.cleaning.evidence import sentences, suggested_person
from faceverify.cleaning.reasons import Decision
from faceverify.cleaning.shard import Shard
from faceverify.cleaning.verdicts import CLEANING, Found, Verdicts, World

GOES_ON = (Decision.KEPT, Decision.MOVED)
ADDED = (pa.field("original_person", pa.string()), pa.field("provenance", pa.string(), nullable=False))


def photos_schema(given: pa.Schema) -> pa.Schema:
    """The schema of the cleaned view of a photos table."""
    kept = [field for field in given if field.name not in {added.name for added in ADDED}]
    return pa.schema([*kept, *ADDED])


def decision_rows(rows: Shard, found: Found, verdicts: Verdicts, world: World) -> pa.Table:
    """One row of tables.DECISIONS per photo of the shard."""
    suggested = [suggested_person(entry, world) for entry in found.entry.tolist()]
    columns = {
        "photo": rows.photos["photo"],
        "person": rows.photos["person"],
        "is_fake": pa.array(rows.fake),
        "decision": pa.array(verdicts.decision.tolist(), pa.string()),
        "new_person": pa.array(verdicts.goes_to, pa.string()),
        "suggested_person": pa.array(suggested, pa.string()),
        "reason": pa.array(verdicts.reason.tolist(), pa.string()),
        "evidence": pa.array(sentences(rows, found, verdicts, world), pa.string()),
        "component": pa.array(found.component, mask=found.component < 0),
        "similarity_own": _number(found.own),
        "similarity_suggested": _number(found.other),
        "decided_by": pa.array(verdicts.by, pa.string()),
    }
    return pa.table(columns, schema=tables.DECISIONS)


def photo_rows(rows: Shard, verdicts: Verdicts, world: World) -> pa.Table:
    """The photos that go on, under the person they go on under, and how they came there.

    A photo that moves goes into the split of its new person, for a person is in one split only. A table that has been
    cleaned before keeps what it says of the person a photo first came under.
    """
    on = np.flatnonzero(np.isin(verdicts.decision.astype(str), GOES_ON))
    photos = rows.photos.take(pa.array(on))
    first = photos["original_person" if "original_person" in photos.column_names else "person"]
    photos = photos.drop_columns([field.name for field in ADDED if field.name in photos.column_names])
    goes_to = pa.array([verdicts.goes_to[row] for row in on], pa.string())
    photos = photos.set_column(photos.schema.get_field_index("person"), photos.schema.field("person"), goes_to)
    known = pc.index_in(goes_to, world.names)  # not a person whom a reviewer has named again
    split = pc.if_else(pc.is_valid(known), world.splits.take(known), photos["split"].combine_chunks())
    photos = photos.set_column(photos.schema.get_field_index("split"), photos.schema.field("split"), split)
    added = (first, pa.array([_provenance(verdicts, row) for row in on.tolist()], pa.string()))
    for field, column in zip(ADDED, added, strict=True):
        photos = photos.append_column(field, column)
    return photos


def _provenance(verdicts: Verdicts, row: int) -> str:
    if verdicts.decision[row] == Decision.MOVED:
        return f"moved by {verdicts.by[row]}"
    return "kept" if verdicts.by[row] == CLEANING else f"kept by {verdicts.by[row]}"


def duplicate_rows(rows: Shard, near: pa.Table, world: World) -> pa.Table:
    """Photos of the shard that repeat another one: exactly (wherever that is), or nearly (within their person)."""
    persons = rows.photos["person"].to_pylist()
    at = {photo: row for row, photo in enumerate(rows.names)}
    found = []
    for row, photo in enumerate(rows.names):
        first = world.exact.first(photo)
        if first is not None:
            alike = float(rows.units[row] @ rows.units[at[first[0]]]) if first[0] in at else None
            found.append((photo, first[0], persons[row], first[1], "exact", alike))
    exact = {(photo, of) for photo, of, *_ in found}
    for a, b, similarity in zip(*(near[name].to_pylist() for name in ("first", "second", "similarity")), strict=True):
        one, other = rows.names[a], rows.names[b]
        if (other, one) not in exact and other not in dict(world.exact.others(one)):
            found.append((other, one, persons[b], persons[a], "near", similarity))
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(zip(*found, strict=True), DUPLICATES, strict=True)]
        if found
        else [pa.array([], field.type) for field in DUPLICATES],
        schema=DUPLICATES,
    )


def _number(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float32(), mask=np.isnan(values))


def counts(decisions: pa.Table) -> dict[str, int]:
    """How many photos of each decision, and of each reason ("review: no_embedding")."""
    totals: dict[str, int] = {}
    for row in decisions.group_by(["decision", "reason"]).aggregate([("photo", "count")]).to_pylist():
        name = f"{row['decision']}: {row['reason']}"
        totals[row["decision"]] = totals.get(row["decision"], 0) + row["photo_count"]
        totals[name] = row["photo_count"]
    return totals
