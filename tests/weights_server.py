"""An HTTP server of files as a mirror of published weights is: with ranges, or without; and one that breaks off."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Mirror:
    """A folder that is served; what it does may be changed meanwhile.

    ranges: whether it goes on in the middle; etags: whether it says which version it has; break_at: the connection ends
    after that number of bytes of an answer; asked: what it was asked for, as (path, Range, bytes sent).
    """

    folder: Path
    address: str = ""
    ranges: bool = True
    etags: bool = True
    break_at: int | None = None
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)


def answer_of(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            if self.path.startswith("/elsewhere/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/elsewhere/"))
                self.end_headers()
                return
            path = mirror.folder / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            etag = '"' + hashlib.sha256(data).hexdigest() + '"'
            start = 0
            if wanted and mirror.ranges and self.headers.get("If-Range", etag) == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if mirror.etags:
                self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:][: mirror.break_at]
            mirror.asked.append((self.path, wanted, len(body)))
            self.wfile.write(body)

    return Answer


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Mirror]:
    """Serve a folder on a port of this machine."""
    mirror = Mirror(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), answer_of(mirror))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
