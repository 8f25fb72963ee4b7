"""Ctrl-C and closed pipes, at any moment and of any program: never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ray_jobs.engine import signals

HERE = Path(__file__).parents[3]


def unread(*command: str, unbuffered: str = "") -> tuple[int, str]:
    """Exit code and stderr of a program whose output nobody reads: the reader has gone before its first word."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, *command],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE,
            timeout=120,
            env=environment,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "ray_jobs"),
        ("-m", "ray_jobs", "models", "list"),
        ("-m", "ray_jobs.models", "list"),
        ("-m", "ray_jobs.models", "--help"),
        ("-m", "ray_jobs.pairs", "--help"),
    ],
    ids=" ".join,
)
def test_an_output_that_nobody_reads_ends_quietly(command: tuple[str, ...]) -> None:
    code, said = unread(*command)
    assert code == signals.PIPE_CLOSED and said == ""


JOB = """
import sys
from faceverify.config import JobConfig
from ray_jobs.engine.session import run_job
sys.argv = ["job.py"]
sys.exit(run_job("job", JobConfig, lambda config: print("a line", flush=%s), "A job.", ()))
"""


@pytest.mark.parametrize("flush, unbuffered", [(True, ""), (False, ""), (False, "1")])
def test_a_job_whose_lines_nobody_reads(flush: bool, unbuffered: str) -> None:
    assert unread("-c", JOB % flush, unbuffered=unbuffered) == (signals.PIPE_CLOSED, "")


LATE = """
import os, signal, sys
sys.argv = ["-m"]
import ray_jobs
sys.argv = ["job.py"]
from faceverify.config import JobConfig
from ray_jobs.engine.session import run_job
run_job("job", JobConfig, lambda config: None, "A job.", ())
os.kill(os.getpid(), signal.SIGINT)  # as a library cleans up, after the job's last words
print("not reached")
"""


def test_ctrl_c_after_the_last_words_ends_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, cwd=HERE, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_what_signals_did_before_they_do_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), signals.caught():
        os.kill(os.getpid(), signal.SIGINT)
        signals.check_stopped()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    signals.check_stopped()
