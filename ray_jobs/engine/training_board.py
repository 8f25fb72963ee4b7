"""What the driver of a training hears of its workers: the board they write on, and the thread that reads it."""

import contextlib
import threading
import time
from typing import Any

from faceverify.wording import count_of
from ray_jobs.engine.progress import GPU_WAIT, GPU_WORK, Progress
from ray_jobs.engine.signals import check_stopped

PATIENCE = 30.0  # seconds for the workers to start; then, and again after as long, it is said what they wait for


class Board:
    """An actor on which the first worker writes how far it is, and any worker why it cannot go on."""

    def __init__(self) -> None:
        self._line: dict[str, Any] = {}
        self._fault: tuple[str, str] | None = None
        self._started = False

    def start(self) -> tuple[str, str] | None:
        """Of any worker, first of all; returns the fault of an earlier attempt."""
        self._started = True
        return self._fault

    def started(self) -> bool:
        """Whether any worker has come so far; Ray Train starts none before there is room for all."""
        return self._started

    def told(self, step: int, steps: int, line: dict[str, Any]) -> None:
        """Of the first worker."""
        self._line = {"step": step, "steps": steps, "line": line}

    def failed(self, kind: str, sentence: str) -> None:
        """Of any worker; the first fault counts, for the others may follow from it."""
        self._fault = self._fault or (kind, sentence)

    def read(self) -> tuple[dict[str, Any], tuple[str, str] | None]:
        """The last line and the fault."""
        return self._line, self._fault


class Watch:
    """Shows what the board says while the main thread waits for Ray Train.

    Args:
        board: the actor.
        needs: what each worker takes of the cluster, by the names of Ray's resources.
        workers: how many there are to be.
    """

    def __init__(self, board: Any, needs: dict[str, float], workers: int) -> None:
        self._board, self._needs, self._workers, self._over = board, needs, workers, threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        check_stopped()

    def _follow(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # the main thread is asked to stop too, and says so
            self._look()

    def _look(self) -> None:
        import ray

        progress: Progress | None = None
        patience = time.monotonic() + PATIENCE
        while not self._over.wait(0.5):
            try:
                started, (said, _) = ray.get([self._board.started.remote(), self._board.read.remote()], timeout=5)
            except ray.exceptions.GetTimeoutError:
                continue  # the machine is busy
            except Exception:  # the cluster ends; the main thread says why
                return
            if not started and time.monotonic() >= patience:
                patience = time.monotonic() + PATIENCE
                print(waits_for(self._needs, self._workers), flush=True)
            if said:
                progress = progress or Progress("steps", said["steps"], done=max(said["step"] - 1, 0))
                self._advance(progress, said)
        if progress is not None:
            progress.finish()

    def _advance(self, progress: Progress, said: dict[str, Any]) -> None:
        ahead = said["step"] - progress.done
        if ahead <= 0:
            return
        if "GPU" in self._needs and "wait" in (line := said["line"]):
            work = line["seconds"] - line["wait"]
            progress.gpu_seconds({GPU_WAIT: line["wait"] * ahead, GPU_WORK: work * ahead})
        progress.add(ahead)


def waits_for(needs: dict[str, float], workers: int) -> str:
    """What the workers of a training that do not start want, and what other work leaves of it."""
    import ray

    free, total = ray.available_resources(), ray.cluster_resources()
    has = " and ".join(f"{free.get(name, 0):g} of {total.get(name, 0):g} {name}" for name in needs)
    each = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
    return f"Waiting for {count_of(workers, 'worker')} with {each} each; the cluster has {has} free."
