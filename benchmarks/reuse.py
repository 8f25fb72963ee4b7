"""A photo is embedded once however many pairs name it: pairs per second against a loop that embeds per pair.

The rival does what scripts of this kind do, on all cores: for each pair load two photos, find the faces, embed both.
Each photo is in ten pairs. Our time is that of the whole command, Ray's start and the CSV included; the rival's is that
of the loop alone, over a part of the pairs.
"""

import argparse
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.floor import Cutter, Run, Setup, blob, network
from benchmarks.harness import CORES, Report, Spread, parser, require, run_job
from benchmarks.photo_lists import find_photos, write_pairs

PAIRS_PER_PHOTO = 10
_STATE: list[tuple[Cutter, Run]] = []


def ring_pairs(count: int) -> list[tuple[int, int]]:
    """Pairs in which each of `count` photos occurs ten times: with its five neighbours on either side of a ring."""
    return [(k, (k + step) % count) for step in range(1, PAIRS_PER_PHOTO // 2 + 1) for k in range(count)]


def open_worker(setup: Setup) -> None:
    """Load detector and network once in each process of the rival."""
    _STATE.append((Cutter(setup.detector), network(setup, 1)))


def score_pair(paths: tuple[str, str]) -> float:
    """The rival's work for one pair."""
    cut, run = _STATE[0]
    a, b = run(blob([cut((path, None)) for path in paths]))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def rival(setup: Setup, pairs: list[tuple[str, str]]) -> float:
    """Pairs per second of the loop."""
    with get_context("spawn").Pool(setup.cores, open_worker, (setup,)) as pool:
        pool.map(score_pair, pairs[: 8 * setup.cores], chunksize=4)
        start = time.perf_counter()
        pool.map(score_pair, pairs, chunksize=16)
        return len(pairs) / (time.perf_counter() - start)


def measure(chosen: argparse.Namespace, report: Report) -> None:
    """All sides, taking turns."""
    photos = find_photos(chosen.folder, chosen.detector, chosen.count)
    numbers = ring_pairs(chosen.count)
    paths = [(photos.paths[a], photos.paths[b]) for a, b in numbers[:: max(1, len(numbers) // chosen.rival_pairs)]]
    names = ("score", "loop, PReLU rewritten as in score", "loop, model file as it is")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            lists = ["--pairs", str(write_pairs(numbers, work / "pairs.csv")), "--model", str(chosen.model)]
            lists += ["--photos", str(photos.write_table(work / "photos.parquet")), "--workers", str(chosen.cores)]
            run = run_job("score", work / "out", *lists, "--align.weights", str(chosen.detector))
            rates["score"].append(len(numbers) / run.seconds)
        for name, same in zip(names[1:], (True, False), strict=True):
            rates[name].append(rival(Setup(chosen.model, chosen.detector, chosen.cores, same), paths))
    first = Spread.of(rates["score"]).median
    for name, values in rates.items():
        report.add(name, f"{Spread.of(values):.0f}", f"{first / Spread.of(values).median:.1f}")
    report.notes.append(f"{len(numbers):,} pairs; the loop was measured on {len(paths):,} of them.")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=Path, help="folder of JPEGs with faces; default: LFW View-1")
    options.add_argument("--count", type=int, default=6000, help="photos")
    options.add_argument("--rival-pairs", type=int, default=3000, help="how many pairs the loop is measured on")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cores", type=int, default=CORES)
    chosen = options.parse_args()
    chosen.folder = chosen.photos or chosen.data / "lfw" / "view1" / "images"
    chosen.model = chosen.data / "models" / "mobilefacenet_y1.onnx"
    chosen.detector = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    require(chosen.folder, chosen.model, chosen.detector)
    claim = f"{chosen.count:,} photos in ten pairs each, yunet, mobilefacenet_y1, {chosen.cores} cores. Target: >= 4."
    report = Report("reuse", claim, ("program", "pairs/s", "score is faster by"))
    measure(chosen, report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
