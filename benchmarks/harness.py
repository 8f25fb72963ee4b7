"""What the programs share: their options, timing by repeats, jobs as subprocesses, and the results file."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.memory import PeakMemory

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ray", "onnxruntime", "onnxruntime-gpu", "torch", "opencv-python-headless", "numpy", "pyarrow", "pandas")
SAMPLE_SECONDS = 0.2
REST = 20  # times as long as a sample of memory takes is the pause after it: at most a twentieth is spent looking
CORES = len(os.sched_getaffinity(0))


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every program has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the test data")
    options.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where the table goes")
    return options


def require(*paths: Path) -> None:
    """Leave the program with a note and exit code 0 if data is absent."""
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        print(f"Skipped: there is no {', no '.join(absent)}; say where the data lies with --data DIR.")
        sys.exit(0)


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of repeats, printed as `median (smallest to largest)`."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of measured values."""
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Run:
    """One run of a program: wall time with everything, and its peak memory (0 if it was not looked at)."""

    seconds: float
    memory: PeakMemory


@dataclass(frozen=True)
class JobRun(Run):
    """One run of a job, with its manifest."""

    manifest: dict[str, Any]


def run_program(*arguments: str, watch: Callable[[], object] = lambda: None, memory: bool = False) -> Run:
    """Run the interpreter with `arguments`; it must succeed.

    Args:
        arguments: what stands behind `python` on the command line.
        watch: called about five times a second while it runs.
        memory: whether to sample it. That holds up the processes that are looked at, for long if they are large.
    """
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=said, stderr=said) as process:
            peak, due = PeakMemory(process.pid), 0.0
            while process.poll() is None:
                if memory and time.perf_counter() >= due:
                    taken = seconds_of(peak.sample)
                    due = time.perf_counter() + REST * taken
                watch()
                time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - start
        said.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}:\n{said.read().decode()}")
    return Run(seconds, peak)


def run_job(
    job: str, out: Path, *options: str, watch: Callable[[], object] = lambda: None, memory: bool = False
) -> JobRun:
    """Run `python -m ray_jobs.<job> OPTIONS --out OUT` as a user would; OUT must be new."""
    run = run_program("-m", f"ray_jobs.{job}", *options, "--out", str(out), watch=watch, memory=memory)
    return JobRun(run.seconds, run.memory, json.loads((out / "manifest.json").read_text()))


@dataclass
class Report:
    """A table of figures with what is needed to judge and to repeat them."""

    name: str
    claim: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One row; shown at once."""
        assert len(cells) == len(self.columns), f"{len(cells)} cells for {len(self.columns)} columns"
        self.rows.append(cells)
        print(" | ".join(cells), flush=True)

    def write(self, folder: Path) -> None:
        """Print the table and write it to `folder/<date>_<name>.md`."""
        table = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        lines = [f"# {self.name}", "", self.claim, ""]
        lines += [f"| {' | '.join(row)} |" for row in table]
        lines += ["", *(f"- {note}" for note in (*self.notes, *_circumstances(self.name)))]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{datetime.now(UTC):%Y-%m-%d}_{self.name}.md"
        path.write_text("\n".join(lines) + "\n")
        print("\n" + path.read_text())


def _circumstances(name: str) -> list[str]:
    """When, on what and with what the figures were made."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue  # of the two onnxruntimes one is installed
    load = os.getloadavg()[0]
    return [
        f"`python -m benchmarks.{name} {_options()}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC".replace(" `", "`"),
        f"{CORES} cores ({_processor()}), load average {load:.1f} at the end, Python {platform.python_version()}",
        ", ".join(found),
    ]


def _options() -> str:
    """The options given, without those that only say where things lie."""
    pairs = zip(["", *sys.argv[1:]], sys.argv[1:], strict=False)
    places = ("--data", "--results", "--photos", "--weights-out", "--state", "--work", "--forensic")
    return " ".join(word for before, word in pairs if word not in places and before not in places)


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
