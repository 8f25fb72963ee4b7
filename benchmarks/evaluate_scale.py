"""`evaluate` on 100 million scores: seconds, memory, and the same numbers as a sort of them all.

The scores are made up: genuine, impostor and deepfake pairs of many people and four generators, in the form that the
job score writes. The rival sorts the first tenth of them as float64 and takes the error rates from the whole ROC.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.harness import CORES, ROOT, Report, parser
from faceverify import tables

PER_FILE = 1_000_000
PHOTOS_EACH = 10
GENERATORS = ("blend", "ghost", "roop", "swap")
MEANS = (0.6, 0.0, 0.25, 0.45, 0.5, 0.55)  # of genuine and impostor pairs, and of each generator's
SHARES = (0.3, 0.5, 0.05, 0.05, 0.05, 0.05)
TARGETS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GIB = 2**30


def write_scores(folder: Path, number: int, rows: int, people: int) -> None:
    """One seeded file of the scores table."""
    rng = np.random.default_rng(number)
    group = rng.choice(len(SHARES), rows, p=SHARES)
    first = rng.integers(0, people, rows)
    second = np.where(group == 1, (first + rng.integers(1, people, rows)) % people, first)
    hard = np.random.default_rng(0).normal(0, 0.05, people)  # a person is hard to recognise in all of his pairs
    shift = np.where(group == 0, -0.5, 0.5) * (hard[first] + hard[second])
    similarity = rng.normal(np.array(MEANS)[group], 0.1) + shift
    names = pa.array([f"p{person:07d}" for person in range(people)])
    photos = pa.array([f"p{person:07d}/{photo:02d}.jpg" for person in range(people) for photo in range(PHOTOS_EACH)])
    taken = [owner * PHOTOS_EACH + rng.integers(0, PHOTOS_EACH, rows) for owner in (first, second)]
    kinds, makers = pa.array(["genuine", "impostor", "deepfake"]), pa.array([None, None, *GENERATORS])
    columns = {
        "pair": pa.array(np.arange(number * PER_FILE, number * PER_FILE + rows).astype(str)),
        "photo_a": photos.take(pa.array(taken[0])),
        "photo_b": photos.take(pa.array(taken[1])),
        "label": pa.array((group == 0).astype(np.int8)),
        "kind": kinds.take(pa.array(np.minimum(group, 2))),
        "generator": makers.take(pa.array(group)),
        "split": pa.repeat("test", rows),
        "person_a": names.take(pa.array(first)),
        "person_b": names.take(pa.array(second)),
        "similarity": pa.array(np.clip(similarity, -1, 1).astype(np.float32)),
        "accepted": pa.nulls(rows, pa.bool_()),
        "status": pa.repeat("ok", rows),
        "scored_with": pa.nulls(rows, pa.string()),
    }
    table = pa.table(columns, schema=tables.SCORES)
    pq.write_table(table, folder / f"part-{number:05d}.parquet", **tables.parquet_options(tables.SCORES))


def make(folder: Path, rows: int, people: int) -> None:
    """The whole table, a file per million rows."""
    folder.mkdir(parents=True)
    sizes = [min(PER_FILE, rows - start) for start in range(0, rows, PER_FILE)]
    with ProcessPoolExecutor(CORES) as pool:
        list(pool.map(write_scores, [folder] * len(sizes), range(len(sizes)), sizes, [people] * len(sizes)))


@dataclass(frozen=True)
class Measured:
    """One program: seconds of wall and of CPU time, its peak memory in bytes, and what it found."""

    seconds: float
    cpu: float
    memory: int
    metrics: dict[str, Any]


def watched(*command: str) -> tuple[float, float, int]:
    """Run the interpreter with `command`: wall seconds, CPU seconds, largest resident size in bytes."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def evaluated(scores: Path, out: Path, replicates: int) -> Measured:
    """The job, as a user would run it."""
    options = ("--scores", str(scores), "--out", str(out), "--replicates", str(replicates), "--overwrite")
    used = watched("-m", "ray_jobs.evaluate", *options)
    return Measured(*used, json.loads((out / "metrics.json").read_text()))


def exact_sort(scores: Path) -> dict[str, Any]:
    """The rival: all scores sorted as float64, EER and FNMR at every target from the whole ROC."""
    similarity, label, kind = (
        pa.concat_tables([pq.read_table(file, columns=[name]) for file in sorted(scores.glob("*.parquet"))])[name]
        for name in ("similarity", "label", "kind")
    )
    values, genuine = similarity.to_numpy().astype(np.float64), label.to_numpy() == 1
    found: dict[str, Any] = {}
    for name, negative in (("eer", ~genuine), ("eer_real", pc.equal(kind, "impostor").to_numpy())):
        real, other = np.sort(values[genuine]), np.sort(values[negative])
        distinct = np.unique(np.concatenate([real, other]))[::-1]
        fmr = (other.size - np.searchsorted(other, distinct)) / other.size
        fnmr = np.searchsorted(real, distinct) / real.size
        high = int(np.argmax(fmr >= fnmr))
        above, gap = fmr[high - 1] - fnmr[high - 1], fmr[high] - fnmr[high]
        found[name] = float(fmr[high - 1] + -above / (gap - above) * (fmr[high] - fmr[high - 1]))
    supported = [target for target in TARGETS if 1 / other.size <= target]  # by the impostors
    last = {target: int(np.searchsorted(fmr, target, side="right")) - 1 for target in supported}
    found["fnmr"] = {f"{target:g}": float(fnmr[at]) for target, at in last.items()}
    return found


def sorted_exactly(scores: Path) -> Measured:
    """The rival in a process of its own."""
    result = scores.parent / "sorted.json"
    used = watched("-m", "benchmarks.evaluate_scale", "--sort", str(scores), "--work", str(result))
    return Measured(*used, json.loads(result.read_text()))


def same(found: dict[str, Any], want: dict[str, Any]) -> bool:
    """Whether EER, EER against impostors, and FNMR at every target are equal to the last bit."""
    fnmr = {target: row["fnmr"] for target, row in found["fnmr_at_fmr"].items()}
    return (found["eer"], found["eer_real"], fnmr) == (want["eer"], want["eer_real"], want["fnmr"])


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--scores", type=int, default=100_000_000)
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--replicates", type=int, default=500)
    options.add_argument("--work", type=Path, help="folder for the scores, 20 bytes each; made, and deleted at the end")
    options.add_argument("--sort", type=Path, help="sort the scores in this folder and write JSON to --work")
    chosen = options.parse_args()
    if chosen.sort:
        chosen.work.write_text(json.dumps(exact_sort(chosen.sort)))
        return
    work = chosen.work or Path(tempfile.mkdtemp(prefix="evaluate-scale-"))
    columns = ("program", "scores", "seconds", "CPU seconds", "peak memory, GiB", "EER", "FNMR at FMR 1e-6")
    report = Report("evaluate_scale", f"`evaluate` on {chosen.scores:,} scores of {chosen.people:,} people.", columns)
    whole, tenth = work / "scores", work / "tenth"
    make(whole, chosen.scores, chosen.people)
    tenth.mkdir()
    files = sorted(whole.iterdir())
    for file in files[: max(len(files) // 10, 1)]:
        os.link(file, tenth / file.name)
    every = evaluated(whole, work / "all", chosen.replicates)
    plain = evaluated(whole, work / "plain", 0)
    part, rival = evaluated(tenth, work / "part", chosen.replicates), sorted_exactly(tenth)
    fewer = part.metrics["failures"]["pairs"]
    for program, scores, found in (
        (f"evaluate, {chosen.replicates} replicates", chosen.scores, every),
        ("evaluate, no intervals", chosen.scores, plain),
        (f"evaluate, {chosen.replicates} replicates", fewer, part),
        ("sort as float64, whole ROC", fewer, rival),
    ):
        fnmr = found.metrics.get("fnmr") or {of: row["fnmr"] for of, row in found.metrics["fnmr_at_fmr"].items()}
        cells = (f"{found.seconds:.0f}", f"{found.cpu:.0f}", f"{found.memory / GIB:.2f}")
        report.add(program, f"{scores:,}", *cells, f"{found.metrics['eer']:.12f}", f"{fnmr.get('1e-06', np.nan):.12f}")
    equal = same(part.metrics, rival.metrics)
    report.notes += [
        f"EER, EER of real people and FNMR at {len(TARGETS)} FMRs of {fewer:,} scores equal those of the sort to the "
        f"last bit: {'yes' if equal else 'NO'}.",
        f"Memory of {chosen.scores:,} scores is {every.memory / part.memory:.2f} times that of {fewer:,}; it counts "
        "pages of temporary files, which the system takes back where memory is short.",
    ]
    report.write(chosen.results)
    shutil.rmtree(work)
    if not equal:
        raise SystemExit("The numbers differ from those of the sort.")


if __name__ == "__main__":
    main()
