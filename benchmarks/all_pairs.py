"""All pairs of two sets of 100,000 embeddings: time, and memory that does not grow with the pairs compared.

The rival is the matrix product alone, in blocks, on all cores of one process: it keeps the places of similar pairs and
writes nothing.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, parser, run_job, run_program
from faceverify import tables
from faceverify.vectors import unit

DIM = 512
GIB = 2**30
AT_LEAST = 0.4
BLOCK = 4096


def write_set(file: Path, photos: int, seed: int) -> Path:
    """Embeddings of people with ten photos each, half of whom are in every set."""
    rng = np.random.default_rng(seed)
    people = photos // 10
    shared, own = np.random.default_rng(0), np.random.default_rng(1000 + seed)
    means = np.concatenate([g.normal(size=(people // 2, DIM)) for g in (shared, own)]).astype(np.float32)
    schema = tables.embeddings(DIM)
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, photos, 10_000):
            owner = np.arange(start, min(start + 10_000, photos)) % len(means)
            vectors = means[owner] + rng.normal(size=(len(owner), DIM)).astype(np.float32)
            columns = {
                "photo": [f"p{person:06d}/{seed}-{start + i}.jpg" for i, person in enumerate(owner)],
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM),
                "norm": np.linalg.norm(vectors, axis=1),
                "model": ["0" * 64] * len(owner),
            }
            columns |= {name: pa.nulls(len(owner), pa.string()) for name in ("photo_version", "crop")}
            writer.write_table(pa.table(columns, schema=schema))
    return file


def plain_product(one: Path, other: Path) -> None:
    """The rival."""
    a, b = (unit(np.stack(pq.read_table(file)["embedding"].to_numpy())) for file in (one, other))
    found = 0
    for start in range(0, len(a), BLOCK):
        for begin in range(0, len(b), BLOCK):
            near = np.nonzero(a[start : start + BLOCK] @ b[begin : begin + BLOCK].T >= AT_LEAST)
            found += len(near[0])
    print(found)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=int, default=100_000, help="in each set")
    options.add_argument("--product", nargs=2, type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.product:
        plain_product(*chosen.product)
        return
    claim = "All pairs of two sets: no limit on their number, memory of the embeddings and of the pairs that are kept."
    report = Report("all_pairs", claim, ("what", "pairs", "kept", "seconds", "million/s", "driver GiB", "all GiB"))
    with tempfile.TemporaryDirectory() as folder:
        for photos in (chosen.photos // 4, chosen.photos):
            one, other = (write_set(Path(folder) / f"{photos}-{seed}.parquet", photos, seed) for seed in (1, 2))
            pairs = photos**2
            given = ["--photos", str(one), "--others", str(other), "--at-least", str(AT_LEAST)]
            ours = run_job("all_pairs", Path(folder) / f"out{photos}", *given, memory=True)
            plain = run_program("-m", "benchmarks.all_pairs", "--product", str(one), str(other), memory=True)
            kept = f"{ours.manifest['rows_out']['scores']:,}"
            for name, run in (("**all_pairs**, start and commit included", ours), ("matrix product alone", plain)):
                sizes = (f"{size / GIB:.2f}" for size in (run.memory.process, run.memory.tree))
                rate = f"{pairs / run.seconds / 1e6:,.0f}"
                report.add(name, f"{pairs:,}", kept, f"{run.seconds:.0f}", rate, *sizes)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
