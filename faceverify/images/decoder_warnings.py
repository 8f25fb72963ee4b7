"""What the picture decoders write to stderr: kept from the terminal, and read as the only sign of some damage.

cv2 hands back a picture for a JPEG whose entropy data broke off and for a TIFF whose strips do not unpack; libjpeg and
libtiff say so on the process's stderr and nowhere else. `listen` points file descriptor 2 at a temporary file while a
decoder runs and returns the text. What others write there meanwhile (another thread's log line) is passed on.
Decodes of several threads run side by side; only when text appears while more than one runs is the decode repeated
alone, to know whose complaint it was.

A child process started by another thread within that moment would keep the temporary file as its stderr.
"""

import functools
import os
import re
import tempfile
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_WARNING = re.compile(
    rb"\[ ?(WARN|ERROR|INFO|DEBUG):\d+@|libpng |Corrupt JPEG|Premature end of JPEG|Inconsistent progression"
    rb"|Invalid SOS|Warning: |Unknown Adobe|Application transferred"
)
_STDERR = 2


@functools.cache
def _file() -> int:
    """Descriptor of a nameless temporary file, kept until the process ends."""
    handle, path = tempfile.mkstemp(prefix="decoder-warnings-")
    os.unlink(path)
    return handle


def _split(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """(lines of the decoders, lines of others); an indented, quoted or empty line goes on with the one before."""
    decoders: list[bytes] = []
    others: list[bytes] = []
    current = others
    for line in text.splitlines(keepends=True):
        if _WARNING.match(line):
            current = decoders
        elif current is decoders and line[:1] not in b" >\n":
            current = others
        current.append(line)
    return decoders, others


class _Tap:
    """Descriptor 2 turned to a file while anyone is inside."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._saved = -1
        self._inside = 0
        self._entered = 0

    def listen(self, work: Callable[[], T]) -> tuple[T, bytes]:
        with self._turn:
            start = self._enter()
            alone = self._inside == 1
            ticket = self._entered
        try:
            result = work()
        finally:
            with self._turn:
                text = self._text(start)
                alone = alone and self._entered == ticket
                self._leave()
        return (result, text) if alone or not text else self._listen_alone(work)

    def _listen_alone(self, work: Callable[[], T]) -> tuple[T, bytes]:
        with self._turn:  # held throughout: nobody else enters
            self._turn.wait_for(lambda: self._inside == 0)
            start = self._enter()
            try:
                return work(), self._text(start)
            finally:
                self._leave()

    def _enter(self) -> int:
        if self._inside == 0:
            self._saved = os.dup(_STDERR)
            os.dup2(_file(), _STDERR)
        self._inside += 1
        self._entered += 1
        return os.lseek(_STDERR, 0, os.SEEK_CUR)

    def _text(self, start: int) -> bytes:
        end = os.lseek(_STDERR, 0, os.SEEK_CUR)
        return os.pread(_STDERR, end - start, start) if end > start else b""

    def _leave(self) -> None:
        self._inside -= 1
        if self._inside:
            return
        text = self._text(0)
        if text:
            os.ftruncate(_STDERR, 0)
            os.lseek(_STDERR, 0, os.SEEK_SET)
        os.dup2(self._saved, _STDERR)
        os.close(self._saved)
        foreign = b"".join(_split(text)[1])
        if foreign:
            os.write(_STDERR, foreign)
        self._turn.notify_all()


_TAP = _Tap()


def listen(work: Callable[[], T]) -> tuple[T, list[str]]:
    """Run `work` and return its result with the lines that decoders wrote to stderr meanwhile.

    Raises:
        whatever `work` raises; stderr is back in place then too.
    """
    result, text = _TAP.listen(work)
    if not text:
        return result, []
    return result, [line.decode(errors="replace").strip() for line in _split(text)[0]]
