"""The progress line of a job: on a terminal, in a log, and for Prometheus."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ray_jobs.engine.prometheus import Measures, measures
from ray_jobs.engine.signals import check_stopped

GPU_WAIT, GPU_WORK = "gpu wait", "gpu work"  # seconds of workers with a GPU, among those of their stages
ESTIMATE_AFTER = 2.0  # seconds after the first finished piece before anything is said of what is left, at least


@dataclass
class Progress:
    """One line that says how far the work is: rewritten on a terminal, once in 10 s in a log."""

    what: str
    total: int
    done: int = 0
    rejected: int = 0
    _start: float = field(default_factory=time.perf_counter)
    _begun_at: int = 0
    _shown: float = 0.0
    _first: tuple[float, int] | None = None  # when the first piece of work was finished, and how many rows were then
    _latest: float = 0.0
    _gpus: dict[str, float] = field(default_factory=lambda: {GPU_WAIT: 0.0, GPU_WORK: 0.0})
    _told: tuple[int, int] = (0, 0)
    _measures: Measures | None = None

    def __post_init__(self) -> None:
        self._begun_at = self.done
        self._told = self.done, self.rejected

    @property
    def seconds(self) -> float:
        """Since the start of this work."""
        return time.perf_counter() - self._start

    @property
    def rate(self) -> float | None:
        """Rows per second since the first finished piece: what workers need to start is no part of it. None = unknown.

        All workers finish their first pieces at about the same time, so a rate means nothing before about as much time
        has passed as such a piece took.
        """
        if self._first is None:
            return None
        begun, at = self._first
        seconds = self._latest - begun
        return (self.done - at) / seconds if seconds >= max(ESTIMATE_AFTER, begun / 2) and self.done > at else None

    @property
    def seconds_left(self) -> float | None:
        """To the end, at this rate; None = unknown."""
        return None if self.rate is None else (self.total - self.done) / self.rate

    @property
    def gpu_wait(self) -> float | None:
        """Share of their time that workers with a GPU waited for work; None if there are none."""
        together = sum(self._gpus.values())
        return self._gpus[GPU_WAIT] / together if together else None

    def gpu_seconds(self, seconds: Mapping[str, float]) -> None:
        """Note what workers with a GPU say of their time, if they do (GPU_WAIT, GPU_WORK)."""
        for name in self._gpus:
            self._gpus[name] += seconds.get(name, 0.0)

    def add(self, rows: int, rejected: int = 0) -> None:
        """Count finished rows, and show the line when it is time."""
        check_stopped()
        self.done += rows
        self.rejected += rejected
        self._latest = self.seconds
        if rows and self._first is None:
            self._first = self._latest, self.done
        terminal = sys.stderr.isatty()
        if self.seconds - self._shown >= (0.2 if terminal else 10):
            self._shown = self.seconds
            left = self.seconds_left
            ending = f"{_duration(self.seconds)} so far" if left is None else f"about {_duration(left)} left"
            self._print(f"{self._line(self.rate)}, {ending}", "\r" if terminal else "")
            self._tell()

    def finish(self) -> None:
        """The last state of the line."""
        whole = (self.done - self._begun_at) / max(self.seconds, 1e-9)  # with the start: what it took altogether
        self._print(f"{self._line(whole)}, {_duration(self.seconds)}", "\r" if sys.stderr.isatty() else "", "\n")
        self._tell()

    def _line(self, rate: float | None) -> str:
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        wait = "" if self.gpu_wait is None else f", GPUs wait {self.gpu_wait:.0%}"
        speed = "" if rate is None else f", {rate:,.0f}/s" if rate >= 9.95 else f", {rate:.1f}/s"
        return f"{self.what}: {self.done:,}/{self.total:,}{speed}{rejected}{wait}"

    def _tell(self) -> None:
        self._measures = self._measures or measures(self.what)
        if self._measures is not None:
            rows, rejected = self._told
            self._told = self.done, self.rejected
            self._measures.tell(
                self.done - rows,
                self.rejected - rejected,
                rows_per_second=self.rate,
                seconds_left=self.seconds_left,
                share_done=self.done / max(self.total, 1),
                gpu_wait_share=self.gpu_wait,
            )

    @staticmethod
    def _print(line: str, start: str, end: str | None = None) -> None:
        clear = "\033[K" if start else ""  # what an earlier, longer line left behind
        ending = end if end is not None else ("" if start else "\n")
        print(f"{start}{line}{clear}", end=ending, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 100 else f"{hours:.1f} h"
