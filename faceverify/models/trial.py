"""Testing an untrusted graph in a separate process, before this one opens it.

A graph is a program too: it may ask for any amount of memory in a few bytes, and a damaged one may bring the library
down that runs it. So a file that is not among the published ones is loaded and run once by a child with limits on
memory and time. What passed is noted in the cache, by content and library, and not tried again on that machine.
"""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from faceverify.models import cache

Kind = Literal["embedder", "forensic", "scrfd", "swapper", "yunet"]
SECONDS = 120  # of computing; of waiting ten times as much, for machines that do other things too
_ROOM, _TIMES = 700 << 20, 6  # bytes of memory, plus this multiple of the size of the file
_LIBRARIES = {"yunet": ("opencv-python-headless",)}


def require_tried(kind: Kind, data: bytes, sha256: str) -> None:
    """Check that a graph can be loaded and run within bounds, in a child process.

    Args:
        kind: what runs it.
        data: content of the ONNX file.
        sha256: of `data`, in hexadecimal.

    Raises:
        ValueError: it cannot be loaded, takes more than six times its size and 700 MB, or two minutes, or ends the
            child; the text says which.
    """
    note = cache.cache_dir() / "tried" / f"{kind}-{sha256}-{_library(kind)}"
    if note.exists():
        return
    in_child("trial_child", data, kind)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    except OSError:
        return  # it is tried again next time


def in_child(module: str, data: bytes, *words: str) -> bytes:
    """Hand the content of a file to a child process, which has six times its size and 700 MB of memory, two minutes.

    Args:
        module: of `faceverify.models`; it is run with `words` and the limit in bytes, and reads the standard input.
        data: the content.
        words: what it is told beside.

    Returns:
        What it wrote to the standard output.

    Raises:
        ValueError: it exceeded a limit, was ended by what it read, or refused it; the text says which.
    """
    limit = _ROOM + _TIMES * len(data)
    command = [sys.executable, "-m", f"faceverify.models.{module}", *words, str(limit)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # as this process finds its modules
    try:
        done = subprocess.run(  # noqa: S603
            command, input=data, capture_output=True, timeout=10 * SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it could not be loaded and run within {10 * SECONDS} s") from None
    if done.returncode < 0:
        raise ValueError(
            f"it ended the process that tried it with signal {-done.returncode}: it is damaged, or wants more time, "
            f"or more memory than {limit >> 20:,} MB"
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ValueError(said[-1][:200])
    return done.stdout


def limit_this_process(limit: int, seconds: int = SECONDS) -> None:
    """Bound the memory (bytes) and the computing time of a child process, and have it leave no core file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _library(kind: Kind) -> str:
    for name in _LIBRARIES.get(kind, ("onnxruntime", "onnxruntime-gpu")):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""
