"""Workers killed in the middle of their work: the run ends by itself, with the same rows."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from e2e.harness import People, Run, pair_up, parts, repeated, score_plainly, without_work


def workers(title: str) -> list[int]:
    """The processes of Ray that have `title` in theirs and that work for this process's jobs, or were started by it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                shown = (entry / "cmdline").read_bytes()
                named = shown.startswith(b"ray::") and title.encode() in shown
                if named and (serves_us(entry) or os.getpid() in ancestors(int(entry.name))):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has ended meanwhile, or is not ours to look at
    return found


def serves_us(process: Path) -> bool:
    """Whether a worker of Ray writes its log in this session and for no other job: others may use the cluster too.

    A worker that Ray started before anybody wanted it keeps a log that names no job (ffffffff).
    """
    if not ray.is_initialized():
        return False
    us = ray.get_runtime_context()
    log = Path(os.readlink(process / "fd" / "1"))
    return us.get_session_name() in log.parts and any(f"-{job}-" in log.name for job in (us.get_job_id(), "ffffffff"))


def ancestors(process: int) -> list[int]:
    """Parents of a process, up to the first."""
    line = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        line.append(process)
    return line


class Killer:
    """Kills a worker again and again, after 1 to `most` further parts; what it sees is told by its attributes.

    killed: how many were killed; again: the finished parts that were written a second time.
    """

    def __init__(self, work: Path, stage: str, title: str, times: int, most: int) -> None:
        self.killed = 0
        self.again: set[str] = set()
        self._rng = random.Random(times)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work / stage, title, times, most))

    def _run(self, folder: Path, title: str, times: int, most: int) -> None:
        due, before = 1, {}
        while not self._stop.is_set():
            now = parts(folder.parent, folder.name)
            self.again |= {name for name, facts in now.items() if before.get(name, facts) != facts}
            before |= now
            if self.killed < times and len(now) >= due and (alive := workers(title)):
                os.kill(self._rng.choice(alive), signal.SIGKILL)
                self.killed += 1
                due = len(now) + self._rng.randint(1, most)
            time.sleep(self._rng.uniform(0, 0.05))

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def job(people: People, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """The options of a run of 800 photos with some unusable ones."""
    home = tmp_path_factory.mktemp("workers")
    photos = repeated(pq.read_table(people.photos), 8)
    places = photos["uri"].to_pylist()
    for i in range(0, len(places), 100):
        places[i] = str(home / "missing.jpg")
    pq.write_table(photos.set_column(1, photos.schema.field("uri"), [places]), home / "photos.parquet")
    pq.write_table(pair_up(photos["photo"].to_pylist(), 7), home / "pairs.parquet")
    made = People(people.root, home / "photos.parquet", home / "pairs.parquet")
    return lambda out, *options: [*made.args(tiny, out), "--workers", "2", *options]


@pytest.fixture(scope="module")
def undisturbed(
    cluster: object, job: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list]]:
    """A run in which nothing is killed: its folder, and what came out."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, score_plainly(out, job(out, "--photos-per-shard", "4"))


@pytest.mark.thorough
def test_ten_workers_killed_while_embedding(
    run: Run, job: Callable[..., list[str]], undisturbed: tuple[Path, dict[str, list]], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    with Killer(out / ".work", "embeddings", "MapWorker", times=10, most=30) as killer:
        ended = run("score", *job(out, "--photos-per-shard", "4"))
    assert ended.code == 0, ended.err
    assert killer.killed == 10 and len(killer.again) <= 10
    assert without_work(out) == undisturbed[1]


@pytest.mark.parametrize(
    "title, shared_gb",
    [pytest.param("score_shard", "4", marks=pytest.mark.thorough), ("EmbeddingBlock", "1e-4")],
    ids=["scoring", "holding"],
)
def test_workers_killed_while_scoring(
    title: str,
    shared_gb: str,
    run: Run,
    job: Callable[..., list[str]],
    undisturbed: tuple[Path, dict[str, list]],
    tmp_path: Path,
) -> None:
    out, reused = tmp_path / "killed", str(undisturbed[0])
    options = ["--embeddings", reused, "--pairs-per-shard", "4", "--shared-embeddings-gb", shared_gb]
    with Killer(out / ".work", "scores", title, times=3, most=30) as killer:
        ended = run("score", *job(out, *options))
    assert ended.code == 0, ended.err
    assert killer.killed == 3 and len(killer.again) <= 3
    assert without_work(out) == undisturbed[1]
