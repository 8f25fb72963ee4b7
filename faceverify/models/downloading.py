"""Downloads of published weights: over https only, resumed where they broke off, checked against size and SHA-256.

    FACEVERIFY_MIRROR=http://host/folder    files are taken from <mirror>/<name>/<file name>
    FACEVERIFY_OFFLINE=1                    nothing is ever downloaded

What has come so far is kept as `FILE.part`, with `FILE.part.json` beside it: its address, and the server's own mark of
the version. A later download resumes there if the server still has that version; else it starts over.
"""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from faceverify.errors import PlatformError, UserError
from faceverify.models.published import PublishedFile
from faceverify.redaction import first_line

MIRROR, OFFLINE = "FACEVERIFY_MIRROR", "FACEVERIFY_OFFLINE"
TIMEOUT_S = 30.0
MAX_BYTES = 4 << 30  # of a file whose size is not known
_PIECE = 1 << 18

Watch = Callable[[int, int | None], None]  # bytes that have come, bytes of the whole (None = unknown)


def offline() -> bool:
    """Whether nothing may be downloaded."""
    return os.environ.get(OFFLINE, "").strip() not in ("", "0")


def mirror() -> str:
    """The address of the mirror, without a slash at its end; empty if none is named.

    Raises:
        UserError: it is no http or https address.
    """
    address = os.environ.get(MIRROR, "").strip().rstrip("/")
    if address and urlsplit(address).scheme not in ("http", "https"):
        raise UserError(f"{MIRROR} is '{address}': give the http or https address of a folder, or unset it.")
    return address


def address_of(name: str, file: PublishedFile) -> str | None:
    """Where a file of the published network `name` is taken from; None if it has no address and there is no mirror."""
    if address := mirror():
        return f"{address}/{quote(name)}/{quote(file.name)}"
    return file.url


def download(
    url: str, target: Path, size: int | None, sha256: str | None, watch: Watch = lambda done, whole: None
) -> None:
    """Download `url` to `target`, which appears when all of it has come; its SHA-256 is for the caller to verify.

    Args:
        url: https, or http of a mirror.
        target: the file to make; its `.part` is resumed.
        size: bytes it must have; None if unknown.
        sha256: SHA-256 of the file; only if it is known may a part be resumed for which the server states no version.
        watch: called as it comes.

    Raises:
        PlatformError: the network or the server fails, or what is there has another size.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    while not _fill(url, part, size, sha256 is not None, watch):
        _drop(part)
    part.rename(target)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _fill(url: str, part: Path, size: int | None, trusted: bool, watch: Watch) -> bool:
    """Download the rest of `part`; False if what is there cannot be resumed."""
    have, mark = _begun(url, part, size, trusted)
    headers = {"User-Agent": "faceverify", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark:
            headers["If-Range"] = mark
    try:
        answer = _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
                raise PlatformError(
                    f"Could not download {url}: the server answers {error.code} {error.reason}."
                ) from None
            return error.headers.get("Content-Range") == f"bytes */{have}"  # all of it had come
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PlatformError(f"Could not download {url}: {_reason(error)}.") from None
    with answer:
        start = _start_of(answer)
        if start not in (0, have):
            if not have:
                raise PlatformError(f"Could not download {url}: the server sends a part of it that was not asked for.")
            return False
        length = answer.headers.get("Content-Length", "")
        whole = start + int(length) if length.isdigit() else None
        _check_size(url, whole, size)
        _write(_note(part), {"url": url, "mark": _mark_of(answer)})
        _receive(url, answer, part, start, whole if whole is not None else size, watch)
    return True


def _begun(url: str, part: Path, size: int | None, trusted: bool) -> tuple[int, str]:
    """How many bytes of an earlier download can be resumed, and the server's mark of their version."""
    if not part.is_file():
        return 0, ""
    try:
        note = json.loads(_note(part).read_bytes())
        mark = str(note["mark"]) if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        mark = None
    have = part.stat().st_size
    if mark is None or not (mark or trusted) or (size is not None and have > size):
        return 0, ""
    return have, mark


def _mark_of(answer: Any) -> str:
    """What the server calls this version: its ETag if that is a strong one, else its date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _start_of(answer: Any) -> int:
    """From which byte on the answer is: 0 if it is the whole, -1 if it does not say so as it should."""
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    said = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(said) if said.isdigit() else -1


def _check_size(url: str, whole: int | None, size: int | None) -> None:
    if whole is not None and size is not None and whole != size:
        raise PlatformError(f"{url} has {whole:,} bytes and not {size:,}: it is another file; nothing was kept.")
    if whole is not None and whole > MAX_BYTES:
        raise PlatformError(f"{url} has {whole:,} bytes; files of published weights have {MAX_BYTES:,} at most.")


def _receive(url: str, answer: Any, part: Path, start: int, whole: int | None, watch: Watch) -> None:
    """Append what comes to `part` from byte `start` on."""
    limit = MAX_BYTES if whole is None else whole
    done = start
    with part.open("r+b" if start else "wb") as out:
        out.truncate(start)
        out.seek(start)
        while True:
            try:
                piece = answer.read(_PIECE)
            except (OSError, http.client.HTTPException) as error:
                out.flush()
                raise _broken_off(url, done, whole, _reason(error)) from None
            if not piece:
                break
            done += len(piece)
            if done > limit:
                raise PlatformError(f"{url} sends more than {limit:,} bytes: it is another file.")
            out.write(piece)
            watch(done, whole)
    if whole is not None and done < whole:
        raise _broken_off(url, done, whole, "the connection ended")


def _broken_off(url: str, done: int, whole: int | None, why: str) -> PlatformError:
    of = f" of {whole:,}" if whole is not None else ""
    return PlatformError(
        f"The download of {url} broke off at {done:,}{of} bytes ({why}); the same command resumes there."
    )


def _reason(error: BaseException) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else None
    return first_line(inner if isinstance(inner, BaseException) else error)


def _write(path: Path, content: dict[str, str]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("https", urlsplit(req.full_url).scheme):
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https, with certificates verified, and nothing else (no files, no FTP)."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
