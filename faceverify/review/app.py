"""The review page over HTTP."""

from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceverify.errors import FaceverifyError, UserError
from faceverify.reading import MalformedError, parse_json
from faceverify.review import assets
from faceverify.review.desk import Desk, UnknownCaseError
from faceverify.review.guard import Guard

MAX_BODY = 1 << 20
PAGE = 25  # cases per page of the list
_DECODERS = 4  # photos in memory at one time, each up to images.max_pixels


def build_app(desk: Desk, token: str | None, port: int) -> Guard:
    """The ASGI application.

    Args:
        desk: what is reviewed.
        token: see Guard.
        port: see Guard.
    """
    routes = Routes(desk)
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/review.js", routes.script),
            Route("/review.css", routes.style),
            Route("/api/about", routes.about),
            Route("/api/cases", routes.cases),
            Route("/api/case/{number:int}", routes.case),
            Route("/api/people", routes.people),
            Route("/api/decide", routes.decide, methods=["POST"]),
            Route("/picture/{number:int}/{slot:int}/{which}", routes.picture),
        ],
        exception_handlers={FaceverifyError: _told, UnknownCaseError: _not_found},
    )
    return Guard(app, token, port)


class Routes:
    """The answers. Those that read files or decode photos run in threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decoders = anyio.CapacityLimiter(_DECODERS)

    def page(self, _: Request) -> Response:
        """The page itself."""
        return Response(assets.page(), media_type="text/html")

    def script(self, _: Request) -> Response:
        """The script of the page."""
        return Response(assets.script(), media_type="text/javascript")

    def style(self, _: Request) -> Response:
        """The style sheet of the page."""
        return Response(assets.style(), media_type="text/css")

    def about(self, _: Request) -> Response:
        """What is reviewed, by whom, how far."""
        return JSONResponse(self._desk.about())

    def cases(self, request: Request) -> Response:
        """A page of the list of cases."""
        query = request.query_params
        offset = max(0, _whole(query.get("offset", "0")))
        return JSONResponse(self._desk.rows(offset, PAGE, query.get("text", ""), query.get("open") == "1"))

    def case(self, request: Request) -> Response:
        """One case."""
        return JSONResponse(self._desk.case(request.path_params["number"]))

    def people(self, request: Request) -> Response:
        """Names that hold the text."""
        return JSONResponse(self._desk.people.search(request.query_params.get("text", "")[:500]))

    async def decide(self, request: Request) -> Response:
        """Save decisions; the answer comes when they are in the file."""
        entries = _entries(await _body(request))
        return JSONResponse(await anyio.to_thread.run_sync(self._desk.decide, entries))

    async def picture(self, request: Request) -> Response:
        """A thumbnail."""
        asked = request.path_params
        picture = await anyio.to_thread.run_sync(
            self._desk.picture, asked["number"], asked["slot"], asked["which"], limiter=self._decoders
        )
        keep = "no-store" if picture.failed else "private, max-age=3600"
        return Response(picture.data, media_type=picture.media_type, headers={"cache-control": keep})


async def _body(request: Request) -> bytes:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise UserError(f"decisions: more than {MAX_BODY} bytes in one request.")
    return data


def _entries(body: bytes) -> list[Any]:
    try:
        entries = parse_json(body)["decisions"]
    except (MalformedError, KeyError, TypeError, IndexError):
        entries = None
    if not isinstance(entries, list):
        raise UserError('decisions: send {"decisions": [...]}.')
    return entries


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


async def _told(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, UserError) else 503)


async def _not_found(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, 404)
