"""Scoring pairs on Ray: shards of pairs against embeddings that a node shares, or that are spread over the cluster."""

from collections.abc import Callable
from dataclasses import dataclass
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
from faceverify.scoring.photos import load_units
from faceverify.scoring.plan import ScorePlan
from faceverify.scoring.similarity import CHUNK, PhotoFacts, Take, score_rows
from faceverify.shards import read_shard
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.shards import Shards, map_shards

STAGE = "scores"
# Names repeat from pair to pair: kept as dictionaries they are neither unpacked nor hashed again.
DICTIONARIES = ("photo_a", "photo_b", "kind", "generator", "split", "person_a", "person_b")

FETCHED = 32_768  # pairs whose embeddings are asked for at a time when they are spread


@dataclass(frozen=True)
class PairJob:
    """What every task of a run has in common."""

    work: Location
    plan: ScorePlan
    dim: int
    facts: PhotoFacts
    threshold: float | None
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
    """Where the embeddings are: in one array (of the node, or of this process), or in actors of `rows_each` photos (0 =
    one array)."""

    holders: list[Any]
    rows_each: int


def run_pairs(
    job: PairJob, todo: list[int], cluster: Cluster, shared_bytes: int, progress: Progress
) -> list[dict[str, Any]]:
    """Score the given shards of pairs, or tiles, with as many tasks at a time as there are CPUs.

    Args:
        job: what is scored.
        todo: numbers of shards or tiles.
        cluster: what Ray offers.
        shared_bytes: up to this size the embeddings are shared by the workers of a node.
        progress: counts the pairs.

    Returns:
        Which of Ray Data's operators ran.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    blocks = place_embeddings(job, cluster, min(shared_bytes, cluster.object_store_bytes // 2))
    work = score_tile if isinstance(job, TileJob) else score_shard
    rows = partial(_tile, job) if isinstance(job, TileJob) else partial(_pairs, job.work)
    return map_shards(Shards(rows, todo, "Pairs"), work, (job, blocks), cluster, progress)


def place_embeddings(job: PairJob, cluster: Cluster, shared_bytes: int) -> Blocks:
    """Put all embeddings into the object store if they fit, else spread them over actors.

    Raises:
        PlatformError: the whole cluster has not enough memory for them.
    """
    import ray

    plan, per_shard = job.plan, job.plan.rows_per_photo_shard * job.dim * 4
    needed = plan.photos * job.dim * 4
    if needed > cluster.memory_bytes:
        have = f"{cluster.memory_bytes / 2**30:.1f} GiB of memory for workers"
        raise PlatformError(
            f"{plan.photos:,} embeddings need {needed / 2**30:.1f} GiB, the cluster has {have}; add nodes."
        )
    size = f"Embeddings: {needed / 2**30:.2f} GiB"
    if needed <= shared_bytes:
        units = load_units(job.work, plan, job.dim, range(plan.photo_shards))
        if cluster.here:
            return Blocks([units], 0)
        print(f"{size}, shared by the workers of a node")
        return Blocks([ray.put(units)], 0)
    step = max(1, shared_bytes // per_shard)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, memory=step * per_shard)(EmbeddingBlock)
    ranges = [range(s, min(s + step, plan.photo_shards)) for s in range(0, plan.photo_shards, step)]
    print(f"{size}, spread over {len(ranges)} workers of the cluster")
    return Blocks(
        [actor.remote(job.work, plan, job.dim, shards) for shards in ranges], step * plan.rows_per_photo_shard
    )


class EmbeddingBlock:
    """An actor that holds the unit embeddings of some shards of photos, and hands out rows of them."""

    def __init__(self, work: Location, plan: ScorePlan, dim: int, shards: range) -> None:
        self._units = load_units(work, plan, dim, shards)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors [P,D] of rows [P] counted from the block's first photo."""
        return self._units[rows]


def take_from_blocks(fetch: Callable[[dict[int, np.ndarray]], dict[int, np.ndarray]], rows_per_block: int) -> Take:
    """A `take` over embeddings cut into blocks; `fetch` maps block -> rows in it to block -> vectors."""

    def take(numbers: np.ndarray) -> np.ndarray:
        distinct, back = np.unique(numbers, return_inverse=True)
        block = distinct // rows_per_block
        wanted = {int(b): distinct[block == b] - b * rows_per_block for b in np.unique(block)}
        found = fetch(wanted)
        return np.concatenate([found[b] for b in wanted])[back]

    return take


def _pairs(work: Location, shard: int) -> pa.Table:
    return read_shard(work / "pairs", shard, DICTIONARIES)


def _tile(job: TileJob, tile: int) -> pa.Table:
    """The photos of a tile, as two ranges of numbers."""
    one, other = job.tiles.at(tile)
    return pa.table({"a": [[one.start, one.stop]], "b": [[other.start, other.stop]]})


def score_shard(job: PairJob, blocks: Blocks, shard: int, pairs: pa.Table) -> tuple[int, int]:
    """Score one shard of pairs and write its part; returns the number of pairs, none of them rejected."""
    chunk = CHUNK if blocks.rows_each == 0 else FETCHED
    scores = score_rows(pairs, _taking(blocks), job.facts, job.threshold, chunk, job.scored_with)
    _write(job, shard, scores)
    return scores.num_rows, 0


def _write(job: PairJob, shard: int, scores: pa.Table) -> None:
    if job.csv.wanted:
        text_piece(job.work, STAGE, shard).write_bytes(csv_rows(scores, job.csv))
    write_part(job.work, STAGE, shard, scores)


def score_tile(job: TileJob, blocks: Blocks, tile: int, rows: pa.Table) -> tuple[int, int]:
    """Compare two blocks of photos and write the pairs that are kept; returns how many were compared."""
    take, numbers = _taking(blocks), (range(*rows["a"][0].as_py()), range(*rows["b"][0].as_py()))
    one, other = (take(np.arange(block.start, block.stop)) for block in numbers)
    within = rows_of(one, other, numbers)
    found = [_scored(job, within, a, b) for a, b in alike(one, other, numbers, job.at_least)]
    _write(job, tile, pa.concat_tables(found))
    return job.tiles.pairs_of(tile), 0


def _scored(job: TileJob, take: Take, a: np.ndarray, b: np.ndarray) -> pa.Table:
    sound = (job.facts.states[a] == 0) & (job.facts.states[b] == 0)
    a, b = a[sound], b[sound]
    keys = [f"{one}-{other}" for one, other in zip(a.tolist(), b.tolist(), strict=True)]
    rows = pairs_table(keys, job.names.take(pa.array(a)), job.names.take(pa.array(b)))
    rows = rows.append_column("a", pa.array(a)).append_column("b", pa.array(b))
    rows = rows.append_column("fault", pa.nulls(len(a), pa.string()))
    scores = score_rows(rows, take, job.facts, job.threshold, CHUNK, job.scored_with)
    return scores if job.at_least is None else scores.filter(pc.greater_equal(scores["similarity"], job.at_least))


def _taking(blocks: Blocks) -> Take:
    import ray

    if blocks.rows_each == 0:
        held = blocks.holders[0]
        # No copy: the node's shared memory.
        return (held if isinstance(held, np.ndarray) else ray.get(held)).__getitem__
    return take_from_blocks(lambda wanted: _fetch(blocks, wanted), blocks.rows_each)


def _fetch(blocks: Blocks, wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    import ray

    asked = [blocks.holders[block].take.remote(rows) for block, rows in wanted.items()]
    return dict(zip(wanted, ray.get(asked), strict=True))
