"""The rounds of cleaning that shards go through before anything is decided; each writes its parts and can be repeated.

components   per shard: graph, main component, likeness to it, the means by which others will know these people
kin          per block of means: which people are near to each other
search       per shard: the nearest other person of each photo that may be a stray; hashes of likely duplicates
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from faceverify.cleaning import search as across
from faceverify.cleaning.bank import Bank, make_bank
from faceverify.cleaning.cores import Cores, find_cores, own_similarity
from faceverify.cleaning.duplicates import hash_file, signatures
from faceverify.cleaning.linking import link
from faceverify.cleaning.plan import CleanPlan
from faceverify.cleaning.resolve import Relations
from faceverify.cleaning.rule import settle
from faceverify.cleaning.shard import Shard, read_shard
from faceverify.cleaning.thresholds import NEAR_DUPLICATE, Thresholds
from faceverify.parts import part, read_part, write_part
from faceverify.provenance import hash_names
from faceverify.storage import Location

COMPONENTS, MEANS, NEAR, KIN, SEARCH = "components", "means", "near", "kin", "search"
ENTRIES_PER_KIN = 4096  # rows of the bank in one unit of work
SURE_SHARE = 0.75  # of the photos in main components, those most like it are not searched: they are beyond doubt
CHANCE_SAMPLE = 20_000  # photos, of those beyond doubt too, that tell how near a stranger comes by chance


@dataclass(frozen=True)
class CleanJob:
    """What every round of a run has in common."""

    work: Location
    plan: CleanPlan
    lines: Thresholds


@dataclass(frozen=True)
class SearchJob:
    """What the search needs besides.

    sure: `own` from which on a photo in a main component is not searched;
    signatures: [S] int64 sorted, those that occur more than once.
    """

    relations: Relations
    sure: float
    signatures: np.ndarray


def find_components(job: CleanJob, shard: int) -> tuple[int, int]:
    """The round `components`; returns the photos, none of them rejected."""
    rows = read_shard(job.work, shard, job.plan.people, job.plan.dim)
    units, number = rows.units[rows.real], rows.number[rows.real]
    links = link(units, number, job.lines.link, NEAR_DUPLICATE)
    cores = find_cores(units, number, links.component, job.lines)
    names, uris = (rows.photos[name].take(pa.array(rows.real)) for name in ("photo", "uri"))
    write_part(job.work, MEANS, shard, make_bank(units, number, cores, names.to_pylist(), uris.to_pylist()).to_table())
    first, second = (pa.array(rows.real[links.near[:, side]]) for side in (0, 1))
    write_part(job.work, NEAR, shard, pa.table({"first": first, "second": second, "similarity": links.near_cosine}))
    write_part(job.work, COMPONENTS, shard, _component_rows(rows, cores, links.component))
    return len(rows.number), 0


def _component_rows(rows: Shard, cores: Cores, linked: np.ndarray) -> pa.Table:
    """One row per photo; `component` -1 and `own` NaN where it belongs to no graph."""
    count = len(rows.number)
    component, own = np.full(count, -1, np.int32), np.full(count, np.nan, np.float32)
    tied, links = np.zeros(count, bool), np.full(count, -1, np.int64)
    component[rows.real], own[rows.real], tied[rows.real] = cores.component, cores.own, cores.tied
    links[rows.real] = linked
    columns = {"component": component, "own": own, "tied": tied, "linked": links}
    return pa.table(columns | {"signature": signatures(rows.units, rows.photos["bytes_size"])})


def compare_means(job: CleanJob, bank: Bank, block: int) -> tuple[int, int]:
    """The round `kin`: one block of entries against all later ones; returns the entries compared."""
    rows = range(block * ENTRIES_PER_KIN, min((block + 1) * ENTRIES_PER_KIN, len(bank)))
    found = zip(*across.near_entries(bank, rows, job.lines.link), strict=True)
    a, b, likeness = (np.concatenate(column) for column in found)
    write_part(job.work, KIN, block, pa.table({"a": a, "b": b, "likeness": likeness}))
    return len(rows), 0


def search_photos(job: CleanJob, wanted: SearchJob, shard: int) -> tuple[int, int]:
    """The round `search`; returns the photos, none of them rejected."""
    rows = read_shard(job.work, shard, job.plan.people, job.plan.dim)
    found = read_part(part(job.work, COMPONENTS, shard))
    cores = _settled(rows, found, wanted.relations)
    sampled = hash_names(rows.photos["photo"]) < np.uint64(min(CHANCE_SAMPLE / job.plan.photos, 1.0) * (2**64 - 1025))
    clear = (cores.component == 0) & (cores.own >= np.float32(job.lines.link))
    doubtful = ~clear | (cores.own < np.float32(wanted.sure))
    asked = np.flatnonzero(rows.embedded & ~rows.fake & (doubtful | sampled))
    bank, aliases = wanted.relations.bank, wanted.relations.aliases
    entry, other = np.full(len(rows.number), -1), np.full(len(rows.number), np.nan, np.float32)
    entry[asked], other[asked] = across.nearest_other(rows.units[asked], rows.number[asked], bank, aliases)
    columns = {"component": cores.component, "own": cores.own, "tied": cores.tied, "linked": found["linked"].to_numpy()}
    columns |= {"entry": entry, "other": other, "sampled": sampled & clear}
    hashes = _hashes(rows, np.isin(found["signature"].to_numpy(), wanted.signatures))
    write_part(job.work, SEARCH, shard, pa.table(columns | {"sha256": hashes}))
    return len(rows.number), 0


def _hashes(rows: Shard, candidates: np.ndarray) -> pa.Array:
    hashes: list[str | None] = [None] * len(candidates)
    for row in np.flatnonzero(candidates):
        hashes[row] = hash_file(rows.photos["uri"][int(row)].as_py())
    return pa.array(hashes, pa.string())


def _settled(rows: Shard, found: pa.Table, relations: Relations) -> Cores:
    """Components of all photos of a shard (-1 = in no graph) after ties are settled across people."""
    component, own, tied = (found[name].to_numpy() for name in ("component", "own", "tied"))
    real = rows.real
    before = Cores(component[real], own[real], tied[real])
    after = settle(before, rows.number[real], relations.chosen)
    component, own, tied = component.copy(), own.copy(), tied.copy()
    component[real], tied[real] = after.component, after.tied
    if (changed := before.tied & ~after.tied).any():
        units, number = rows.units[real[changed]], rows.number[real[changed]]
        own[real[changed]] = own_similarity(units, number, after.component[changed] == 0)
    return Cores(component, own, tied)
