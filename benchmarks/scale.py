"""What each job costs per photo, fake and pair, and what 100 million photos and 10 billion pairs would take.

Every job runs on two sizes of its input on a cluster of this machine; the difference of the two is the cost of the rows
that the larger one has more, without start and fixed costs. CPU seconds are those of all processes, Ray's own
included. 1 and 10 million pairs of one million random embeddings are scored: the memory must be that of the embeddings,
whatever the number of pairs.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import cleaning_speed, pairs_speed
from benchmarks.harness import CORES, JobRun, Report, parser, require, run_job
from benchmarks.memory import CpuTime
from benchmarks.photo_lists import find_photos
from faceverify import tables

DIM = 512
PHOTOS, PAIRS = 100_000_000, 10_000_000_000  # of the full set; people of 20 photos, 4 fakes of each
GIB = 2**30


@dataclass(frozen=True)
class Cost:
    """Of one run, or of the difference of two: seconds of wall and CPU, bytes written."""

    wall: float
    cpu: float
    written: float

    def minus(self, other: "Cost", rows: int) -> "Cost":
        """Per row, where this run has `rows` rows more than the other."""
        names = ("wall", "cpu", "written")
        return Cost(*((getattr(self, name) - getattr(other, name)) / rows for name in names))


def measured(job: str, out: Path, *options: str, memory: bool = False) -> tuple[Cost, JobRun]:
    """One run of a job: its cost, and the run, with its memory if that is asked for."""
    time = CpuTime(os.getpid())
    run = run_job(job, out, *options, watch=time.sample, memory=memory)
    time.sample()
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Cost(run.seconds, time.seconds, written), run


@dataclass(frozen=True)
class Step:
    """A job at two sizes: rows, how many of them the full set has, and its options for an input of so many."""

    job: str
    unit: str
    in_all: int
    sizes: tuple[int, int]
    options: Callable[[int, Path], list[str]]


def steps(chosen: argparse.Namespace, work: Path) -> Iterator[Step]:
    """The jobs in the order of the recipe; later ones take what earlier ones made at the larger size."""
    models = chosen.data / "models"
    detector, network = models / "face_detection_yunet_2026may.onnx", models / "mobilefacenet_y1.onnx"
    some, many = chosen.aligned // 4, chosen.aligned
    photos = find_photos(chosen.data / "lfw" / "images", detector, many)

    def listed(count: int, folder: Path) -> Path:
        table = pq.read_table(photos.write_table(folder / "all.parquet")).slice(0, count)
        people = pa.array([f"person_{k // 8:06d}" for k in range(count)])
        at = table.schema.get_field_index("person")
        given = table.set_column(at, "person", people).set_column(
            table.schema.get_field_index("is_fake"), "is_fake", pa.array([False] * count)
        )
        pq.write_table(given, folder / "photos.parquet")
        return folder / "photos.parquet"

    align = ["--align.method", "yunet", "--align.weights", str(detector)]
    yield Step("align", "photo", PHOTOS, (some, many), lambda n, at: ["--photos", str(listed(n, at)), *align])
    faces = work / "align" / str(many) / "out" / "faces"

    def sliced(count: int, at: Path) -> Path:
        pq.write_table(pq.read_table(faces).slice(0, count), at / "faces.parquet")
        return at / "faces.parquet"

    yield Step(
        "embed", "photo", PHOTOS, (some, many), lambda n, at: ["--faces", str(sliced(n, at)), "--model", str(network)]
    )
    yield Step(
        "fakes", "fake", PHOTOS // 5, (some // 8 * 4, many // 8 * 4), lambda n, at: ["--photos", str(listed(n * 2, at))]
    )

    def to_clean(people: int, at: Path) -> list[str]:
        given = cleaning_speed.write_tables(at / "in", people)
        return ["--photos", str(given[0]), "--embeddings", str(given[1])]

    each = cleaning_speed.PER_PERSON
    yield Step("clean", "photo", PHOTOS, (1_000 * each, 4_000 * each), lambda n, at: to_clean(n // each, at))

    def to_pair(people: int, at: Path) -> list[str]:
        pq.write_table(pairs_speed.table(people), at / "photos.parquet")
        return ["--photos", str(at / "photos.parquet")]

    per_person = 365  # pairs of 20 photos and 4 fakes: results of pairs_speed
    yield Step(
        "pairs", "pair", PAIRS, (1_000 * per_person, 4_000 * per_person), lambda n, at: to_pair(n // per_person, at)
    )


def write_embeddings(folder: Path, count: int) -> Path:
    """A table of random vectors [count, 512], written in pieces."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with pq.ParquetWriter(folder / "part.parquet", tables.embeddings(DIM)) as writer:
        for first in range(0, count, 50_000):
            vectors = rng.standard_normal((min(50_000, count - first), DIM), dtype=np.float32)
            names = [f"{first + k:08d}.jpg" for k in range(len(vectors))]
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
            unknown = pa.nulls(len(names), pa.string())
            columns = [names, flat, np.linalg.norm(vectors, axis=1), [""] * len(names), unknown, unknown]
            writer.write_table(pa.table(columns, schema=tables.embeddings(DIM)))
    return folder


def write_pairs(file: Path, photos: int, count: int) -> Path:
    """Random pairs, written in pieces."""
    rng, writer = np.random.default_rng(1), None
    known = pa.array([f"{photo:08d}.jpg" for photo in range(photos)])
    for first in range(0, count, 1_000_000):
        drawn = rng.integers(0, photos, (2, min(1_000_000, count - first)))
        piece = pa.table([known.take(pa.array(row)) for row in drawn], names=["photo_a", "photo_b"])
        writer = writer or pq.ParquetWriter(file, piece.schema)
        writer.write_table(piece)
    assert writer is not None
    writer.close()
    return file


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A cluster of this process, and nobody else's."""
    import ray

    os.environ["RAY_TMPDIR"] = str(folder)
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        yield
    finally:
        ray.shutdown()
        del os.environ["RAY_ADDRESS"]


def measure(chosen: argparse.Namespace, work: Path, report: Report) -> None:
    """One row per job."""
    with cluster(work / "ray"):
        for step in steps(chosen, work):
            found = []
            for size in step.sizes:
                at = work / step.job / str(size)
                at.mkdir(parents=True)
                found.append(measured(step.job, at / "out", *step.options(size, at))[0])
            add(report, step.job, step.unit, step.in_all, step.sizes, found)


def add(report: Report, job: str, unit: str, in_all: int, sizes: tuple[int, int], found: list[Cost]) -> None:
    """A row: what a row more costs."""
    small, large = sizes
    each = found[1].minus(found[0], large - small)
    whole = f"{in_all:,}", f"{each.cpu * in_all / 86_400:,.1f}", f"{each.written * in_all / 1e12:.3g}"
    figures = f"{1 / each.wall:,.0f}", f"{each.cpu * 1e3:.4g}", f"{each.written / 1024:.3g}"
    report.add(job, unit, f"{small:,} and {large:,}", *figures, *whole)


def score(chosen: argparse.Namespace, work: Path, report: Report) -> None:
    """Cost and memory of scoring a tenth and all of the pairs, with a cluster of the job's own."""
    embedded = write_embeddings(work / "embedded", chosen.embeddings)
    found, peaks, sizes = [], [], (chosen.pairs // 10, chosen.pairs)
    report.notes.append(f"{chosen.embeddings:,} embeddings are {chosen.embeddings * DIM * 4 / GIB:.2f} GiB.")
    for count in sizes:
        pairs = write_pairs(work / f"{count}.parquet", chosen.embeddings, count)
        lists = ["--embeddings", str(embedded), "--pairs", str(pairs), "--csv.preset", "none"]
        cost, run = measured("score", work / f"score-{count}", *lists, memory=True)
        found.append(cost)
        peaks.append(run.memory.tree)
        report.notes.append(
            f"score, {count:,} pairs of them: {cost.wall:.0f} s, {run.manifest['seconds']['plan']:.0f} the plan; "
            f"peak {run.memory.tree / GIB:.2f} GiB in all processes, {run.memory.process / GIB:.2f} in the driver."
        )
    add(report, "score", "pair", PAIRS, sizes, found)
    report.notes.append(f"Peak memory with ten times the pairs: {peaks[1] / peaks[0]:.2f} times as much.")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--aligned", type=int, default=6_400, help="of align and embed at the larger size")
    options.add_argument("--pairs", type=int, default=10_000_000)
    options.add_argument("--embeddings", type=int, default=1_000_000)
    chosen = options.parse_args()
    require(chosen.data / "lfw" / "images", chosen.data / "models")
    columns = (
        "job",
        "per",
        "rows of the two runs",
        "rows/s here",
        "CPU ms",
        "KiB written",
        "rows of the full set",
        "core-days",
        "TB written",
    )
    report = Report("scale", f"Marginal cost of a row, on {CORES} cores.", columns)
    with tempfile.TemporaryDirectory(prefix="fv") as folder:
        measure(chosen, Path(folder), report)
        score(chosen, Path(folder), report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
