"""The jobs of this revision beside those of an earlier one: is anything slower?

Both do the same work on the same cluster of this machine, taking turns. Compared is the time that a job's manifest
gives for its work (`seconds`, without the connection to Ray), and the CPU seconds of all processes. The photos are
those of LFW, found by YuNet and embedded by a MobileFaceNet; fakes, pairs and clean have made-up people.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import cleaning_speed, pairs_speed
from benchmarks.harness import ROOT, Report, Spread, parser, require
from benchmarks.memory import CpuTime
from benchmarks.photo_lists import find_photos
from benchmarks.scale import cluster, write_embeddings, write_pairs

SAMPLE_SECONDS = 0.2


@dataclass
class Times:
    """Seconds of work and of CPU, of several runs."""

    work: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def run(checkout: Path, job: str, out: Path, *options: str) -> tuple[float, float]:
    """Run a job with the code of a checkout; returns its seconds of work, and those of CPU."""
    command = [sys.executable, "-m", f"ray_jobs.{job}", *options, "--out", str(out)]
    cpu = CpuTime(os.getpid())
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, cwd=checkout, stdout=said, stderr=said) as process:
            while process.poll() is None:
                cpu.sample()
                time.sleep(SAMPLE_SECONDS)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read().decode()}")
    spent = json.loads((out / "manifest.json").read_text())["seconds"]
    return sum(value for name, value in spent.items() if name not in ("connect", "workers")), cpu.seconds


def prepare(data: Path, home: Path, photos: int, pairs: int, people: int) -> dict[str, tuple[str, list[str]]]:
    """Make what the jobs take; returns the job and its options by the name of the row."""
    models = data / "models"
    detector, network = models / "face_detection_yunet_2026may.onnx", models / "mobilefacenet_y1.onnx"
    require(data / "lfw" / "images", detector, network)
    found = find_photos(data / "lfw" / "images", detector, photos)
    table = pq.read_table(found.write_table(home / "photos.parquet"))
    known = {"person": [f"person_{k // 8:06d}" for k in range(photos)], "is_fake": [False] * photos}
    for name, values in known.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, home / "photos.parquet", row_group_size=32_768)
    drawn = np.random.default_rng(0).integers(0, photos, (2, 4 * photos))
    named = [pa.array([f"{photo}.jpg" for photo in side]) for side in drawn]
    pq.write_table(pa.table(named, names=["photo_a", "photo_b"]), home / "photo_pairs.parquet")
    embedded = write_embeddings(home / "embedded", 100_000)
    listed = write_pairs(home / "pairs.parquet", 100_000, pairs)
    to_clean = cleaning_speed.write_tables(home / "clean", people)
    pq.write_table(pairs_speed.table(people), home / "people.parquet")
    align = ["--align.method", "yunet", "--align.weights", str(detector)]
    shown = ["--photos", str(home / "photos.parquet")]
    scored = [*shown, "--model", str(network), "--pairs", str(home / "photo_pairs.parquet"), *align]
    return {
        "align": ("align", [*shown, *align]),
        "embed": ("embed", ["--faces", str(home / "align" / "0" / "faces"), "--model", str(network)]),
        "score, photos": ("score", scored),
        "score, embeddings given": ("score", ["--embeddings", str(embedded), "--pairs", str(listed)]),
        "fakes": ("fakes", shown),
        "pairs": ("pairs", ["--photos", str(home / "people.parquet")]),
        "clean": ("clean", ["--photos", str(to_clean[0]), "--embeddings", str(to_clean[1])]),
    }


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--before", default="95106dc", help="the earlier revision")
    options.add_argument("--photos", type=int, default=4_000)
    options.add_argument("--pairs", type=int, default=4_000_000, help="of embeddings that are given")
    options.add_argument("--people", type=int, default=2_000, help="of pairs and clean")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--only", default="", help="these rows, separated by semicolons")
    chosen = options.parse_args()
    claim = f"Seconds of work before ({chosen.before}) and now, and time before / time now. Target: at least 0.95."
    report = Report("two_revisions", claim, ("job", "before s", "now s", "before / now", "CPU before / now"))
    with tempfile.TemporaryDirectory(prefix="fv", dir="/tmp") as folder:
        home, old = Path(folder), Path(folder) / "before"
        git = [shutil.which("git") or "git", "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", old, chosen.before], cwd=ROOT, check=True)
        try:
            with cluster(home / "ray"):
                work = prepare(chosen.data, home, chosen.photos, chosen.pairs, chosen.people)
                wanted = chosen.only.split(";") if chosen.only else list(work)
                for name in wanted:
                    compare(name, *work[name], {"before": old, "now": ROOT}, home, chosen.repeats, report)
        finally:
            subprocess.run([*git, "remove", "--force", old], cwd=ROOT, check=True)
    report.notes.append(
        f"{chosen.photos:,} photos, {chosen.pairs:,} pairs of given embeddings, {chosen.people:,} people"
    )
    report.write(chosen.results)


def compare(
    name: str, job: str, options: list[str], checkouts: dict[str, Path], home: Path, repeats: int, report: Report
) -> None:
    """One row: both revisions in turn, the first run of each not counted."""
    found = {which: Times() for which in checkouts}
    for number in range(repeats + 1):
        for which, checkout in checkouts.items():
            out = home / job / f"{number}" if which == "now" else home / f"{job} before" / f"{number}"
            work, cpu = run(checkout, job, out, *options, "--overwrite")
            if number:
                found[which].work.append(work)
                found[which].cpu.append(cpu)
    before, now = found["before"], found["now"]
    ratio: Callable[[list[float], list[float]], Spread] = lambda a, b: Spread.of(  # noqa: E731
        [x / y for x, y in zip(a, b, strict=True)]
    )
    report.add(
        name,
        f"{Spread.of(before.work):.1f}",
        f"{Spread.of(now.work):.1f}",
        f"{ratio(before.work, now.work):.2f}",
        f"{ratio(before.cpu, now.cpu):.2f}",
    )


if __name__ == "__main__":
    main()
