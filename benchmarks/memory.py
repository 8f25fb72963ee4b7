"""Peak memory and CPU time of a process, and of another one with all its descendants, from Linux's /proc."""

import os
from collections.abc import Callable
from pathlib import Path


def forget_peak() -> int:
    """Let this process's peak start again; returns its resident bytes now."""
    Path("/proc/self/clear_refs").write_text("5")
    return field("/proc/self/status", "VmRSS:")


def peak() -> int:
    """The most resident bytes of this process since `forget_peak`."""
    return field("/proc/self/status", "VmHWM:")


class PeakMemory:
    """Samples memory as the proportional set size (PSS): a page that k processes share counts 1/k in each of them.

    Attributes:
        process: the largest PSS of the process itself, in bytes.
        tree: the largest sum over it and its descendants, in bytes.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.process = self.tree = 0

    def sample(self) -> None:
        """Take one sample; processes that end meanwhile count nothing."""
        sizes = {pid: _pss(pid) for pid in descendants(self._pid)}
        self.process = max(self.process, sizes.get(self._pid, 0))
        self.tree = max(self.tree, sum(sizes.values()))


class CpuTime:
    """Adds up the CPU time of a process and its descendants since it was made; `sample` it often, for what a process
    did after its last sample is lost when it ends.

    Args:
        pid: of the process.
        counts: whether a process is counted.
    """

    def __init__(self, pid: int, counts: Callable[[int], bool] = lambda _: True) -> None:
        self._pid, self._counts = pid, counts
        self._ticks: dict[int, int] = {}
        self.sample()
        self._before = dict(self._ticks)

    def sample(self) -> None:
        """Take one sample."""
        seen = filter(self._counts, descendants(self._pid))
        self._ticks |= {pid: ticks for pid in seen if (ticks := _cpu_ticks(pid))}

    @property
    def seconds(self) -> float:
        """In user and kernel mode, of all processes seen."""
        total = sum(ticks - self._before.get(pid, 0) for pid, ticks in self._ticks.items())
        return total / os.sysconf("SC_CLK_TCK")


def _cpu_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def descendants(pid: int) -> set[int]:
    """The process, and all that it and those it has started have started."""
    parents = {int(entry): _parent(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
    found, fresh = {pid}, {pid}
    while fresh := {child for child, parent in parents.items() if parent in fresh} - found:
        found |= fresh
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _pss(pid: int) -> int:
    try:
        return field(f"/proc/{pid}/smaps_rollup", "Pss:")
    except OSError:
        return 0


def field(file: str, name: str) -> int:
    """The line `name 123 kB` of a file of /proc, in bytes; 0 if there is none."""
    lines = Path(file).read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
