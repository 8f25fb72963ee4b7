"""Who may ask: a browser that knows the token, under a name that is ours, from a page that is ours.

A page on localhost is within reach of every site that the same browser visits. Three checks keep them out: a random
token (first in the address, then in a cookie that other sites cannot send), the Host header (a foreign name that
resolves to this machine is refused), and the Origin header of everything that changes something.
"""

import ipaddress
import re
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The whole Host header: an IPv6 address in brackets, or an IPv4 address or name; then a port, or nothing.
_HOST = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware that answers 403 to all others, and adds the headers that bind the browser.

    Args:
        app: what is guarded.
        token: the secret; None lets in everybody who can reach the port.
        port: cookies of this machine are shared between ports, so its name holds the port.
    """

    def __init__(self, app: ASGIApp, token: str | None, port: int) -> None:
        self._app, self._token, self._cookie = app, token, f"faceverify_review_{port}"
        self._names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        by_address = self._matches(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0])
        refusal = self._refusal(scope["method"], headers, by_address)
        answer = PlainTextResponse(refusal, 403) if refusal else self._app

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answered[name] = value
                answered.setdefault("cache-control", "no-store")
                if by_address and not refusal and self._token:
                    cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
                    answered.append("set-cookie", cookie)
            await send(message)

        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers, by_address: bool) -> str | None:
        """Why a request is refused; None if it is not."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "This server does not answer to that name; open the address that review printed.\n"
        if not by_address and not self._matches(self._from_cookie(headers)):
            return "Open the address that review printed when it started; it holds the token of this review.\n"
        if method != "GET" and headers.get("origin") not in (f"http://{host}", f"https://{host}"):
            return "Only the review page itself may change decisions.\n"
        return None

    def _matches(self, given: str) -> bool:
        return self._token is None or secrets.compare_digest(given.encode(), self._token.encode())

    def _from_cookie(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    def _is_ours(self, host: str) -> bool:
        """An address in figures, or a name of this machine, with any port (it may be forwarded)."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        try:
            if found["six"] is not None:
                return bool(ipaddress.IPv6Address(found["six"]))
            return bool(ipaddress.IPv4Address(found["name"]))
        except ValueError:
            return found["six"] is None and found["name"].lower().removesuffix(".") in self._names
