"""A scoring run that kills itself before its n-th change of the disk, for every n; run as a program of its own.

    python dying.py DONE TARGET OPTIONS...

DONE holds the finished parts of all shards, so that no cluster is needed: each run begins, plans, finds nothing to
embed or score, and commits. TARGET/000 is the folder of the run that dies before its first change and is then started
again, TARGET/001 the one that dies before its second, and so on; TARGET/000.plan keeps what was planned. Each run is a
fork of this process.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray
import ray.data  # noqa: F401  (loaded once, for all forks)

from faceverify import run_folder
from faceverify.config import load
from faceverify.joining import Join
from faceverify.storage import Location
from ray_jobs import score
from ray_jobs.engine.cluster import Cluster

CHANGES: list[tuple[Any, str]] = [
    (Location, "write_bytes"),
    (Location, "delete"),
    (Location, "open_output"),
    (Location, "make_parent"),
    (os, "replace"),
    (run_folder, "write_file"),
    (os, "link"),
    (pq.ParquetWriter, "write_table"),
    (pq.ParquetWriter, "close"),
    (os, "truncate"),
    (Join, "put"),
]


def die_before(number: int) -> None:
    """Arrange for the process to be killed when change `number` (from 0) is about to happen."""
    left = number

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*args, **kwargs)

        return wrapper

    for owner, name in CHANGES:
        setattr(owner, name, counted(vars(owner)[name]))


def in_fork(work: Callable[[], None]) -> int:
    """The wait status of a fork that does `work`."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def keep_the_plan(embed: Callable[..., Any]) -> Callable[..., Any]:
    """`embed` with a copy of the plan made before it."""

    def wrapper(config: Any, inputs: Any, plan: Any, folder: Any, cluster: Any) -> Any:
        kept = Path(f"{folder.out}.plan")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder.work.path, kept)
        return embed(config, inputs, plan, folder, cluster)

    return wrapper


def main() -> int:
    """Die once per change, each time in a new folder, and start again there."""
    done, target, options = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    score.connect = lambda *_: Cluster(2, 0, 1, 1 << 30, 1 << 30)
    score.embed_photos = keep_the_plan(score.embed_photos)
    for number in range(1000):
        out = target / f"{number:03d}"
        config = load(score.ScoreConfig, [*options, "--out", str(out)], prog="", description="")
        for stage in done.iterdir():
            shutil.copytree(stage, out / ".work" / stage.name)

        def attempt(number: int = number, config: score.ScoreConfig = config) -> None:
            die_before(number)
            score.run(config)

        status = in_fork(attempt)
        if status == 0:
            return 0
        if status != signal.SIGKILL or in_fork(lambda config=config: score.run(config)) != 0:
            return 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
