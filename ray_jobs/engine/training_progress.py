"""How far a training is, shown by the driver while Ray Train runs it.

Ray Train tells its controller of reports alone, which are barriers of all workers; steps between them, and that workers
have started at all, reach the driver by a small actor.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from faceverify.wording import count_of
from ray_jobs.engine.progress import GPU_WAIT, GPU_WORK, Progress
from ray_jobs.engine.signals import check_stopped

T = TypeVar("T")
PATIENCE = 30.0  # seconds for the workers to start; then, and again after as long, it is said what they wait for
LOOK_SECONDS = 0.5  # between looks at the board


class Board:
    """An actor that holds the last step that the main worker has finished."""

    def __init__(self) -> None:
        self._step, self._steps, self._line = 0, 0, dict[str, Any]()
        self._started = False

    def start(self) -> None:
        """Called by any worker first of all; Ray Train starts none before there is room for all."""
        self._started = True

    def update(self, step: int, steps: int, line: dict[str, Any]) -> None:
        """Called by the main worker after every step."""
        self._step, self._steps, self._line = step, steps, line

    def read(self) -> tuple[bool, int, int, dict[str, Any]]:
        """Whether workers have started, the last step, the number of steps (0 = not known yet) and the last line."""
        return self._started, self._step, self._steps, self._line


def shown(board: Any, needs: dict[str, float], workers: int, work: Callable[[], T]) -> T:
    """Run `work` in a thread and show what the board says meanwhile; Ctrl-C and SIGTERM reach this thread at once.

    Args:
        board: a `Board` actor.
        needs: what each worker takes of the cluster, by the names of Ray's resources.
        workers: how many there are to be.
        work: waits for Ray Train.

    Returns:
        What `work` returns; what it raises is raised.
    """
    ended: list[T | BaseException] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as error:  # raised below, in the thread that asked
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True, name="Ray Train")
    thread.start()
    display = _Display(needs, workers)
    while thread.is_alive():
        thread.join(LOOK_SECONDS)
        display.update(_read(board))
        check_stopped()
    display.finish()
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]


def _read(board: Any) -> tuple[bool, int, int, dict[str, Any]] | None:
    """What the board says; None where the machine is too busy, or the cluster ends, which the other thread reports."""
    import ray

    try:
        return ray.get(board.read.remote(), timeout=5)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        return None


class _Display:
    """The progress line, and what workers that do not start wait for."""

    def __init__(self, needs: dict[str, float], workers: int) -> None:
        self._needs, self._workers = needs, workers
        self._progress: Progress | None = None
        self._patience = time.monotonic() + PATIENCE

    def update(self, read: tuple[bool, int, int, dict[str, Any]] | None) -> None:
        """Show what was read."""
        if read is None:
            return
        started, step, steps, line = read
        if not started and time.monotonic() >= self._patience:
            self._patience = time.monotonic() + PATIENCE
            print(waits_for(self._needs, self._workers), flush=True)
        if steps:
            self._progress = self._progress or Progress("steps", steps, done=max(step - 1, 0))
            self._advance(self._progress, step, line)

    def _advance(self, progress: Progress, step: int, line: dict[str, Any]) -> None:
        ahead = step - progress.done
        if ahead <= 0:
            return
        if "GPU" in self._needs and "wait" in line:
            work = line["seconds"] - line["wait"]
            progress.gpu_seconds({GPU_WAIT: line["wait"] * ahead, GPU_WORK: work * ahead})
        progress.add(ahead)

    def finish(self) -> None:
        """Leave the last state of the line."""
        if self._progress is not None:
            self._progress.finish()


def waits_for(needs: dict[str, float], workers: int) -> str:
    """What the workers of a training that do not start want, and what other work leaves of it."""
    import ray

    free, total = ray.available_resources(), ray.cluster_resources()
    has = " and ".join(f"{free.get(name, 0):g} of {total.get(name, 0):g} {name}" for name in needs)
    each = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
    return f"Waiting for {count_of(workers, 'worker')} with {each} each; the cluster has {has} free."
