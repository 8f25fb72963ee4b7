"""`align` keeps its workers busy: photos per second of the job against the same aligner in a plain multi-process loop.

The loop does what cannot be left out: read and decode a photo, align it, encode the crop as PNG, and write a Parquet
file per 128 photos; one process per core, with the job's batches. It keeps no table of photos, checks no count, cannot
resume, and puts nothing together at the end. Its processes run at the low priority that Ray gives its workers, so that
other programs on the machine disturb both alike. Start-up is left out on both sides: the loop is timed when all its
processes have their network, the job from the first finished shard of every worker to the last shard.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import CORES, Report, Spread, parser, require, run_job
from benchmarks.photo_lists import Photos, find_photos
from benchmarks.throughput import PER_SHARD, PartWatch
from faceverify.align import AlignConfig, AlignedFace, Aligner, Method, build
from faceverify.faces import GROUP_PHOTOS
from faceverify.images import decode, encode_png
from ray_jobs.engine.resources import limit_threads

NICENESS = 15  # of Ray's workers
WEIGHTS: dict[Method, str] = {
    "yunet": "face_detection_yunet_2026may.onnx",
    "retinaface": "pytorch_retinaface_mobilenet0.25_Final.pth",
    "mtcnn": "",
}


class FaceParts(PartWatch):
    """Notes when each shard of faces was finished."""

    def __init__(self, out: Path) -> None:
        super().__init__(out)
        self._folder = out / ".work" / "faces"


_ALIGNER: list[Aligner] = []


def _open(config: AlignConfig) -> None:
    os.nice(NICENESS)
    limit_threads(1)
    _ALIGNER.append(build(config))


def _work(out: Path, shard: tuple[int, list[str]]) -> None:
    number, paths = shard
    images, names = [], []
    for start in range(0, len(paths), GROUP_PHOTOS):
        group = paths[start : start + GROUP_PHOTOS]
        pictures = [decode(Path(path).read_bytes()) for path in group]
        for path, face in zip(group, _ALIGNER[0].align(pictures, [None] * len(group)), strict=True):
            if isinstance(face, AlignedFace):
                names.append(path)
                images.append(encode_png(face.image))
    pq.write_table(pa.table({"photo": names, "image": images}), out / f"{number:08d}.parquet", compression="zstd")


def loop(config: AlignConfig, paths: list[str], cores: int) -> float:
    """Photos per second of the plain loop."""
    shards = [(k, paths[k * PER_SHARD : (k + 1) * PER_SHARD]) for k in range(len(paths) // PER_SHARD)]
    with (
        tempfile.TemporaryDirectory() as folder,
        get_context("spawn").Pool(cores, _open, (config,)) as pool,
    ):
        run: Callable[[Iterable[tuple[int, list[str]]]], list[None]] = partial(
            pool.map, partial(_work, Path(folder)), chunksize=1
        )
        run(shards[:cores])  # every process is there and warm
        start = time.perf_counter()
        run(shards)
        return len(paths) / (time.perf_counter() - start)


def job(config: AlignConfig, photos: Photos, cores: int) -> tuple[float, float]:
    """Of `align`: photos per second, seconds of the whole command."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = ["--photos", str(photos.write_table(Path(folder) / "photos.parquet")), "--workers", str(cores)]
        options += ["--align.method", config.method, "--align.weights", config.weights, "--align.device", "cpu"]
        watch = FaceParts(out)
        run = run_job("align", out, *options, "--photos-per-shard", str(PER_SHARD), watch=watch)
        return watch.rate(len(photos.paths) // PER_SHARD, cores), run.seconds


def measure(chosen: argparse.Namespace, method: Method, photos: Photos, report: Report) -> None:
    """Fill the rows of one method; the sides take turns."""
    config = AlignConfig(method=method, weights=str(chosen.data / "models" / WEIGHTS[method]), device="cpu")
    rates, wall = defaultdict(list), []
    for _ in range(chosen.repeats):
        rates["plain loop"].append(loop(config, photos.paths, chosen.cores))
        rate, seconds = job(config, photos, chosen.cores)
        rates["**align**"].append(rate)
        wall.append(seconds)
    for name, values in rates.items():
        shares = Spread.of([rate / loops for rate, loops in zip(values, rates["plain loop"], strict=True)])
        report.add(method, f"{len(photos.paths):,}", name, f"{Spread.of(values):.0f}", f"{shares:.2f}")
    report.notes.append(
        f"{method}: the whole command took {Spread.of(wall):.1f} s, Ray's start and the commit included."
    )


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=Path, help="folder of JPEGs with faces; default: LFW View-1")
    options.add_argument("--methods", nargs="+", default=list(WEIGHTS), choices=list(WEIGHTS))
    options.add_argument(
        "--shards", type=int, default=120, help=f"of {PER_SHARD} photos, for yunet; a third for others"
    )
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cores", type=int, default=CORES)
    chosen = options.parse_args()
    folder = chosen.photos or chosen.data / "lfw" / "view1" / "images"
    detector = chosen.data / "models" / WEIGHTS["yunet"]
    require(folder, detector)
    columns = ("aligner", "photos", "program", "photos/s", "of the loop")
    claim = f"Photos to PNG crops in Parquet, {chosen.cores} cores. Target for align: >= 0.85."
    report = Report("align_busy", claim, columns)
    for method in [method for method in WEIGHTS if method in chosen.methods]:
        shards = chosen.shards if method == "yunet" else max(4, chosen.shards // 3)
        measure(chosen, method, find_photos(folder, detector, PER_SHARD * shards), report)
    report.notes.append(
        f"Median (smallest to largest) of {chosen.repeats} runs that took turns; shares are those of each turn."
    )
    report.write(chosen.results)


if __name__ == "__main__":
    main()
