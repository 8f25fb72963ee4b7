"""A proxy before an S3 server that answers wrongly, late or not to the end, as often as it is told."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal

Kind = Literal["500", "503", "slow", "cut"]
BUSY = b"<Error><Code>%s</Code><Message>try again</Message></Error>"
CODES = {"500": (500, b"InternalError"), "503": (503, b"SlowDown")}


@dataclass
class Faults:
    """Which requests suffer, and what: the first `times` of `method` whose path holds `name`.

    struck: how many have suffered so far; seen: how many requests were made in all.
    """

    kind: Kind
    name: str = ""
    method: str = ""
    times: int = 1 << 30
    struck: int = 0
    seen: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, method: str, path: str) -> Kind | None:
        """Whether this request suffers."""
        with self._lock:
            self.seen += 1
            if self.struck >= self.times or self.name not in path or self.method not in method:
                return None
            self.struck += 1
            return self.kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: ClassVar[str] = ""
    faults: ClassVar[Faults]

    def handle_one(self) -> None:
        """Hand the request on, or not."""
        body = self._body()
        fault = self.faults.strike(self.command, self.path)
        if fault in CODES:
            status, code = CODES[fault]
            return self._answer(status, {"Content-Type": "application/xml"}, BUSY % code)
        if fault == "slow":
            time.sleep(1.5)
        host = self.server_of.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        asked = {name: value for name, value in self.headers.items() if name.lower() not in SKIPPED}
        connection.request(self.command, self.path, body, asked | {"Content-Length": str(len(body))})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in SKIPPED}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        self._answer(answer.status, kept, content, cut=fault == "cut")

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content if self.command != "HEAD" else b"")
        if cut:
            self.wfile.flush()
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


SKIPPED = ("content-length", "transfer-encoding", "connection", "server", "date", "expect")


@contextmanager
def faulty(server: str, faults: Faults) -> Iterator[str]:
    """The address of a proxy before `server`."""
    handler = type("Handler", (_Handler,), {"server_of": server, "faults": faults})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}"
    proxy.shutdown()
    proxy.server_close()
