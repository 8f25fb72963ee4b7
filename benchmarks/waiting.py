"""Threads that sleep while they wait against threads that spin: training steps alone, and two processes side by side.

A step of mobilefacenet on random pixels with as many threads as there are cores, as a worker of `train` does it; the
two policies take turns. Side by side is the usual case on a CPU: the workers of a job, those that decode, other jobs.
"""

import os
import statistics
import subprocess
import sys
import time

from benchmarks.harness import CORES, Report, parser

POLICIES = ("ACTIVE", "PASSIVE")
STEP = "from benchmarks.waiting import steps; steps()"


def steps(count: int = 6, batch: int = 32) -> None:
    """The other process: print the seconds of a step, the first one left out."""
    import torch

    from faceverify.models.checkpoints import build

    torch.set_num_threads(CORES)
    network, faces = build("mobilefacenet", 128).train(), torch.randn(batch, 3, 112, 112)
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        network(faces).square().sum().backward()
        taken.append(time.perf_counter() - start)
    print(statistics.median(taken[1:]))


def seconds(policy: str, processes: int) -> float:
    """Median seconds of a step in so many processes at once."""
    command = [sys.executable, "-c", STEP]
    env = {**os.environ, "OMP_WAIT_POLICY": policy}
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return statistics.median(float(one.communicate()[0]) for one in running)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    report = Report("waiting", "Seconds of a step: threads that sleep take at most as long as threads that spin.",
                    ("processes", "spinning", "sleeping", "sleeping / spinning", "range"))  # fmt: skip
    for processes in (1, 2):
        found = [[seconds(policy, processes) for policy in POLICIES] for _ in range(chosen.repeats)]
        ratios = [passive / active for active, passive in found]
        middle = [f"{statistics.median(column):.2f}" for column in zip(*found, strict=True)]
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        report.add(str(processes), *middle, f"{statistics.median(ratios):.2f}", span)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
