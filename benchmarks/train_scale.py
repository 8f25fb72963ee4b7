"""A training is fed from 240,000 faces and 3.65 million pairs: time to the first step, memory per worker, waiting.

10,000 people with 20 real photos and 4 fakes each; their faces are those of some drawn people, over and over, and their
pairs those of `pairs`. The tiny network learns for some steps on two workers, so that feeding is what is measured.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, parser, run_job
from benchmarks.memory import descendants, pss, resident
from benchmarks.pairs_speed import FAKES, REAL, table
from faceverify.align import AlignConfig
from faceverify.align import build as build_aligner
from faceverify.faces import Stopwatch, crop_photos, encode_faces
from faceverify.images import ImageLimits
from faceverify.rendered import RenderedConfig, write
from faceverify.storage import Location
from faceverify.tables import FACES

DRAWN = 60  # people whose faces are repeated
PER_GROUP = 4096  # faces of a row group
WORKERS = 2
# The titles that Ray gives its processes; those that a worker forks to decode faces have none of their own.
TRAIN_WORKER = "ray::RayTrainWorker"


def pictures(work: Path) -> list[bytes]:
    """Encoded faces of drawn people."""
    config = RenderedConfig(persons=DRAWN, photos_per_person=4, fakes_per_person=1, photo_size=160)
    photos = write(config, Location(str(work / "drawn"))).photos
    crops = crop_photos(photos, build_aligner(AlignConfig(method="annotated")), ImageLimits(), Stopwatch())
    return encode_faces(crops, Stopwatch())["image"].to_pylist()


def faces_of(photos: pa.Table, images: list[bytes]) -> Iterator[pa.Table]:
    """The faces table of `photos` in row groups."""
    for start in range(0, len(photos), PER_GROUP):
        some = photos.slice(start, PER_GROUP)
        columns = {name: some[name].combine_chunks() for name in ("photo", "person", "is_fake", "generator")}
        columns["image"] = pa.array([images[(start + k) % len(images)] for k in range(len(some))], pa.binary())
        rest = {name: pa.nulls(len(some), FACES.field(name).type) for name in FACES.names if name not in columns}
        yield pa.table({name: (columns | rest)[name] for name in FACES.names}, schema=FACES)


def prepare(work: Path, people: int) -> int:
    """Write photos, faces and pairs; returns the bytes of the encoded faces."""
    photos, images, size = table(people), pictures(work), 0
    pq.write_table(photos, work / "photos.parquet")
    with pq.ParquetWriter(work / "faces.parquet", FACES, compression="none", use_dictionary=False) as out:
        for group in faces_of(photos, images):
            size += group["image"].nbytes
            out.write_table(group)
    run_job("pairs", work / "pairs", "--photos", str(work / "photos.parquet"))
    return size


class Watch:
    """Looks at the processes of a job while it runs: when the workers began to be fed, and their largest memory."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.workers_at = self.fed_at = 0.0
        self.sizes: dict[str, dict[str, int]] = {}

    def __call__(self) -> None:
        """Take one sample."""
        for pid in descendants(os.getpid()):
            kind = self._kind(pid)
            if kind is None:
                continue
            now = time.perf_counter() - self.start
            self.workers_at = self.workers_at or (now if kind == "worker" else 0.0)
            self.fed_at = self.fed_at or (now if kind == "decoder" else 0.0)
            most = self.sizes.setdefault(kind, {"RSS": 0, "PSS": 0})
            most["RSS"], most["PSS"] = max(most["RSS"], resident(pid)), max(most["PSS"], pss(pid))

    @staticmethod
    def _kind(pid: int) -> str | None:
        """The kind of a process; decoders have the title of the worker that forked them."""
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            above = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return None
        if TRAIN_WORKER in title:
            return "decoder" if TRAIN_WORKER in above else "worker"
        return "driver" if "ray_jobs.train" in title else None


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=10_000)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--batch", type=int, default=64, help="pairs, over both workers")
    options.add_argument("--work", type=Path, help="where the tables are kept between runs")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, chosen.work or Path(folder), Path(folder))


def measure(chosen: argparse.Namespace, work: Path, out: Path) -> None:
    """Write the tables if they are not there, train, report."""
    if not (work / "pairs" / "manifest.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        (work / "size.json").write_text(json.dumps(prepare(work, chosen.people)))
    size = json.loads((work / "size.json").read_text())
    watch, named = (
        Watch(),
        {
            "--faces": work / "faces.parquet",
            "--pairs": work / "pairs" / "pairs",
            "--network.architecture": "tiny",
            "--network.dim": 128,
            "--network.bn": "batch",
            "--batches.size": chosen.batch,
            "--batches.max-steps": chosen.steps,
            "--validation.every": chosen.steps,
            "--validation.pairs": 1000,
            "--validation.replicates": 0,
            "--workers": WORKERS,
        },
    )
    run = run_job("train", out / "train", *(str(part) for item in named.items() for part in item), watch=watch)
    lines = [json.loads(line) for line in (out / "train" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "seconds" in line]
    fed = sum(line["seconds"] for line in steps) / len(steps)
    waited = sum(line["wait"] for line in steps) / sum(line["seconds"] for line in steps)
    pairs, faces = run.manifest["rows_in"]["pairs"], chosen.people * (REAL + FAKES)
    claim = f"{faces:,} faces ({size / 1e9:.2f} GB encoded), {pairs:,} training pairs, {WORKERS} workers, tiny network."
    report = Report("train_scale", claim, ("what", "measured"))
    report.add("from the command to the start of the workers' processes", f"{watch.workers_at:.1f} s")
    report.add("from the command to the first step, with the first validation", f"{watch.fed_at:.1f} s")
    for kind, most in sorted(watch.sizes.items()):
        report.add(f"memory of a {kind}, at most", ", ".join(f"{name} {n / 1e6:,.0f} MB" for name, n in most.items()))
    report.add(f"a step of {chosen.batch} pairs", f"{fed:.3f} s")
    report.add("share of it that a worker waits for data", f"{waited:.1%}")
    report.add("phases, seconds", json.dumps({name: round(s, 1) for name, s in run.manifest["seconds"].items()}))
    report.notes += [
        "PSS counts a page that k processes share 1/k; RSS counts it whole in each, the object store too. Each worker "
        "has two decoders, processes that it forks.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
