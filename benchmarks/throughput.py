"""Scoring on Ray costs little over the bare work: photos per second of `score` against decoding, warping and embedding.

The floor does the same photos with the same network on the same cores, and nothing besides (`benchmarks/floor.py`); the
fastest of its ways counts. Start-up is left out on both sides: the rate of `score` is that from the first finished
shard of every worker to the last shard. Every photo is in one pair, so nothing is gained by re-use.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.floor import WAYS, Setup
from benchmarks.harness import CORES, Report, Spread, parser, require, run_job
from benchmarks.photo_lists import Photos, find_photos, write_pairs

PER_SHARD = 128


class PartWatch:
    """Notes when each shard of photos was finished, from the times of its files, before the job removes them."""

    def __init__(self, out: Path) -> None:
        self._folder = out / ".work" / "embeddings"
        self._times: dict[str, float] = {}

    def __call__(self) -> None:
        """Look once."""
        for part in self._folder.glob("0*.parquet"):
            try:
                self._times[part.name] = part.stat().st_mtime
            except FileNotFoundError:
                continue  # the run has just ended

    def rate(self, shards: int, workers: int) -> float:
        """Photos per second after the first shard of every worker."""
        assert len(self._times) == shards, f"saw {len(self._times)} of {shards} shards"
        times = sorted(self._times.values())
        return PER_SHARD * (shards - workers) / (times[-1] - times[workers - 1])


def ours(chosen: argparse.Namespace, photos: Photos, given: bool, workers: int) -> tuple[float, float]:
    """(photos per second, seconds of the whole command)."""
    with tempfile.TemporaryDirectory() as folder:
        work, out = Path(folder), Path(folder) / "out"
        names = range(len(photos.paths))
        pairs = write_pairs(list(zip(names[::2], names[1::2], strict=True)), work / "pairs.csv")
        detector = ["--align.method", "yunet", "--align.weights", str(chosen.detector)]
        options = ["--align.method", "annotated"] if given else detector
        options += ["--photos", str(photos.write_table(work / "photos.parquet")), "--pairs", str(pairs)]
        options += ["--model", str(chosen.model), "--photos-per-shard", str(PER_SHARD), "--workers", str(workers)]
        watch = PartWatch(out)
        run = run_job("score", out, *options, watch=watch)
        return watch.rate(len(photos.paths) // PER_SHARD, workers), run.seconds


def measure(chosen: argparse.Namespace, photos: Photos, given: bool, report: Report) -> None:
    """Fill the rows of one alignment; the sides take turns."""
    rates: dict[str, list[float]] = defaultdict(list)
    wall = []
    for _ in range(chosen.repeats):
        for same, graph in ((True, "PReLU rewritten as in score"), (False, "file as it is")):
            setup = Setup(chosen.model, chosen.detector, chosen.cores, same)
            tasks = photos.tasks(given)[:: 1 if same else 8]  # the slow graph needs fewer to be measured
            for way, (run, batch) in WAYS.items():
                rates[f"{way}; {graph}"].append(len(tasks) / run(setup, tasks, batch))
        rate, seconds = ours(chosen, photos, given, chosen.cores)
        rates["**score**"].append(rate)
        wall.append(seconds)
    spreads = {name: Spread.of(values) for name, values in rates.items()}
    best = max(spread.median for name, spread in spreads.items() if name != "**score**")
    faces = "landmarks given" if given else "yunet"
    for name, spread in spreads.items():
        report.add(faces, name, f"{spread:.0f}", f"{spread.median / best:.2f}")
    report.notes.append(f"{faces}: the whole command took {Spread.of(wall):.1f} s, Ray's start included.")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=Path, help="folder of JPEGs with faces; default: LFW View-1")
    options.add_argument("--shards", type=int, default=60, help=f"{PER_SHARD} photos each")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cores", type=int, default=CORES)
    chosen = options.parse_args()
    folder = chosen.photos or chosen.data / "lfw" / "view1" / "images"
    chosen.model = chosen.data / "models" / "mobilefacenet_y1.onnx"
    chosen.detector = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    require(folder, chosen.model, chosen.detector)
    columns = ("faces by", "program", "photos/s", "of the fastest floor")
    claim = f"{PER_SHARD * chosen.shards:,} photos, mobilefacenet_y1, {chosen.cores} cores. Target for score: >= 0.85."
    report = Report("throughput", claim, columns)
    photos = find_photos(folder, chosen.detector, PER_SHARD * chosen.shards)
    for given in (True, False):
        measure(chosen, photos, given, report)
    report.notes.append(f"Median (smallest to largest) of {chosen.repeats} runs that took turns.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
