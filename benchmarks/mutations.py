"""Files changed at random: whatever is in them, they are read or refused, and no process ends or swells.

Small files of every kind that a user may bring (photos, weights, graphs, model cards, `meta.json`, lists of pairs) are
changed at random places, and given to the functions that the jobs read them with. Each process that reads is watched
by another one: one that ends, or is silent for a minute, is counted and replaced. Case i of a kind depends on the seed,
the kind and i alone, but for legacy .pt files, whose keys are memory addresses.

    python -m benchmarks.mutations --cases 1000000 --state mutations.json    # goes on where it stopped
    python -m benchmarks.mutations --only JPEG PNG WebP TIFF BMP GIF         # photos alone
"""

import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from benchmarks.harness import CORES, Report, parser

CHUNK = 2_000  # cases per process
SILENT_SECONDS = 60
MOST = 4 << 30  # bytes of memory for data at which a process is stopped; the claim is 1 GB
OUTCOMES = {b"r": "read", b"s": "refused", b"t": "traceback"}


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A copy with one to four changes: bits, bytes, numbers of 32 bits, pieces left out, put in, copied, or cut off."""
    new = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at, how = chance.randrange(len(new) + 1), chance.randrange(8)
        if how == 0 and at < len(new):
            new[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            new[at : at + 1] = bytes([chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))])
        elif how == 2:
            new[at : at + 4] = chance.choice((0, 1 << 28, (1 << 31) - 1, (1 << 32) - 1)).to_bytes(4, "little")
        elif how == 3:
            del new[at : at + chance.randrange(1, 17)]
        elif how == 4:
            new[at:at] = chance.randbytes(chance.randrange(1, 17))
        elif how in (5, 6):
            start, size = chance.randrange(len(new) + 1), chance.randrange(1, 65)
            new[at : at + (size if how == 5 else 0)] = new[start : start + size]
        elif chance.random() < 0.2:
            del new[at:]
    return bytes(new)


class Kind:
    """Files of one kind.

    Args:
        share: of the cases, in relation to those of the other kinds.
        files: whole ones to be changed.
        read: what a job does with one; raises UserError, BadData or ValueError to refuse it.
        finish: what makes a file of what was changed.
    """

    def __init__(
        self,
        share: float,
        files: list[bytes],
        read: Callable[[bytes, Path], object],
        finish: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.share, self.files, self.read, self.finish = share, files, read, finish

    def case(self, seed: str, number: int) -> bytes:
        """The file of a case."""
        chance = random.Random(f"{seed}/{number}")
        return self.finish(mutate(chance.choice(self.files), chance))


def outcome(kind: Kind, data: bytes, folder: Path) -> bytes:
    """Read a file; a key of `OUTCOMES`."""
    from faceverify.errors import FaceverifyError

    try:
        kind.read(data, folder)
    except FaceverifyError:
        return b"s"
    except Exception as error:
        # Functions whose callers make a sentence of it raise ValueError; others of its kind come from elsewhere.
        if type(error) is ValueError or (isinstance(error, ValueError) and type(error).__module__.startswith("facev")):
            return b"s"
        traceback.print_exc(limit=-6)
        return b"t"
    return b"r"


def _child(kind: Kind, seed: str, numbers: range, out: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        for number in numbers:
            os.write(out, outcome(kind, kind.case(seed, number), Path(folder)))
    os.write(out, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode() + b"\n")


def run_chunk(kind: Kind, seed: str, numbers: range, log: BinaryIO) -> tuple[Counter[str], list[int], int]:
    """Read the cases of `numbers` in a process of its own, and another one behind each that ends.

    Returns:
        How many cases came out how; those that ended their process; the most memory of a process in kilobytes.
    """
    counts: Counter[str] = Counter()
    ended: list[int] = []
    most = 0
    while numbers:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(read_end)
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                _child(kind, seed, numbers, write_end)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(write_end)
        said, silent = _listen(read_end)
        if silent:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        done = sum(said.count(code) for code in OUTCOMES)
        counts.update({name: said.count(code) for code, name in OUTCOMES.items()})
        if status == 0:
            return counts, ended, max(most, int(said.lstrip(b"".join(OUTCOMES)) or 0))
        counts["silent" if silent else "ended"] += 1
        ended.append(numbers[done])
        numbers = numbers[done + 1 :]
    return counts, ended, most


def _listen(read_end: int) -> tuple[bytes, bool]:
    """All that a process says, and whether it was silent for too long."""
    said = bytearray()
    with os.fdopen(read_end, "rb", buffering=0) as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], SILENT_SECONDS)
            if not ready:
                return bytes(said), True
            piece = stream.read(65536)
            if not piece:
                return bytes(said), False
            said += piece


def main() -> None:
    """Run all kinds, going on from the state if there is one, and write the table."""
    from benchmarks.mutated_files import kinds

    options = parser("No file changed at random ends a process or takes more than 1 GB.")
    options.add_argument("--cases", type=int, default=1_000_000, help="of all chosen kinds together")
    options.add_argument("--only", nargs="+", metavar="KIND", help="these kinds instead of all")
    options.add_argument("--seed", default="1", help="makes the cases")
    options.add_argument("--state", type=Path, help="JSON file that keeps what is done, to go on from")
    args = options.parse_args()
    all_kinds = {name: kind for name, kind in kinds().items() if not args.only or name in args.only}
    whole = sum(kind.share for kind in all_kinds.values())
    state = _State(args)
    start = time.perf_counter()
    for name, kind in all_kinds.items():
        _run_kind(name, kind, round(args.cases * kind.share / whole), args.seed, state)
    _report(all_kinds, args, state, time.perf_counter() - start)


class _State:
    """What is done, by kind: the next case, counts, cases that ended a process, memory."""

    def __init__(self, args: Namespace) -> None:
        self._file: Path | None = args.state
        there = self._file is not None and self._file.exists()
        self.kinds: dict[str, dict] = json.loads(self._file.read_text()) if self._file and there else {}

    def of(self, name: str) -> dict:
        return self.kinds.setdefault(name, {"next": 0, "counts": {}, "ended": [], "kilobytes": 0, "seconds": 0.0})

    def save(self) -> None:
        if self._file:
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(self.kinds))
            partial.replace(self._file)


def _run_kind(name: str, kind: Kind, total: int, of_all: str, state: _State) -> None:
    done = state.of(name)
    with tempfile.TemporaryFile() as log, ThreadPoolExecutor(CORES) as threads:
        while done["next"] < total:
            starts = range(done["next"], min(total, done["next"] + CORES * CHUNK), CHUNK)
            began = time.perf_counter()
            parts = [range(start, min(start + CHUNK, total)) for start in starts]
            seed = f"{of_all}/{name}"
            for counts, ended, most in threads.map(lambda part: run_chunk(kind, seed, part, log), parts):  # noqa: B023
                done["counts"] = dict(Counter(done["counts"]) + counts)
                done["ended"] += ended
                done["kilobytes"] = max(done["kilobytes"], most)
            done["next"], done["seconds"] = parts[-1].stop, done["seconds"] + time.perf_counter() - began
            state.save()
            print(name, done["next"], done["counts"], f"{done['kilobytes'] / 1e3:.0f} MB", file=sys.stderr, flush=True)
        log.seek(0)
        sys.stderr.write(log.read()[-4000:].decode(errors="replace"))


def _report(all_kinds: dict[str, Kind], args: Namespace, state: _State, seconds: float) -> None:
    columns = ("kind", "cases", "read", "refused", "tracebacks", "processes ended", "silent", "most memory, MB")
    report = Report("mutations", "Files changed at random are read or refused; none ends a process.", columns)
    for name in all_kinds:
        done = state.of(name)
        counts = [done["counts"].get(key, 0) for key in ("read", "refused", "traceback", "ended", "silent")]
        report.add(name, f"{done['next']:,}", *(f"{count:,}" for count in counts), f"{done['kilobytes'] / 1e3:.0f}")
        if done["ended"]:
            report.notes.append(f"{name}: cases that ended a process: {done['ended'][:20]}")
    total = sum(state.of(name)["next"] for name in all_kinds)
    spent = sum(state.of(name)["seconds"] for name in all_kinds)
    report.notes.append(f"{total:,} files, seed {args.seed}, {spent / 60:.0f} minutes in {CORES} processes at a time")
    report.write(args.results)


if __name__ == "__main__":
    main()
