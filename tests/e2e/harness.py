"""What the tests of whole jobs share: inputs from rendered people, running a job, reading back what it wrote."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Where their number is not what is tested: most of the work of a small job is the start of its workers.
ONE_WORKER = ("--workers", "1")


@dataclass(frozen=True)
class People:
    """Rendered people on disk.

    root: folder of the photos; photos: the table file, with landmarks; pairs: a Parquet file of labelled pairs.
    """

    root: Path
    photos: Path
    pairs: Path

    def args(self, model: Path, out: Path) -> list[str]:
        """The options of a plain `score` run, by one worker unless told otherwise behind them."""
        named = {"--photos": self.photos, "--pairs": self.pairs, "--model": model, "--out": out}
        options = [*(str(part) for item in named.items() for part in item), "--align.method", "annotated"]
        return [*options, *ONE_WORKER]


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Assert that it ended with `code` and one sentence that holds all `words`, without a traceback."""
        assert self.code == code, f"exit code {self.code}: {self.out}{self.err}"
        sentences = [line for line in self.err.splitlines() if not PROGRESS.match(line)]
        assert len(sentences) == 1, self.err
        assert "Traceback" not in self.out + self.err
        assert all(word in sentences[0] for word in words), sentences[0]


# Far more than any of it takes: a limit that a busy machine may come near says nothing of the program.
LIMIT = 600.0

PROGRESS = re.compile(r"(photos|pairs|fakes|faces|steps): [\d,]+/[\d,]+, ")

Run = Callable[..., Ended]  # run("score", *options): a job in this process, on the session's cluster


def repeated(photos: pa.Table, times: int) -> pa.Table:
    """The photos under `times` names each (`copy0/...`, `copy1/...`): much work from few files."""
    copies = []
    for number in range(times):
        names = pc.binary_join_element_wise(pa.scalar(f"copy{number}"), photos["photo"], "/")
        copies.append(photos.set_column(0, photos.schema.field("photo"), names))
    return pa.concat_tables(copies)


def pair_up(photos: list[str], step: int = 1) -> pa.Table:
    """Each photo with the one `step` places further on, in a circle."""
    others = photos[step:] + photos[:step]
    return pa.table({"photo_a": photos, "photo_b": others})


def without_work(out: Path) -> dict[str, Any]:
    """Everything that a scoring run published, ready to be compared with `==`."""
    made: dict[str, Any] = {name: pq.read_table(out / name).to_pylist() for name in ("scores", "embeddings", "rejects")}
    made["embeddings"].sort(key=lambda row: row["photo"])  # re-used ones come first
    return made | {"csv": (out / "scores.csv").read_bytes()}


def score_plainly(out: Path, options: list[str]) -> dict[str, Any]:
    """What an undisturbed run in this process publishes (for fixtures that serve several tests)."""
    from faceverify.config import load
    from ray_jobs.score import ScoreConfig, run

    run(load(ScoreConfig, options, prog="score", description=""))
    return without_work(out)


def parts(work: Path, stage: str) -> dict[str, tuple[int, int]]:
    """The finished parts of a stage, with what would change if one was written again: file number and time."""
    found = {}
    for path in (work / stage).glob("[0-9]*.parquet"):
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue  # the run has just been committed
        found[path.name] = (facts.st_ino, facts.st_mtime_ns)
    return found


class Driver:
    """A job as a process of its own."""

    def __init__(self, job: str, *options: str, env: dict[str, str] | None = None, **popen: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"ray_jobs.{job}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
            **popen,
        )

    def wait_until(self, reached: Callable[[], bool], seconds: float = LIMIT) -> bool:
        """Watch for a moment of the run; False if the process ended before."""
        deadline = time.monotonic() + seconds
        while not reached():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "the run has not come that far in time"
            time.sleep(0.002)
        return True

    def end(self, kill: int | None = None, seconds: float = LIMIT) -> Ended:
        """Send a signal, or let it run; wait for its end."""
        if kill is not None:
            self.process.send_signal(kill)
        try:
            out, err = self.process.communicate(timeout=seconds)
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
                self.process.communicate()
        return Ended(self.process.returncode, out, err)
