"""What every job does around its work: exit codes, the progress line, connecting."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from faceverify.config import JobConfig
from faceverify.errors import BadData, PlatformError, Reason, UserError
from ray_jobs.engine import cluster as cluster_module
from ray_jobs.engine import progress as progress_line
from ray_jobs.engine import session, signals
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(JobConfig):
    """Settings of a job that does nothing."""

    source: str = ""
    """Anything."""


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ending(work: Callable[[Config], Any], monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["job.py", *options])
    return run_job("job", Config, work, "A job.", ("source",))


def raising(error: BaseException) -> Callable[[Config], None]:
    def work(_: Config) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    "error, code, sentence",
    [
        (UserError("pairs: there is no file."), 2, "job: pairs: there is no file."),
        (PlatformError("no bucket."), 3, "job: no bucket."),
        (BadData(Reason.EMPTY, "x.jpg"), 3, "job: empty: x.jpg"),
        (OSError(28, "No space left on device"), 3, "job: storage failed: [Errno 28] No space left on device; fix"),
        (KeyboardInterrupt(), 130, "job: stopped by Ctrl-C"),
        (BrokenPipeError(32, "Broken pipe"), 3, "job: storage failed: [Errno 32] Broken pipe; fix"),  # of a connection
    ],
)
def test_an_error_is_an_exit_code_and_a_sentence(
    error: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ending(raising(error), monkeypatch, "--source", "x") == code
    said = capsys.readouterr().err
    assert said.startswith(sentence) and "Traceback" not in said and said.count("\n") == bool(sentence)


def test_a_defect_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(raising(ZeroDivisionError("oh")), monkeypatch, "--source", "x") == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in said and said.splitlines()[-1].startswith("job: this is a defect of faceverify")


def test_sigterm_ends_the_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work(_: Config) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:  # as a careless handler would
            pytest.fail("swallowed")

    assert ending(work, monkeypatch, "--source", "x") == 143
    assert "stopped by SIGTERM" in capsys.readouterr().err


def test_done_and_what_is_required(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Config] = []
    assert ending(seen.append, monkeypatch, "--source", "here", "--workers", "3") == 0
    assert (seen[0].source, seen[0].workers) == ("here", 3)
    assert ending(seen.append, monkeypatch) == 2
    assert len(seen) == 1 and "--source" in capsys.readouterr().err


def test_progress_in_a_log_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: now[0])
    progress = Progress("photos", 1000, done=100)
    progress._start = now[0]
    for _ in range(30):
        now[0] += 1
        progress.add(10, 1)
    progress.finish()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "photos: 200/1,000, 10/s, 10 rejected, about 80.0 s left",
        "photos: 300/1,000, 10/s, 20 rejected, about 70.0 s left",
        "photos: 400/1,000, 10/s, 30 rejected, about 60.0 s left",
        "photos: 400/1,000, 10/s, 30 rejected, 30.0 s",
    ]


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("start, piece", [(0.0, 0.15), (60.0, 0.5), (5.0, 40.0), (300.0, 20.0)])
def test_no_estimate_is_far_off(
    workers: int, start: float, piece: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the start costs: shown are estimates that are right within a factor of 2.5, or none."""
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: now[0])
    turns = 40 if piece > 1 else 150
    pieces = turns * workers
    progress = Progress("photos", 128 * pieces, _start=now[0])
    progress.add(0)  # as jobs do that look for what an earlier run left
    # Workers are not in step: each begins a little later.
    ends = sorted(
        start + (turn + 1 + 0.1 * worker / workers) * piece for worker in range(workers) for turn in range(turns)
    )
    told = 0
    for end in ends:
        now[0] = end
        progress.add(128)
        left = progress.seconds_left
        if left is not None and end < ends[-1]:
            told += 1
            assert (ends[-1] - end) / 2.5 - piece <= left <= (ends[-1] - end) * 2.5 + piece
    assert told, "never an estimate"
    assert "h left" not in capsys.readouterr().err


def test_one_photo_has_no_estimate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: now[0])
    progress = Progress("photos", 1, _start=now[0])
    now[0] = 12.0
    progress.add(0)
    now[0] = 25.0
    progress.add(1)
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "photos: 0/1, 12.0 s so far",
        "photos: 1/1, 25.0 s so far",
        "photos: 1/1, 0.0/s, 25.0 s",
    ]


def test_connecting_twice_gives_the_same_cluster(cluster: object) -> None:
    assert cluster_module.connect() == cluster


def test_a_signal_that_a_library_swallowed_is_raised_at_the_next_progress() -> None:
    progress = Progress("rows", 10)
    progress.add(1)
    with contextlib.suppress(signals.Stopped):  # as a library's callback would
        signals.on_signal(signal.SIGTERM, None)
    try:
        with pytest.raises(signals.Stopped):
            progress.add(1)
    finally:
        signals.asked.clear()


def test_an_output_in_rays_copy_of_the_working_directory_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_0"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match="out is 'runs/faces'"):
        session.check_kept("runs/faces")
    for kept in ("", str(tmp_path / "runs"), "s3://bucket/runs"):
        session.check_kept(kept)


def test_workers_outlast_a_pause_between_tasks(cluster: Cluster, tmp_path: Path) -> None:
    several = cluster.cpus + 2

    def meet(number: int) -> int:
        (tmp_path / str(number)).touch()
        while len(list(tmp_path.iterdir())) < several:  # each of them has a worker of its own
            time.sleep(0.01)
        return os.getpid()

    meeting = ray.remote(num_cpus=0)(meet)
    workers = ray.get([meeting.remote(number) for number in range(several)])
    assert len(set(workers)) == several
    time.sleep(3)  # Ray's own limit is 1 s
    assert all(Path(f"/proc/{worker}").exists() for worker in workers)


@given(st.lists(st.integers(1, 96), min_size=1, max_size=5), st.integers(1, 12))
def test_every_worker_finds_its_share_on_some_node(nodes: list[int], workers: int) -> None:
    share = Cluster(sum(nodes), 0, len(nodes), 1, 1, tuple(nodes)).share(workers)
    room = lambda each: sum(int(cpus / each + 1e-9) for cpus in nodes)  # noqa: E731
    assert room(share) >= workers > room(share * 1.01)


def test_the_share_on_nodes_of_two_sizes() -> None:
    cluster = Cluster(10, 0, 2, 1, 1, (8, 2))
    assert [cluster.share(workers) for workers in (1, 2, 5, 20)] == [8, 4, 2, 0.5]


def test_a_cluster_that_does_not_grow_is_told(cluster: Cluster) -> None:
    with pytest.raises(PlatformError, match=r"has \d+ CPU and 0 GPU and did not come to 1 CPU and 3 GPU"):
        cluster_module.connect(Config(cpus=1, gpus=3, grow_minutes=0.01))
    assert cluster_module.connect(Config(cpus=1)) == cluster


def test_what_nodes_must_see_alike(tmp_path: Path) -> None:
    seen = [cluster_module.look_at(str(tmp_path / "gone")), cluster_module.look_at(str(tmp_path))]
    (tmp_path / "a").write_bytes(b"1")
    seen += [cluster_module.look_at(str(tmp_path)), cluster_module.look_at(str(tmp_path / "a"))]
    (tmp_path / "a").write_bytes(b"2")
    seen.append(cluster_module.look_at(str(tmp_path / "a")))
    assert len(set(seen)) == 5
