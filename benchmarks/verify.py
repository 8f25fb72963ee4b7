"""Two photos are verified in under two seconds, start included, with the numbers of `score`.

The rival is `score` of the same one pair, which starts Ray for it.
"""

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pandas as pd

from benchmarks.harness import ROOT, Report, Spread, parser, require, run_job, seconds_of
from faceverify import Verifier

PHOTOS = 12  # of which all pairs are compared with those of score


def timed(
    work: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None
) -> tuple[Spread, float]:
    """Wall seconds, and the median of the processor's seconds in child processes."""
    walls, spent = [], []
    for _ in range(repeats):
        before()
        start = _children()
        walls.append(seconds_of(work))
        spent.append(_children() - start)
    return Spread.of(walls), statistics.median(spent)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def forget(*folders: Path) -> None:
    """Have the system drop what it keeps of these folders' files in memory, as far as no other process maps them."""
    for folder in folders:
        for path in [folder] if folder.is_file() else folder.rglob("*"):
            if path.is_file():
                handle = os.open(path, os.O_RDONLY)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)


def score(work: Path, photos: list[Path], root: Path, options: list[str]) -> list[float]:
    """The similarities of all pairs of the photos, by the job."""
    work.mkdir()
    with (work / "pairs.csv").open("w", newline="") as file:
        rows = [[str(path.relative_to(root)) for path in pair] for pair in combinations(photos, 2)]
        csv.writer(file).writerows([["photo_a", "photo_b"], *rows])
    given = ["--photos", str(root), "--pairs", str(work / "pairs.csv"), *options]
    run_job("score", work / "out", *given)
    return pd.read_parquet(work / "out" / "scores")["similarity"].tolist()


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    weights, root = chosen.data / "models", chosen.data / "lfw" / "view1" / "images"
    require(weights, root)
    photos = sorted(root.glob("*/*.jpg"))[:PHOTOS]
    model, detector = weights / "mobilefacenet_y1.onnx", weights / "face_detection_yunet_2026may.onnx"
    given = ["--model", str(model), "--align.weights", str(detector)]
    command = [sys.executable, "-m", "ray_jobs", "verify", *map(str, photos[:2]), *given]

    def verify() -> None:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 4):
            raise SystemExit(f"verify ended with {done.returncode}")

    columns = ("what", "seconds", "of the processor")
    report = Report("verify", "`faceverify verify a.jpg b.jpg`, target < 2 s on two cores, warm.", columns)
    verify()  # fills the page cache, and the bytecode
    wall, spent = timed(verify, chosen.repeats)
    report.add("faceverify verify, warm", f"{wall:.2f}", f"{spent:.2f}")
    installed = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    packages = [path for folder in installed for path in folder.iterdir() if path.name not in ("ray", "torch")]
    standard = Path(sysconfig.get_path("stdlib"))
    packages += [path for path in standard.iterdir() if not path.name.endswith("-packages")]
    everything = [*packages, ROOT / "faceverify", ROOT / "ray_jobs", model, detector]
    wall, spent = timed(verify, chosen.repeats, lambda: forget(*everything))
    report.add("faceverify verify, cold", f"{wall:.2f}", f"{spent:.2f}")
    wall, spent = timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), chosen.repeats)
    report.add("the bare interpreter", f"{wall:.2f}", f"{spent:.2f}")
    verifier = Verifier(model, "yunet", detector)
    loading = Spread.of([seconds_of(lambda: Verifier(model, "yunet", detector)) for _ in range(chosen.repeats)])
    report.add("in Python: Verifier(...), once imported", f"{loading:.3f}", "")
    pairs = Spread.of([seconds_of(lambda: verifier.verify(*photos[:2])) for _ in range(chosen.repeats)])
    report.add("in Python: verifier.verify(a, b), 250x250 pixels", f"{pairs:.3f}", "")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        start = time.perf_counter()
        score(work / "one", photos[:2], root, given)
        report.add("score of the same pair (once)", f"{time.perf_counter() - start:.1f}", "")
        scored = score(work / "all", photos, root, given)
    told = subprocess.run(
        [*command[:4], *map(str, photos), *given, "--json"], cwd=ROOT, capture_output=True, check=False
    )
    found = [pair["similarity"] for pair in json.loads(told.stdout)["pairs"]]
    apart = max(abs(one - other) for one, other in zip(found, scored, strict=True))
    report.notes.append(f"Largest difference from `score` over {len(scored)} pairs: {apart:.1e} (target <= 1e-6).")
    report.notes.append(
        f"Median (smallest to largest) of {chosen.repeats} runs, one uncounted run before the warm ones."
    )
    report.notes.append(
        "Cold: the files of Python, its packages, faceverify and both networks dropped from the page cache"
    )
    report.notes[-1] += " before each run (posix_fadvise; pages that other processes map stay)."
    report.write(chosen.results)


if __name__ == "__main__":
    main()
