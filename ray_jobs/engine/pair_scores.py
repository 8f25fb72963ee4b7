"""Scoring pairs on Ray: shards of pairs against embeddings that a node shares, or that are spread over the cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.listing import pairs_table
from faceverify.errors import PlatformError
from faceverify.parts import text_piece, write_part
from faceverify.scoring.all_pairs import Tiles, alike, rows_of
from faceverify.scoring.csv_output import CsvConfig, csv_rows
from faceverify.scoring.numbering import Numbering, read_pairs_shard
from faceverify.scoring.photos import EmbeddedPart, embedded_parts, forensic_facts, load_units, photo_facts
from faceverify.scoring.plan import ScorePlan
from faceverify.scoring.similarity import CHUNK, PairDecision, PhotoFacts, Take, score_rows
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.shards import Shards, map_shards, ours

STAGE = "scores"
# Names repeat from pair to pair: kept as dictionaries they are neither unpacked nor hashed again.
DICTIONARIES = ("photo_a", "photo_b", "kind", "generator", "split", "person_a", "person_b")

BLOCKS = 16  # arrays at most that the embeddings of a node lie in: a row is looked for in each of them
FETCHED = 32_768  # pairs whose embeddings are asked for at a time when they are spread


@dataclass(frozen=True)
class PairJob:
    """What every task of a run has in common.

    embedded: whether photos without an embedding were
    embedded; if not (no photos were given), they are unknown.
    """

    work: Location
    plan: ScorePlan
    dim: int
    embedded: bool
    decision: PairDecision
    scored_with: str
    csv: CsvConfig


@dataclass(frozen=True)
class TileJob(PairJob):
    """The same where pairs are not listed: blocks of photos, each photo of one with each of the other.

    names: of all photos, by number; at_least: the similarity of the pairs that are kept, None = all.
    """

    tiles: Tiles
    names: pa.Array
    at_least: float | None


@dataclass(frozen=True)
class Blocks:
    """Where the embeddings are.

    holders: one array (in this process), references to arrays, or actors; starts: the place of each one's first row
    among all; places: the place of each photo's embedding, [N] int64, -1 if it has none; or a reference to it; spread:
    whether holders are actors.
    """

    holders: list[Any]
    starts: np.ndarray
    places: Any
    spread: bool


def run_pairs(
    job: PairJob, todo: list[int], cluster: Cluster, shared_bytes: int, rejects: list[Location], progress: Progress
) -> list[dict[str, Any]]:
    """Score the given shards of pairs, or tiles, with as many tasks at a time as there are CPUs.

    Args:
        job: what is scored.
        todo: numbers of shards or tiles.
        cluster: what Ray offers.
        shared_bytes: up to this size the embeddings are shared by the workers of a node.
        rejects: parts with the photos that failed.
        progress: counts the pairs.

    Returns:
        Which of Ray Data's operators ran.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    blocks = place_embeddings(job, cluster, min(shared_bytes, cluster.object_store_bytes // 2))
    facts = photo_facts(job.work, job.plan, rejects, (blocks.places < 0) & (not job.embedded))
    if job.decision.forensic_with:
        facts.forensic = forensic_facts(job.work, job.plan.photos, embedded_parts(job.work))
    blocks, known = replace(blocks, places=_shared(blocks.places, cluster)), _shared(facts, cluster)
    if isinstance(job, TileJob):
        return map_shards(
            Shards(partial(_tile, job), todo, "Pairs"), score_tile, (job, blocks, known), cluster, progress
        )
    numbering = _shared(Numbering.read(job.work / "numbers"), cluster)
    rows = partial(pairs_of, job.work, job.plan.shards_of_units)
    return map_shards(Shards(rows, todo, "Pairs"), score_shard, (job, blocks, known, numbering), cluster, progress)


def place_embeddings(job: PairJob, cluster: Cluster, shared_bytes: int) -> Blocks:
    """Have all embeddings loaded into the object store if they fit, else spread them over actors.

    Raises:
        PlatformError: the whole cluster has not enough memory for them.
    """
    plan = job.plan
    needed = plan.photos * job.dim * 4
    if needed > cluster.memory_bytes:
        have = f"{cluster.memory_bytes / 2**30:.1f} GiB of memory for workers"
        raise PlatformError(
            f"{plan.photos:,} embeddings need {needed / 2**30:.1f} GiB, the cluster has {have}; add nodes."
        )
    parts = embedded_parts(job.work)
    if cluster.here:
        units, numbers = load_units(job.work, job.dim, parts)
        return _blocks([units], [numbers], plan.photos, spread=False)
    import ray

    size, in_files = f"Embeddings: {needed / 2**30:.2f} GiB", sum(one.size for one in parts)
    if needed <= shared_bytes:
        print(f"{size}, shared by the workers of a node")
        groups = groups_of(parts, in_files / min(cluster.cpus, BLOCKS))
        load = ray.remote(num_returns=2, num_cpus=1, max_retries=5)(load_units)
        loaded = [load.remote(job.work, job.dim, group) for group in groups]
        holders, numbers = [one for one, _ in loaded], [two for _, two in loaded]
    else:
        groups = groups_of(parts, max(1, shared_bytes * in_files // needed))
        print(f"{size}, spread over {len(groups)} workers of the cluster")
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(EmbeddingBlock)
        memory = [sum(one.size for one in group) * needed // max(1, in_files) for group in groups]
        made = zip(memory, groups, strict=True)
        holders = [actor.options(memory=size).remote(job.work, job.dim, group) for size, group in made]
        numbers = [holder.numbers.remote() for holder in holders]
    try:
        return _blocks(holders, ray.get(numbers), plan.photos, spread=needed > shared_bytes)
    except ray.exceptions.RayError as error:
        raise ours(error) from None


def groups_of(parts: Sequence[EmbeddedPart], size: float) -> list[list[EmbeddedPart]]:
    """Consecutive parts in groups that end where they have `size` bytes; at least one group."""
    groups: list[list[EmbeddedPart]] = [[]]
    held = 0
    for one in parts:
        if held >= size:
            groups.append([])
            held = 0
        groups[-1].append(one)
        held += one.size
    return groups


def _blocks(holders: list[Any], numbers: list[np.ndarray], photos: int, spread: bool) -> Blocks:
    places = np.full(photos, -1)
    together = np.concatenate(numbers)
    places[together] = np.arange(len(together))
    starts = np.cumsum([0, *map(len, numbers)])
    return Blocks(holders, starts, places, spread)


class EmbeddingBlock:
    """An actor that holds the unit embeddings of some parts, and hands out rows of them."""

    def __init__(self, work: Location, dim: int, parts: Sequence[EmbeddedPart]) -> None:
        self._units, self._numbers = load_units(work, dim, parts)

    def numbers(self) -> np.ndarray:
        """The numbers of the photos, in order."""
        return self._numbers

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors [P,D] of rows [P] counted from the block's first one."""
        return self._units[rows]


def take_from_arrays(arrays: list[np.ndarray], starts: np.ndarray, places: np.ndarray) -> Take:
    """A `take` over embeddings in several arrays; of photos without one, zeros.

    Args:
        arrays: unit vectors, [R,D] each.
        starts: the place of each one's first row among all, and of the end.
        places: the place of each photo's embedding, -1 if it has none.
    """

    def take(numbers: np.ndarray) -> np.ndarray:
        at = places[numbers]
        out = np.empty((len(at), arrays[0].shape[1]), arrays[0].dtype)
        block = np.searchsorted(starts, at, "right") - 1
        for number, array in enumerate(arrays):
            rows = np.flatnonzero(block == number)
            out[rows] = array[at[rows] - starts[number]]
        out[at < 0] = 0
        return out

    return take


def take_from_actors(
    fetch: Callable[[dict[int, np.ndarray]], dict[int, np.ndarray]], starts: np.ndarray, places: np.ndarray, dim: int
) -> Take:
    """The same over blocks that are elsewhere; `fetch` maps block -> rows in it to block -> vectors."""

    def take(numbers: np.ndarray) -> np.ndarray:
        distinct, back = np.unique(places[numbers], return_inverse=True)
        block = np.searchsorted(starts, distinct, "right") - 1
        wanted = {int(b): distinct[block == b] - starts[b] for b in np.unique(block[distinct >= 0])}
        found = fetch(wanted)
        none = np.zeros((int((distinct < 0).sum()), dim), np.float32)  # -1, the first of the distinct ones
        return np.concatenate([none, *(found[b] for b in wanted)])[back]

    return take


def pairs_of(work: Location, shards_of_units: Sequence[int], shard: int) -> pa.Table:
    """The pairs of a shard; names stay dictionary-encoded."""
    return read_pairs_shard(work, shards_of_units, shard, DICTIONARIES)


def _tile(job: TileJob, tile: int) -> pa.Table:
    """The photos of a tile, as two ranges of numbers."""
    one, other = job.tiles.at(tile)
    return pa.table({"a": [[one.start, one.stop]], "b": [[other.start, other.stop]]})


def score_shard(
    job: PairJob, blocks: Blocks, facts: Any, numbering: Any, shard: int, pairs: pa.Table
) -> tuple[int, int]:
    """Score one shard of pairs and write its part; returns the number of pairs, none of them rejected."""
    numbers = _here(numbering).of(pairs)
    rows, chunk = pairs.drop_columns(["a", "b"]), FETCHED if blocks.spread else CHUNK
    scores = score_rows(rows, numbers, _taking(job, blocks), _here(facts), job.decision, chunk, job.scored_with)
    _write(job, shard, scores)
    return scores.num_rows, 0


def _write(job: PairJob, shard: int, scores: pa.Table) -> None:
    if job.csv.wanted:
        text_piece(job.work, STAGE, shard).write_bytes(csv_rows(scores, job.csv))
    write_part(job.work, STAGE, shard, scores)


def score_tile(job: TileJob, blocks: Blocks, facts: Any, tile: int, rows: pa.Table) -> tuple[int, int]:
    """Compare two blocks of photos and write the pairs that are kept; returns how many were compared."""
    take, numbers = _taking(job, blocks), (range(*rows["a"][0].as_py()), range(*rows["b"][0].as_py()))
    one, other = (take(np.arange(block.start, block.stop)) for block in numbers)
    within, known = rows_of(one, other, numbers), _here(facts)
    found = [_scored(job, within, known, a, b) for a, b in alike(one, other, numbers, job.at_least)]
    _write(job, tile, pa.concat_tables(found))
    return job.tiles.pairs_of(tile), 0


def _scored(job: TileJob, take: Take, facts: PhotoFacts, a: np.ndarray, b: np.ndarray) -> pa.Table:
    sound = (facts.states[a] == 0) & (facts.states[b] == 0)
    a, b = a[sound], b[sound]
    keys = [f"{one}-{other}" for one, other in zip(a.tolist(), b.tolist(), strict=True)]
    rows = pairs_table(keys, job.names.take(pa.array(a)), job.names.take(pa.array(b)))
    rows = rows.append_column("fault", pa.nulls(len(a), pa.string()))
    scores = score_rows(rows, (a, b), take, facts, job.decision, CHUNK, job.scored_with)
    return scores if job.at_least is None else scores.filter(pc.greater_equal(scores["similarity"], job.at_least))


def _shared(value: Any, cluster: Cluster) -> Any:
    """A reference to a value that all tasks need, or the value where this process does their work."""
    import ray

    return value if cluster.here else ray.put(value)


def _here(value: Any) -> Any:
    """What a reference stands for, without a copy of its arrays: they lie in the node's shared memory."""
    import ray

    return ray.get(value) if isinstance(value, ray.ObjectRef) else value


def _taking(job: PairJob, blocks: Blocks) -> Take:
    places = _here(blocks.places)
    if blocks.spread:
        return take_from_actors(lambda wanted: _fetch(blocks, wanted), blocks.starts, places, job.dim)
    return take_from_arrays([_here(one) for one in blocks.holders], blocks.starts, places)


def _fetch(blocks: Blocks, wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    import ray

    asked = [blocks.holders[block].take.remote(rows) for block, rows in wanted.items()]
    return dict(zip(wanted, ray.get(asked), strict=True))
