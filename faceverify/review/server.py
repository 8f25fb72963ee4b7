"""Serving the review page until Ctrl-C."""

import secrets
import socket
from dataclasses import dataclass

from faceverify.errors import UserError
from faceverify.images import ImageLimits
from faceverify.review.app import build_app
from faceverify.review.command import next_command
from faceverify.review.desk import Desk
from faceverify.review.ledger import Ledger
from faceverify.review.pictures import Thumbnails
from faceverify.review.table import open_review
from faceverify.storage import Location, check_writable
from faceverify.wording import count_of

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Served:
    """How the page is served.

    Args:
        host: address to listen at.
        port: 0 = any free one.
        token: whether only who knows the printed address may look.
    """

    host: str
    port: int
    token: bool


def serve(out: Location, decisions: Location, reviewer: str, limits: ImageLimits, served: Served) -> None:
    """Serve the review of the clean run in `out` until the process receives a signal to stop.

    Raises:
        UserError: no clean run, nothing to review, a foreign decisions file, a port in use.
    """
    import uvicorn

    check_writable(decisions.parent, "decisions")
    table = open_review(out)
    ledger = Ledger(decisions, reviewer, table.digest)
    listening = bind(served.host, served.port)
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(24) if served.token else None
    desk = Desk(table, ledger, Thumbnails(limits))
    settings = uvicorn.Config(
        build_app(desk, token, port),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    try:
        print(_welcome(desk, served.host, port, token), flush=True)
        uvicorn.Server(settings).run([listening])
    except KeyboardInterrupt as asked:
        if type(asked) is not KeyboardInterrupt:  # Ctrl-C is the way to end it; what is made of other signals is not
            raise
    finally:
        print(_farewell(desk), flush=True)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UserError: no such port, it is in use, or the address is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port is {port}; give a number from 0 to 65535, 0 for any free one.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # who opens the address at once waits instead of being refused
        return listening
    except OSError as error:
        raise UserError(
            f"port: cannot listen at {host}:{port} ({error.strerror or error}); another review may "
            "be running there: give --port 0 for any free one."
        ) from None


def _welcome(desk: Desk, host: str, port: int, token: str | None) -> str:
    progress = desk.progress()
    name = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 (only looked at)
    address = f"http://{name}:{port}/" + (f"?token={token}" if token else "")
    lines = [
        f"{count_of(progress['cases'], 'case')} with {count_of(progress['photos'], 'photo')} to decide; "
        f"{progress['cases_done']:,} done. Decisions by {desk.ledger.reviewer} go to {desk.ledger.file}",
    ]
    if host not in LOCAL:
        lines.append(f"Warning: {host} can be reached from other machines, and what is sent is not encrypted.")
    if token is None:
        lines.append("Warning: without a token, everybody who reaches this port sees the photos and can decide.")
    return "\n".join([*lines, f"Open {address}", "Ctrl-C ends the review; every decision is saved as it is made."])


def _farewell(desk: Desk) -> str:
    progress = desk.progress()
    command = next_command(desk.table.manifest.get("command", ""), desk.table.out.uri, desk.ledger.file.uri)
    saved = desk.ledger.in_file
    lines = [
        f"\n{progress['cases_done']:,} of {count_of(progress['cases'], 'case')} done. "
        f"{count_of(saved, 'decision')} in {desk.ledger.file}"
    ]
    if desk.ledger.unsaved:
        lines.append("The last decisions could not be saved: the file is as it was before them.")
    lines.append(f"Apply them: {command}" if saved else "There is nothing to apply.")
    return "\n".join(lines)
