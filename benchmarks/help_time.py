"""`--help` of every job answers within half a second.

The rivals are the interpreter that imports what the job itself will need (ray, torch, cv2, onnxruntime): what `--help`
costs where a program imports at its top; the help of the whole module of the job, which is what it was before the
option classes were made alone (ray_jobs/engine/quick_help.py); and the bare interpreter. They take turns, so that what
else the machine does falls on all of them.
"""

import resource
import statistics
import subprocess
import sys

from benchmarks.harness import ROOT, Report, Spread, parser, seconds_of
from ray_jobs.__main__ import JOBS

WHOLE = (
    "import sys, importlib; job = sys.argv[1]; sys.argv[1:] = ['-h']; importlib.import_module(f'ray_jobs.{job}').main()"
)
EAGER = "import ray.data, torch, cv2, onnxruntime"


def cost(*arguments: str) -> tuple[float, float]:
    """Wall time and CPU time of the interpreter with these arguments."""
    command = [sys.executable, *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = seconds_of(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    columns = (
        "command",
        "seconds",
        "times the bare interpreter",
        "seconds, whole module",
        "CPU seconds",
        "of the whole",
    )
    report = Report("help_time", "Median wall time of `--help`, target < 0.5 s.", columns)
    commands: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        f"python -m ray_jobs.{job} --help": (("-m", f"ray_jobs.{job}", "--help"), ("-c", WHOLE, job)) for job in JOBS
    }
    commands[f'python -c "{EAGER}"'] = (("-c", EAGER), ("-c", EAGER))
    for shown, (arguments, whole) in commands.items():
        every: list[list[tuple[float, float]]] = [[], [], []]
        for _ in range(chosen.repeats + 1):
            for times, one in zip(every, (arguments, whole, ("-c", "pass")), strict=True):
                times.append(cost(*one))
        (wall, cpu), (wall_whole, cpu_whole), (bare, _) = (
            zip(*times[1:], strict=True) for times in every
        )  # the first fills the page cache
        middle = statistics.median
        report.add(
            shown,
            f"{Spread.of(wall):.2f}",
            f"{middle(wall) / middle(bare):.0f}",
            f"{Spread.of(wall_whole):.2f}",
            f"{middle(cpu):.2f}",
            f"{middle(cpu) / middle(cpu_whole):.0%}",
        )
    report.notes.append(f"Median (smallest to largest) of {chosen.repeats} runs after one that is not counted.")
    report.notes.append("CPU seconds are user and system time: what a machine with other work to do shows best.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
