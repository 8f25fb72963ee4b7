"""Finding the cluster: is there one at the address, does it answer, does it let this process in; else one of its own.

Left alone, `ray.init` tries for ten minutes and more, without a word, to reach a head that is dead or frozen.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from faceverify.errors import PlatformError
from faceverify.storage import first_line

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 8.0
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
        remedy = "unset RAY_ADDRESS" if given else "set RAY_ADDRESS=local"
        raise PlatformError(
            f"what is at {known}, takes connections and does not answer: wait until it does, end it, or {remedy} for a "
            "cluster of this job's own."
        ) from None
    return known


def start_or_join(known: str, **how: Any) -> None:
    """Start a cluster in this process, or connect to the one that `find` found.

    Args:
        known: what `find` returned.
        how: for `ray.init`.

    Raises:
        PlatformError: Ray does not start here, or the cluster does not let this process in.
    """
    import ray

    with _few_attempts() if known else contextlib.nullcontext():
        try:
            ray.init(None if known else "local", include_dashboard=False, **how)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            if not known:
                raise PlatformError(f"Ray did not start on this machine: {first_line(error)}.") from None
            if reason := refusal(error):
                raise PlatformError(f"the cluster at {known} refuses this process ({reason}): {TOKEN}.") from None
            raise PlatformError(f"no cluster answers at {known}: {first_line(error)}.") from None


@contextlib.contextmanager
def _few_attempts() -> Iterator[None]:
    """Let Ray give up after a few attempts; the environment is as before afterwards, for workers inherit it."""
    if ATTEMPTS_NAME in os.environ:
        yield
        return
    os.environ[ATTEMPTS_NAME] = ATTEMPTS
    try:
        yield
    finally:
        del os.environ[ATTEMPTS_NAME]


def refusal(error: BaseException | None) -> str:
    """Ray's own words for why it lets nobody in without the token, if that is behind an exception; else empty."""
    while error is not None:
        for line in str(error).splitlines():
            if "InvalidAuthToken" in line:
                return line.rpartition("InvalidAuthToken:")[2].strip(" .")
            if "authentication token was found" in line:
                return line.partition(". ")[0].strip(" .")
        error = error.__cause__ or error.__context__
    return ""
