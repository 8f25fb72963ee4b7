"""The rounds of cleaning, as functions of one unit of work; each writes its parts and can be repeated.

components               per shard: graph, main component, similarity to it, centroids, near-duplicates
same_person_candidates   per block of centroids: which people are similar to each other
search                   per shard: the nearest other person of each doubtful photo; hashes of likely duplicates
decisions                per shard: decisions, cleaned photos, duplicates and cases
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceverify.cleaning.cases import SamePersonCandidates, case_rows
from faceverify.cleaning.centroids import (
    PersonCentroids,
    PersonRelations,
    make_centroids,
    nearest_other,
    similar_pairs,
)
from faceverify.cleaning.decide import CleaningContext, decide_photos, needs_no_suggestion
from faceverify.cleaning.duplicates import hash_file, signatures
from faceverify.cleaning.linking import (
    MainComponents,
    find_main_components,
    link,
    own_similarity,
    settle_ties,
)
from faceverify.cleaning.outputs import decision_rows, duplicate_rows, photo_rows
from faceverify.cleaning.plan import CleanPlan, PhotoShard, read_shard
from faceverify.cleaning.rule import PhotoEvidence
from faceverify.cleaning.thresholds import NEAR_DUPLICATE, Thresholds
from faceverify.parts import part, read_part, write_part
from faceverify.provenance import hash_names
from faceverify.storage import Location

COMPONENTS, CENTROIDS, NEAR_DUPLICATES = "components", "centroids", "near_duplicates"
CANDIDATES, SEARCH = "same_person_candidates", "search"
DECISIONS, CLEANED, CASES, DUPLICATES = "decisions", "cleaned", "cases", "duplicates"
CENTROIDS_PER_BLOCK = 4096  # in one unit of work of the round CANDIDATES
SURE_SHARE = 0.75  # of the photos in main components, those most like it are not searched: they are beyond doubt
CHANCE_SAMPLE = 20_000  # photos, of those beyond doubt too, that show how near a stranger comes by chance


@dataclass(frozen=True)
class RoundInputs:
    """The inputs that all rounds of a run share."""

    work: Location
    plan: CleanPlan
    thresholds: Thresholds


@dataclass(frozen=True)
class SearchInputs:
    """The further inputs of the round SEARCH.

    sure: `own` from which on a photo in a main component is not searched;
    signatures: [S] int64 sorted, those that occur more than once.
    """

    relations: PersonRelations
    sure: float
    signatures: np.ndarray


def find_components(inputs: RoundInputs, shard: int) -> tuple[int, int]:
    """Do the round COMPONENTS for a shard; returns the number of its photos, and 0 rejects."""
    rows = read_shard(inputs.work, shard, inputs.plan.people, inputs.plan.dim)
    units, number = rows.units[rows.real], rows.number[rows.real]
    links = link(units, number, inputs.thresholds.link, NEAR_DUPLICATE)
    components = find_main_components(units, number, links.component, inputs.thresholds)
    names, uris = (rows.photos[name].take(pa.array(rows.real)) for name in ("photo", "uri"))
    centroids = make_centroids(units, number, components, names.to_pylist(), uris.to_pylist())
    write_part(inputs.work, CENTROIDS, shard, centroids.to_table())
    first, second = (pa.array(rows.real[links.near[:, side]]) for side in (0, 1))
    near = pa.table({"first": first, "second": second, "similarity": links.near_cosine})
    write_part(inputs.work, NEAR_DUPLICATES, shard, near)
    write_part(inputs.work, COMPONENTS, shard, _component_rows(rows, components, links.component))
    return len(rows.number), 0


def _component_rows(rows: PhotoShard, found: MainComponents, linked: np.ndarray) -> pa.Table:
    """One row per photo; `component` -1 and `own` NaN where it belongs to no graph."""
    count = len(rows.number)
    component, own = np.full(count, -1, np.int32), np.full(count, np.nan, np.float32)
    tied, links = np.zeros(count, bool), np.full(count, -1, np.int64)
    component[rows.real], own[rows.real], tied[rows.real] = found.component, found.own, found.tied
    links[rows.real] = linked
    columns = {"component": component, "own": own, "tied": tied, "linked": links}
    return pa.table(columns | {"signature": signatures(rows.units, rows.photos["bytes_size"])})


def find_candidates(inputs: RoundInputs, centroids: PersonCentroids, block: int) -> tuple[int, int]:
    """Do the round CANDIDATES for a block of centroids against all later ones; returns how many, and 0 rejects."""
    rows = range(block * CENTROIDS_PER_BLOCK, min((block + 1) * CENTROIDS_PER_BLOCK, len(centroids)))
    found = zip(*similar_pairs(centroids, rows, inputs.thresholds.link), strict=True)
    a, b, similarity = (np.concatenate(column) for column in found)
    write_part(inputs.work, CANDIDATES, block, pa.table({"a": a, "b": b, "similarity": similarity}))
    return len(rows), 0


def search_photos(inputs: RoundInputs, search: SearchInputs, shard: int) -> tuple[int, int]:
    """Do the round SEARCH for a shard; returns the number of its photos, and 0 rejects."""
    rows = read_shard(inputs.work, shard, inputs.plan.people, inputs.plan.dim)
    found = read_part(part(inputs.work, COMPONENTS, shard))
    components = _settled(rows, found, search.relations)
    sampled = hash_names(rows.photos["photo"]) < np.uint64(
        min(CHANCE_SAMPLE / inputs.plan.photos, 1.0) * (2**64 - 1025)
    )
    clear = (components.component == 0) & (components.own >= np.float32(inputs.thresholds.link))
    doubtful = ~clear | (components.own < np.float32(search.sure))
    asked = np.flatnonzero(rows.embedded & ~rows.fake & (doubtful | sampled))
    centroids, aliases = search.relations.centroids, search.relations.aliases
    nearest, other = np.full(len(rows.number), -1), np.full(len(rows.number), np.nan, np.float32)
    nearest[asked], other[asked] = nearest_other(rows.units[asked], rows.number[asked], centroids, aliases)
    columns = {"component": components.component, "own": components.own, "tied": components.tied}
    columns |= {"linked": found["linked"].to_numpy(), "nearest": nearest, "other": other, "sampled": sampled & clear}
    hashes = _hashes(rows, np.isin(found["signature"].to_numpy(), search.signatures))
    write_part(inputs.work, SEARCH, shard, pa.table(columns | {"sha256": hashes}))
    return len(rows.number), 0


def _hashes(rows: PhotoShard, candidates: np.ndarray) -> pa.Array:
    hashes: list[str | None] = [None] * len(candidates)
    for row in np.flatnonzero(candidates):
        hashes[row] = hash_file(rows.photos["uri"][int(row)].as_py())
    return pa.array(hashes, pa.string())


def decide_shard(
    inputs: RoundInputs, context: CleaningContext, candidates: SamePersonCandidates, shard: int
) -> tuple[int, int]:
    """Do the round DECISIONS for a shard, decisions last; returns the number of its photos, and 0 rejects."""
    rows = read_shard(inputs.work, shard, inputs.plan.people, inputs.plan.dim)
    evidence = PhotoEvidence.from_table(read_part(part(inputs.work, SEARCH, shard)))
    decisions = decide_photos(rows, evidence, context)
    evidence = evidence.without_suggestions(needs_no_suggestion(evidence, decisions, inputs.thresholds.link))
    near = read_part(part(inputs.work, NEAR_DUPLICATES, shard))
    write_part(inputs.work, CLEANED, shard, photo_rows(rows, decisions, context))
    write_part(inputs.work, CASES, shard, case_rows(rows, evidence, decisions, context, candidates))
    write_part(inputs.work, DUPLICATES, shard, duplicate_rows(rows, near, context))
    write_part(inputs.work, DECISIONS, shard, decision_rows(rows, evidence, decisions, context))
    return len(rows.number), 0


def _settled(rows: PhotoShard, found: pa.Table, relations: PersonRelations) -> MainComponents:
    """Components of all photos of a shard (-1 = in no graph) after ties are settled across people."""
    component, own, tied = (found[name].to_numpy() for name in ("component", "own", "tied"))
    real = rows.real
    before = MainComponents(component[real], own[real], tied[real])
    after = settle_ties(before, rows.number[real], relations.settled)
    component, own, tied = component.copy(), own.copy(), tied.copy()
    component[real], tied[real] = after.component, after.tied
    if (changed := before.tied & ~after.tied).any():
        units, number = rows.units[real[changed]], rows.number[real[changed]]
        own[real[changed]] = own_similarity(units, number, after.component[changed] == 0)
    return MainComponents(component, own, tied)
