"""All aligners on the same photos: speed, misses, how far their landmarks lie apart, and how well their crops verify.

Speed is that of aligning alone, photos decoded beforehand, on one core, in batches of 32. Misses are counted over all
photos of the folder by the `align` job, which must give each of them as a face or as a reject with a reason. The
distance of two aligners is measured in the 112x112 crop: the landmarks of both are moved by the first one's transform,
and compared; where they lie more than half the eyes' distance apart, another face was chosen. EER is that of LFW View-1
through `score` and `evaluate`, as in `lfw_view1`.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, Spread, parser, require, run_job
from benchmarks.lfw_view1 import percent
from benchmarks.verification import Evaluated, verify
from faceverify.align import AlignConfig, Method, build
from faceverify.align.geometry import ARCFACE_112, fit_similarity, transform_points
from faceverify.errors import Reason
from faceverify.faces import GROUP_PHOTOS
from faceverify.images import decode
from faceverify.tables import PHOTOS
from ray_jobs.engine.resources import limit_threads

PUBLISHED = {
    "yunet": "face_detection_yunet_2026may.onnx",
    "scrfd": "scrfd_2.5g_bnkps.onnx",
    "retinaface": "pytorch_retinaface_mobilenet0.25_Final.pth",
    "retinaface, 1MB": "retinaface_1mb_mobilenet0.25_Final.pth",
    "mtcnn": "",
}
OTHER_FACE = float(ARCFACE_112[1, 0] - ARCFACE_112[0, 0]) / 2  # pixels of the crop
Landmarks = dict[str, np.ndarray]  # photo -> [5, 2]


@dataclass(frozen=True)
class Measured:
    """What one aligner gave."""

    speed: Spread
    landmarks: Landmarks
    rejects: dict[str, int]
    view1: Evaluated


def write_list(root: Path, file: Path, every: int) -> int:
    """A photos table of the photos below `root`; how many."""
    paths = sorted(root.rglob("*.jpg"))[::every]
    known = {"photo": pa.array([str(path.relative_to(root)) for path in paths]), "uri": pa.array(map(str, paths))}
    nothing = {field.name: pa.nulls(len(paths), field.type) for field in PHOTOS}
    pq.write_table(pa.table(nothing | known, schema=PHOTOS), file)
    return len(paths)


def speed(config: AlignConfig, paths: list[Path], repeats: int) -> list[float]:
    """Photos per second of `align` on one core, of each pass."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    limit_threads(1)
    aligner = build(config)
    photos = [decode(path.read_bytes()) for path in paths]
    groups = [photos[start : start + GROUP_PHOTOS] for start in range(0, len(photos), GROUP_PHOTOS)]
    rates = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for group in groups:
            aligner.align(group, [None] * len(group))
        rates.append(len(photos) / (time.perf_counter() - start))
    return rates[1:]  # the first pass warms up


def align_all(config: AlignConfig, photos: Path, out: Path) -> tuple[Landmarks, dict[str, int]]:
    """Run `align` over the list: landmarks, and how many photos were rejected for which reason."""
    options = ["--photos", str(photos), "--align.method", config.method, "--align.weights", config.weights]
    manifest = run_job("align", out, *options).manifest
    faces, rejects = (pq.read_table(out / name) for name in ("faces", "rejects"))
    told = [*faces["photo"].to_pylist(), *rejects["photo"].to_pylist()]
    assert sorted(told) == sorted(pq.read_table(photos)["photo"].to_pylist()), "not each photo exactly once"
    assert set(rejects["reason"].to_pylist()) <= set(Reason)
    points = np.array(faces["landmarks"].to_pylist(), np.float32).reshape(-1, 5, 2)
    return dict(zip(faces["photo"].to_pylist(), points, strict=True)), manifest["rejects"]


def apart(one: Landmarks, other: Landmarks) -> tuple[float, float]:
    """(median distance in pixels of the first one's crops, share of photos in which another face was taken)."""
    both = sorted(one.keys() & other.keys())
    matrices = fit_similarity(np.stack([one[photo] for photo in both]))
    distances = np.array(
        [
            np.linalg.norm(transform_points(M, one[photo]) - transform_points(M, other[photo]), axis=1).mean()
            for M, photo in zip(matrices, both, strict=True)
        ]
    )
    same = distances < OTHER_FACE
    return float(np.median(distances[same])), float(1 - same.mean())


def measure(config: AlignConfig, chosen: argparse.Namespace, photos: Path, work: Path) -> Measured:
    """All that is measured of one aligner; `work` is a new folder."""
    view = chosen.data / "lfw" / "view1"
    timed = sorted((view / "images").rglob("*.jpg"))[:: chosen.every][: chosen.timed]
    with get_context("spawn").Pool(1) as pool:
        rates = pool.apply(speed, (config, timed, chosen.repeats))
    landmarks, rejects = align_all(config, photos, work / "faces")
    options = ["--align.method", config.method, "--align.weights", config.weights]
    model = chosen.data / "models" / "mobilefacenet_y1.onnx"
    view1 = verify(work / "view1", view / "images", view / "pairs.txt", model, options)
    return Measured(Spread.of(rates), landmarks, rejects, view1)


def fill(report: Report, made: dict[str, Measured], count: int) -> None:
    """A row per aligner, and notes on distances."""
    for name, own in made.items():
        low, high = own.view1.metrics["eer_interval"]
        report.add(
            name,
            f"{own.speed:.0f}",
            f"{sum(own.rejects.values()):,} of {count:,}",
            *("-" if name == other else f"{apart(own.landmarks, made[other].landmarks)[0]:.2f}" for other in made),
            f"{percent(own.view1.metrics['eer'])} ({percent(low)} to {percent(high)})",
            f"{own.view1.manifest['statuses'].get('ok', 0):,}",
        )
    for name, own in made.items():
        others = [
            f"{other} {percent(apart(own.landmarks, made[other].landmarks)[1])}" for other in made if other != name
        ]
        why = ", ".join(f"{count} {reason}" for reason, count in own.rejects.items()) or "none"
        report.notes.append(f"{name}: rejects {why}; another face than {', '.join(others)} of the photos.")


def methods(chosen: argparse.Namespace) -> dict[str, AlignConfig]:
    """Name in the table -> configuration; the options come before the published files."""
    files = {name: str(chosen.data / "models" / file) for name, file in PUBLISHED.items()}
    files |= dict(option.split("=", 1) for option in chosen.weights)
    known = {name: method for method in get_args(Method) for name in files if name.partition(",")[0] == method}
    return {name: AlignConfig(method=known[name], weights=files[name]) for name in chosen.only or files}


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument(
        "--weights", nargs="*", default=[], metavar="NAME=FILE", help="further ones: dfa=dfa.safetensors"
    )
    options.add_argument("--only", nargs="*", help="names of the table, e.g. yunet 'retinaface, 1MB'")
    options.add_argument("--every", type=int, default=1, help="take every n-th photo only")
    options.add_argument("--timed", type=int, default=256, help="photos for the speed")
    options.add_argument("--repeats", type=int, default=3, help="passes for the speed")
    chosen = options.parse_args()
    root = chosen.data / "lfw"
    require(root, chosen.data / "models")
    aligners = methods(chosen)
    columns = ("aligner", "photos/s per core", "misses", *(f"px to {name}" for name in aligners), "EER", "pairs scored")
    report = Report("aligners", "The same photos of LFW, mobilefacenet_y1 on View-1's 1,000 pairs.", columns)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        count = write_list(root, work / "photos.parquet", chosen.every)
        made = {}
        for number, (name, config) in enumerate(aligners.items()):
            made[name] = measure(config, chosen, work / "photos.parquet", work / str(number))
        fill(report, made, count)
    report.notes.append(f"All {count:,} photos ended as a face or as a reject with a reason, with every aligner.")
    report.notes.append(
        f"Distance: median over photos in which both took the same face (nearer than {OTHER_FACE:.1f} px)."
    )
    report.write(chosen.results)


if __name__ == "__main__":
    main()
