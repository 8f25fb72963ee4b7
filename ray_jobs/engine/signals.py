"""Signals and pipes: Ctrl-C and SIGTERM end the work wherever it is, and so does an output that nobody reads."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

PIPE_CLOSED = 141  # what a shell says of a program that SIGPIPE ended


class Stopped(KeyboardInterrupt):
    """SIGTERM arrived; a KeyboardInterrupt, which is all that interrupts a `ray.get` (others are swallowed there)."""


# The signals that arrived. Libraries swallow an exception that strikes inside one of their callbacks; the progress line
# looks here and raises it again.
asked: list[type[BaseException]] = []


def on_signal(number: int, _frame: Any) -> None:
    """Raise what ends the work: Stopped for SIGTERM, KeyboardInterrupt for Ctrl-C."""
    asked.append(Stopped if number == signal.SIGTERM else KeyboardInterrupt)
    raise asked[-1]


def check_stopped() -> None:
    """Raise what a signal asked for, if that was swallowed on its way."""
    if asked:
        raise asked[-1]


@contextmanager
def caught() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise; afterwards they do what they did before.

    Of `python -m ray_jobs.JOB` that is to end it without a word, while libraries clean up after all is said.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.clear()


def quiet_when_unread(work: Callable[[], int]) -> int:
    """Run `work`, which returns an exit code; 141 without a word if the reader of its output went away (`| head`).

    What is still buffered is written here: failing to do so at the interpreter's end would show a traceback.

    Raises:
        BrokenPipeError: of a connection, and not of this process's output.
    """
    try:
        code = work()
    except SystemExit:  # of a command-line parser that has printed its help
        if unread():
            return PIPE_CLOSED
        raise
    except BrokenPipeError:
        if unread():
            return PIPE_CLOSED
        raise
    return PIPE_CLOSED if unread() else code


def unread() -> bool:
    """Whether nobody reads stdout or stderr any more; what they still hold is dropped then."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            closed = _reader_gone(stream)
        except BrokenPipeError:
            closed = True
        if closed:
            gone = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()
    return gone


def _reader_gone(stream: TextIO) -> bool:
    """Of a pipe; asked for streams without a buffer, which hold nothing that could fail again."""
    try:
        place = stream.fileno()
    except (OSError, ValueError):  # not of the system: replaced by a program that runs the job in its own process
        return False
    asked_of = select.poll()
    asked_of.register(place, 0)
    return any(event & select.POLLERR for _, event in asked_of.poll(0))
