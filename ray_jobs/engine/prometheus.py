"""What a job tells Prometheus through Ray's own exporter: rows, rejects, rate, time left, and how long GPUs wait."""

import sys
from pathlib import Path
from typing import Any

PREFIX = "faceverify_"
GAUGES = {
    "rows_per_second": "Rows per second since the first rows of this work were done; absent before it is known.",
    "seconds_left": "Seconds to the end of this work at that rate; absent before it is known.",
    "share_done": "Share of the rows that are done, 0 to 1.",
    "gpu_wait_share": "Share of their time that workers with a GPU wait for work, 0 to 1; absent without GPUs.",
}


class Measures:
    """The measures of one piece of work; each carries the job and what is counted as labels.

    Args:
        what: is counted ("photos", "pairs", ...).
    """

    def __init__(self, what: str) -> None:
        from ray.util.metrics import Counter, Gauge

        self._labels = {"task": Path(sys.argv[0]).stem, "rows": what}  # Ray has labels named job and name of its own
        keys = tuple(self._labels)
        self._rows = Counter(f"{PREFIX}rows", "Rows that this job has finished.", keys)
        self._rejected = Counter(f"{PREFIX}rejected", "Rows that became rejects.", keys)
        self._gauges = {name: Gauge(PREFIX + name, said, keys) for name, said in GAUGES.items()}

    def tell(self, rows: int, rejected: int, **gauges: float | None) -> None:
        """Add to the counters, and set the gauges that are known."""
        for counter, more in ((self._rows, rows), (self._rejected, rejected)):
            if more > 0:
                counter.inc(more, self._labels)
        for name, value in gauges.items():
            if value is not None:
                self._gauges[name].set(value, self._labels)


def measures(what: str) -> Measures | None:
    """Where to tell, or None while this process has no Ray."""
    ray: Any = sys.modules.get("ray")
    return Measures(what) if ray is not None and ray.is_initialized() else None
