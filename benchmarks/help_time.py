"""`--help` of every job answers within half a second.

The rival is the interpreter that imports what the job itself will need (ray, torch, cv2, onnxruntime): what `--help`
costs where a program imports at its top.
"""

import subprocess
import sys

from benchmarks.harness import ROOT, Report, Spread, parser, seconds_of
from ray_jobs.__main__ import JOBS

EAGER = "import ray.data, torch, cv2, onnxruntime"


def seconds(*arguments: str) -> float:
    """Wall time of the interpreter with these arguments."""
    command = [sys.executable, *arguments]
    return seconds_of(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    report = Report("help_time", "Median wall time of `--help`, target < 0.5 s.", ("command", "seconds"))
    commands: dict[str, tuple[str, ...]] = {
        f"python -m ray_jobs.{job} --help": ("-m", f"ray_jobs.{job}", "--help") for job in JOBS
    }
    commands[f'python -c "{EAGER}"'] = ("-c", EAGER)
    for shown, arguments in commands.items():
        seconds(*arguments)  # fills the page cache
        times = [seconds(*arguments) for _ in range(chosen.repeats)]
        report.add(shown, f"{Spread.of(times):.2f}")
    report.notes.append(f"Median (smallest to largest) of {chosen.repeats} runs after one that is not counted.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
