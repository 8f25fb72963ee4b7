"""`make test` ends within 8 minutes on two cores; which of its tests take longest.

There is no rival: the time is that of the whole command, in a virtual environment that is set up.
"""

import re
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.harness import ROOT, Report, parser, seconds_of

ROW = re.compile(r"([\d.]+)s (call|setup|teardown) +(.+)")  # of pytest --durations


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    claim = "The slowest of what `make test` runs, target for the whole < 480 s on two idle cores."
    report = Report("suite_time", claim, ("test", "part", "seconds"))
    ended: list[subprocess.CompletedProcess[str]] = []
    command = ["make", "test"]
    wall = seconds_of(lambda: ended.append(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)))
    said = ended[0].stdout
    for seconds, part, test in map(re.Match.groups, filter(None, map(ROW.fullmatch, said.splitlines()))):
        report.add(f"`{test}`", part, f"{float(seconds):.1f}")
    used = getrusage(RUSAGE_CHILDREN)
    report.notes += [
        f"`make test`, exit code {ended[0].returncode}: {wall:.0f} s. {said.strip().splitlines()[-1]}",
        f"CPU of the test processes without that of Ray: {used.ru_utime + used.ru_stime:.0f} s",
    ]
    report.write(chosen.results)
    sys.exit(ended[0].returncode)


if __name__ == "__main__":
    main()
