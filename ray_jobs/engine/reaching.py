"""Finding the cluster: is there one at the address, does it answer, does it let this process in; else one of its own.

Left alone, `ray.init` tries for ten minutes and more, without a word, to reach a head that is dead or frozen.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from faceverify.errors import PlatformError
from faceverify.redaction import first_line

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 8.0
TELL_SECONDS, JOIN_SECONDS = 10.0, 90.0  # a busy cluster takes a process in within seconds
EXIT_PLATFORM = 3  # as of every PlatformError
ATTEMPTS_NAME = "RAY_gcs_server_port_wait_time_s"
ATTEMPTS = "5"  # of Ray, a second between two: a head that answers has no need of more
# HTTP/2's first words, with empty settings: every gRPC server, Ray's head among them, answers with its own settings.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4  # the type of that answer, in the fourth byte of its frame
TOKEN = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token"  # noqa: S105


class SilentError(Exception):
    """Something takes connections at an address, and says nothing."""


class NoHeadError(Exception):
    """No head of a Ray cluster is at an address; the text says what was found."""


def look(host: str, port: int) -> None:
    """Return if a head of Ray (a gRPC server) answers at an address.

    Raises:
        NoHeadError: nobody listens there, or something else than Ray.
        SilentError: no answer within seconds, as of a head that is frozen or overloaded.
    """
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS) as line:
            if encrypted:
                return
            line.settimeout(ANSWER_SECONDS)
            line.sendall(GREETING)
            answer = b""
            while len(answer) < 9 and (piece := line.recv(9 - len(answer))):
                answer += piece
    except TimeoutError as error:
        if "line" in locals():
            raise SilentError from None
        raise NoHeadError(first_line(error)) from None
    except OSError as error:
        raise NoHeadError(error.strerror or first_line(error)) from None
    if len(answer) < 9 or answer[3] != SETTINGS:
        raise NoHeadError("what answers there is not Ray")


def find() -> str:
    """Say where the cluster is: an answering address, in words, or "" where this job has to start one of its own.

    RAY_ADDRESS counts first, then Ray's own note of the cluster that was started last on this machine. A note whose
    cluster is gone is said and passed over.

    Raises:
        PlatformError: RAY_ADDRESS is of no use, or what is there does not answer.
    """
    from ray._common.utils import get_ray_address_file
    from ray._private import services

    given = os.environ.get("RAY_ADDRESS", "")
    if given.startswith(("http://", "https://")):
        raise PlatformError(
            f"RAY_ADDRESS ({given}) is the address of a job server: send the job there with `ray job submit`, or give "
            "the head's host:port."
        )
    known = f"RAY_ADDRESS ({given})"
    try:
        address = given if "://" in given else services.canonicalize_bootstrap_address(None)
    except (OSError, ValueError) as error:
        raise PlatformError(f"no cluster answers at {known}: {first_line(error)}.") from None
    if address is None:
        return ""
    if not given:
        known = f"{address}, the address in {get_ray_address_file(None)}"
    elif given == "auto":
        known = f"{address} (RAY_ADDRESS={given})"
    try:
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if not (host and port.isdigit()):
            raise NoHeadError("that is no host:port")
        look(host.strip("[]"), int(port))
    except NoHeadError as error:
        if given:
            raise PlatformError(f"no cluster answers at {known}: {error}.") from None
        print(f"No cluster is at {known} ({error}); this job starts one of its own.", file=sys.stderr, flush=True)
        return ""
    except SilentError:
        raise PlatformError(
            f"what is at {known}, takes connections and does not answer: wait until it does, end it, or "
            f"{_own_remedy()} for a cluster of this job's own."
        ) from None
    return known


def _own_remedy() -> str:
    return "unset RAY_ADDRESS" if os.environ.get("RAY_ADDRESS") else "set RAY_ADDRESS=local"


def start_or_join(known: str, **how: Any) -> None:
    """Start a cluster in this process, or connect to the one that `find` found.

    Args:
        known: what `find` returned.
        how: for `ray.init`.

    Raises:
        PlatformError: Ray does not start here, or the cluster does not let this process in.
    """
    import ray

    with _watched(known) if known else contextlib.nullcontext():
        try:
            ray.init(None if known else "local", include_dashboard=False, **how)
        except Exception as error:  # of a node that is slow to start Ray raises a plain one
            if not known:
                raise PlatformError(f"Ray did not start on this machine: {first_line(error)}.") from None
            if reason := refusal(error):
                raise PlatformError(f"the cluster at {known} refuses this process ({reason}): {TOKEN}.") from None
            raise PlatformError(f"no cluster answers at {known}: {first_line(error)}.") from None


@contextlib.contextmanager
def _watched(known: str) -> Iterator[None]:
    """Let Ray give up after a few attempts; and end the process where it does not.

    With a node whose raylet is frozen or dead, Ray waits inside native code, where no signal and no exception reach it.
    """
    terminal = os.dup(2)  # stderr may be silent meanwhile
    over = threading.Event()

    def watch() -> None:
        if over.wait(TELL_SECONDS):
            return
        said = f"the cluster at {known} does not take this process in"
        remedy = f"wait for it, end it, or {_own_remedy()} for a cluster of this job's own"
        print(f"Waiting: {said} yet; {remedy}.", flush=True)
        if not over.wait(JOIN_SECONDS - TELL_SECONDS):
            os.write(terminal, f"{said}: its head answers, and its node on this machine does not; {remedy}.\n".encode())
            os._exit(EXIT_PLATFORM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        with _environment(ATTEMPTS_NAME, ATTEMPTS):
            yield
    finally:
        over.set()
        os.close(terminal)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable that is not set has a value for a while; workers do not inherit it."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def refusal(error: BaseException | None) -> str:
    """Ray's own words for why it lets nobody in without the token, if that is behind an exception; else empty."""
    while error is not None:
        for line in str(error).splitlines():
            if "InvalidAuthToken" in line:
                return line.rpartition("InvalidAuthToken:")[2].partition(" Ensure that")[0].strip(" .")
            if "authentication token was found" in line:
                return line.partition(". ")[0].strip(" .")
        error = error.__cause__ or error.__context__
    return ""
