"""Cleaning 10,000 people of 20 photos: the bulk path against a plain loop with one graph per person.

The rival is the reference's algorithm as one would write it down: for each person normalise, multiply, walk over all
pairs, build a networkx graph, drop isolated photos, keep the largest component. Both start from the same embeddings,
follow the same rule, and must keep the same photos. Below that, the whole job `clean` with its own, larger task:
reading and sorting tables, means, the search across people, decisions, evidence and cases; and its memory for fewer
people.
"""

import argparse
import tempfile
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, Spread, parser, run_job, seconds_of
from faceverify import tables
from faceverify.cleaning.reference import REFERENCE_THRESHOLD, reference_rule_bulk

DIM = 512
STRAYS = 0.1
PER_PERSON = 20


def embeddings(people: int, seed: int = 0) -> np.ndarray:
    """Clustered vectors [people * 20, 512] of lengths about 20; a tenth belongs to the next person's cluster."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((people, DIM), dtype=np.float32)
    owner = np.repeat(np.arange(people), PER_PERSON)
    strays = rng.random(len(owner)) < STRAYS
    owner[strays] = (owner[strays] + 1) % people
    vectors = rng.standard_normal((len(owner), DIM), dtype=np.float32)
    vectors *= np.float32(0.75)
    vectors += centre[owner]
    return vectors


def loop(vectors: np.ndarray) -> list[int]:
    """The rival: rows that stay."""
    kept = []
    for first in range(0, len(vectors), PER_PERSON):
        block = vectors[first : first + PER_PERSON]
        units = block / np.linalg.norm(block, axis=1, keepdims=True)
        cosine = units @ units.T
        graph = nx.Graph()
        graph.add_nodes_from(range(PER_PERSON))
        for i in range(PER_PERSON):
            for j in range(i + 1, PER_PERSON):
                if cosine[i, j] >= REFERENCE_THRESHOLD:
                    graph.add_edge(i, j)
        graph.remove_nodes_from(list(nx.isolates(graph)))
        components = sorted(nx.connected_components(graph), key=lambda part: (-len(part), min(part)))
        kept += [first + place for place in sorted(components[0])] if components else []
    return kept


def bulk(vectors: np.ndarray, person: np.ndarray) -> list[int]:
    """Our bulk path: rows that stay."""
    return np.flatnonzero(reference_rule_bulk(vectors, person)).tolist()


def compare(chosen: argparse.Namespace, report: Report) -> None:
    """Both on the same vectors, taking turns."""
    vectors = embeddings(chosen.people)
    person = np.repeat(np.arange(chosen.people), PER_PERSON)
    kept: dict[str, list[int]] = {}
    times: dict[str, list[float]] = {"loop": [], "bulk": []}
    for _ in range(chosen.repeats):
        times["loop"].append(seconds_of(lambda: kept.update(loop=loop(vectors))))
        times["bulk"].append(seconds_of(lambda: kept.update(bulk=bulk(vectors, person))))
    assert kept["loop"] == kept["bulk"], "the two do not keep the same photos"
    ratio = Spread.of([a / b for a, b in zip(times["loop"], times["bulk"], strict=True)])
    report.add("loop, networkx, one graph per person", f"{Spread.of(times['loop']):.2f}", "1", "")
    report.add("bulk path, the same rule, one process", f"{Spread.of(times['bulk']):.3f}", f"{ratio:.1f}", "")
    report.notes.append(f"Both keep the same {len(kept['bulk']):,} of {len(vectors):,} photos.")


def write_tables(folder: Path, people: int) -> tuple[Path, Path]:
    """The photos and embeddings tables of these people; there are no files behind the photos."""
    vectors = embeddings(people)
    names = [f"p{row // PER_PERSON:06d}" for row in range(len(vectors))]
    photos = [f"{name}/{row % PER_PERSON:02d}.jpg" for row, name in enumerate(names)]
    blank = {field.name: pa.nulls(len(photos), field.type) for field in tables.PHOTOS}
    sizes = pa.array(np.arange(len(photos)) + 1)  # no two alike: nothing is hashed
    known = {"photo": photos, "uri": photos, "person": names, "is_fake": [False] * len(photos), "bytes_size": sizes}
    folder.mkdir()
    pq.write_table(pa.table(blank | known, schema=tables.PHOTOS), folder / "photos.parquet")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    unknown = pa.nulls(len(photos), pa.string())
    columns = [photos, flat, np.linalg.norm(vectors, axis=1), [""] * len(photos), unknown, unknown]
    pq.write_table(pa.table(columns, schema=tables.embeddings(DIM)), folder / "embeddings.parquet")
    return folder / "photos.parquet", folder / "embeddings.parquet"


def whole_job(chosen: argparse.Namespace, report: Report) -> None:
    """`clean` on tables, for a quarter, half and all of the people, at the same size of a shard."""
    for people in (chosen.people // 4, chosen.people // 2, chosen.people):
        with tempfile.TemporaryDirectory() as folder:
            photos, vectors = write_tables(Path(folder) / "in", people)
            shards = ["--photos-per-shard", str(chosen.photos_per_shard)]
            given = ["--photos", str(photos), "--embeddings", str(vectors), *shards]
            run = run_job("clean", Path(folder) / "out", *given, memory=True)
        seconds = run.manifest["seconds"]
        rounds = sum(seconds[name] for name in ("components", "same_person_candidates", "search", "decisions"))
        memory = f"{run.memory.process / 2**20:,.0f} / {run.memory.tree / 2**20:,.0f}"
        report.add(f"whole job, {people:,} people", f"{run.seconds:.1f}, of which rounds {rounds:.1f}", "", memory)
    decided = run.manifest["decided"]
    report.notes.append("The job on all people: " + ", ".join(f"{n:,} {name}" for name, n in decided.items()) + ".")
    report.notes.append("Seconds of the job on all people: " + ", ".join(f"{n} {s:.1f}" for n, s in seconds.items()))


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=10_000)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--photos-per-shard", type=int, default=16_384)
    chosen = options.parse_args()
    task = f"{chosen.people:,} people x {PER_PERSON} photos, {DIM} numbers, threshold {REFERENCE_THRESHOLD}"
    claim = f"{task}. Target: >= 10."
    report = Report(
        "cleaning_speed", claim, ("program", "seconds", "faster by", "peak MiB, driver / with Ray and workers")
    )
    compare(chosen, report)
    whole_job(chosen, report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
