"""What the process of `score` does alone: its CPU time while no worker works, and its memory, by the number of pairs.

Random pairs of random embeddings that are given (no photos) are scored on a cluster of this machine. Five times a
second the CPU time of the job's process and of Ray's workers is read; where the workers took less than a fifth of what
the process took, that was alone. What a list of two pairs takes alone is the start (Python, its libraries, the
connection to Ray), and is taken off. The share is that of the time which the job needs if the workers keep all cores
busy: CPU times are compared and not the clock, so that other load on the machine does not count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import CORES, ROOT, Report, parser
from benchmarks.memory import CpuTime, field
from benchmarks.scale import cluster, write_embeddings, write_pairs

SAMPLE_SECONDS = 0.2
BUSY = 0.2  # of the process's own time: workers that take less are idle (they wake now and then)


@dataclass
class Alone:
    """One run: seconds of CPU of the job's process, of the workers, and of the process while these were idle; most
    resident bytes of the process."""

    wall: float = 0
    driver: float = 0
    workers: float = 0
    alone: float = 0
    memory: int = 0

    def share(self, start: "Alone") -> float:
        """Of the job's time that the process spends alone, without the start."""
        alone = max(0.0, self.alone - start.alone)
        return alone / (alone + self.workers / CORES)


def run(checkout: Path, out: Path, *options: str) -> Alone:
    """Score with the code of a checkout."""
    found = Alone()
    command = [sys.executable, "-m", "ray_jobs.score", *options, "--csv.preset", "none", "--out", str(out)]
    start = time.perf_counter()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, cwd=checkout, stdout=said, stderr=said) as process,
    ):
        everything, own = CpuTime(os.getpid(), is_worker), CpuTime(process.pid, lambda pid: pid == process.pid)
        while process.poll() is None:
            time.sleep(SAMPLE_SECONDS)
            before = own.seconds, everything.seconds
            own.sample()
            everything.sample()
            driver, workers = own.seconds - before[0], everything.seconds - before[1]
            found.driver, found.workers = found.driver + driver, found.workers + workers
            found.alone += driver if workers < BUSY * driver else 0
            found.memory = max(found.memory, resident(process.pid))
        found.wall = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read().decode()}")
    return found


def is_worker(pid: int) -> bool:
    """Whether a process is one of Ray's workers."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


def resident(pid: int) -> int:
    """Resident bytes of a process that are its own: not those of the object store."""
    try:
        return field(f"/proc/{pid}/status", "RssAnon:")
    except OSError:
        return 0


def started(checkout: Path, work: Path) -> Alone:
    """A run on a list of two pairs in two files, which is as much as workers are asked for."""
    few = work / "few"
    if not few.exists():
        (few / "pairs").mkdir(parents=True)
        write_embeddings(few / "embedded", 2)
        for number in range(2):
            write_pairs(few / "pairs" / f"{number}.parquet", 2, 1)
    out = Path(tempfile.mkdtemp(dir=work)) / "out"
    return run(checkout, out, "--embeddings", str(few / "embedded"), "--pairs", str(few / "pairs"))


def measure(chosen: argparse.Namespace, work: Path, report: Report) -> None:
    """A row per version and number of pairs."""
    embedded = chosen.work / "emb" if chosen.work else work / "emb"
    if not embedded.exists():
        write_embeddings(embedded, chosen.embeddings)
    versions = [("this", ROOT, chosen.pairs)]
    if chosen.before:
        versions.append((chosen.before.name, chosen.before, chosen.pairs[:1]))
    for name, checkout, sizes in versions:
        start = started(checkout, work)
        report.add(name, "start", *figures(start, Alone(), 0))
        for count in sizes:
            pairs = (chosen.work or work) / f"{count}.parquet"
            if not pairs.exists():
                write_pairs(pairs, chosen.embeddings, count)
            out = Path(tempfile.mkdtemp(dir=work)) / "out"
            found = run(checkout, out, "--embeddings", str(embedded), "--pairs", str(pairs))
            report.add(name, f"{count:,}", *figures(found, start, count))


def figures(found: Alone, start: Alone, count: int) -> tuple[str, ...]:
    """The cells of a row."""
    alone = max(0.0, found.alone - start.alone)
    each = f"{alone / count * 1e6:.3f}" if count else ""
    share = f"{100 * found.share(start):.2f} %" if count else ""
    times = (found.wall, found.driver, found.workers, found.alone)
    return (*(f"{seconds:.1f}" for seconds in times), f"{alone:.2f}", each, share, f"{found.memory / 2**20:.0f}")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--pairs", type=int, nargs="+", default=[10_000_000, 100_000_000])
    options.add_argument("--embeddings", type=int, default=1_000_000)
    options.add_argument("--before", type=Path, help="checkout of an earlier commit, for the first number of pairs")
    options.add_argument("--work", type=Path, help="folder in which the inputs are kept")
    chosen = options.parse_args()
    columns = (
        "commit",
        "pairs",
        "wall s",
        "CPU s of the process",
        "of the workers",
        "alone",
        "without the start",
        "per million pairs",
        "share of the job",
        "MiB of the process",
    )
    claim = (
        f"What the process of `score` does alone: {chosen.embeddings:,} embeddings of 512 numbers, on {CORES} cores."
    )
    report = Report("driver_alone", claim, columns)
    with tempfile.TemporaryDirectory(prefix="fv", dir=chosen.work) as folder, cluster(Path(folder) / "ray"):
        measure(chosen, Path(folder), report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
