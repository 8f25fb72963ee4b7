"""Ten times the pairs take the same memory: 1,000,000 pairs of embedded photos against 100,000.

The rival is a script of pandas and numpy that loads the list, scores it at once, and writes the CSV.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import JobRun, Report, Run, Spread, parser, require, run_job, run_program, seconds_of
from benchmarks.verification import aligners
from faceverify.scoring.similarity import cosines
from faceverify.vectors import unit

GIB = 2**30


def write_pairs(photos: list[str], count: int, file: Path) -> Path:
    """A CSV of `count` seeded random pairs."""
    chosen = np.random.default_rng(0).integers(0, len(photos), (count, 2))
    names = np.array(photos)
    pd.DataFrame({"photo_a": names[chosen[:, 0]], "photo_b": names[chosen[:, 1]]}).to_csv(file, index=False)
    return file


def plain_script(pairs: Path, embeddings: Path, out: Path) -> None:
    """The rival: everything at once."""
    table = pd.read_parquet(embeddings / "embeddings")
    vectors = np.stack(table["embedding"].to_list())
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = pd.Series(np.arange(len(table)), index=table["photo"])
    frame = pd.read_csv(pairs)
    a, b = (vectors[frame[name].map(numbers).to_numpy()] for name in ("photo_a", "photo_b"))
    frame["similarity"] = (a * b).sum(axis=1)
    frame.to_csv(out, index=False)


def kernel_rate(embeddings: Path, count: int, repeats: int) -> Spread:
    """Similarities per second of `scoring.cosines` alone, one thread, everything in memory."""
    units = unit(np.stack(pd.read_parquet(embeddings / "embeddings")["embedding"].to_list()))
    a, b = np.random.default_rng(1).integers(0, len(units), (2, count))
    return Spread.of([count / seconds_of(lambda: cosines(units.__getitem__, a, b)) for _ in range(repeats)])


@dataclass
class Bench:
    """The folder with the embeddings and the lists, and the table that is filled."""

    work: Path
    report: Report
    repeats: int
    runs: int = 0

    def ours(self, what: str, count: int, *options: str) -> int:
        """Repeat one run of score; returns the median of its peak memory."""
        found = [self._score(count, *options) for _ in range(self.repeats)]
        rates = Spread.of([count / run.manifest["seconds"]["score"] for run in found])
        return self._row(what, count, f"{rates:,.0f}", list(found))

    def rival(self, count: int) -> None:
        """Repeat the script."""
        places = [str(self.work / name) for name in (f"{count}.csv", "embedded", "rival.csv")]
        found = [
            run_program("-m", "benchmarks.million_pairs", "--script", *places, memory=True) for _ in range(self.repeats)
        ]
        self._row("pandas script, with CSV", count, "-", found)

    def _score(self, count: int, *options: str) -> JobRun:
        self.runs += 1
        lists = ["--embeddings", str(self.work / "embedded"), "--pairs", str(self.work / f"{count}.csv")]
        return run_job("score", self.work / f"run{self.runs}", *lists, *options, memory=True)

    def _row(self, what: str, count: int, rate: str, found: list[Run]) -> int:
        driver, tree = (Spread.of([getattr(r.memory, x) / GIB for r in found]) for x in ("process", "tree"))
        seconds = Spread.of([run.seconds for run in found])
        self.report.add(what, f"{count:,}", f"{seconds:.1f}", rate, f"{driver:.2f}", f"{tree:.2f}")
        return round(tree.median * GIB)


def measure(chosen: argparse.Namespace, bench: Bench) -> None:
    """Embed once, then score both lists."""
    view = chosen.data / "lfw" / "view1"
    source = ["--photos", str(view / "images"), "--pairs", str(view / "pairs.txt")]
    model = ["--model", str(chosen.data / "models" / "mobilefacenet_y1.onnx")]
    run_job("score", bench.work / "embedded", *source, *model, *next(iter(aligners(chosen.data).values())))
    photos = pd.read_parquet(bench.work / "embedded" / "embeddings")["photo"].to_list()
    few, many = chosen.pairs // 10, chosen.pairs
    for count in (few, many):
        write_pairs(photos, count, bench.work / f"{count}.csv")
    small, large = (bench.ours("score, with CSV", count) for count in (few, many))
    bench.ours("score, without CSV", many, "--csv.preset", "none")
    for count in (few, many):
        bench.rival(count)
    rate = kernel_rate(bench.work / "embedded", many, chosen.repeats)
    bench.report.notes += [
        f"Peak memory of score, {many:,} pairs over {few:,}: {large / small:.2f} (target <= 1.3).",
        f"The kernel alone (`scoring.cosines`, one thread): {rate:,.0f} similarities/s.",
        "Memory is the proportional set size, sampled while it runs; `all` counts Ray's own processes too.",
        "Similarities/s: of the stage that scores, with its Ray tasks and Parquet parts. Seconds: with Ray's start.",
    ]


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--pairs", type=int, default=1_000_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--script", type=Path, nargs=3, metavar=("PAIRS", "EMBEDDINGS", "OUT"), help="run the rival")
    chosen = options.parse_args()
    if chosen.script:
        plain_script(*chosen.script)
        return
    require(chosen.data / "lfw" / "view1", chosen.data / "models")
    columns = ("program", "pairs", "seconds in all", "similarities/s", "peak GiB, driver", "peak GiB, all processes")
    report = Report("million_pairs", "Random pairs of 1,549 embedded photos, 128 numbers each.", columns)
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, Bench(Path(folder), report, chosen.repeats))
    report.write(chosen.results)


if __name__ == "__main__":
    main()
