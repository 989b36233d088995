"""The edge as one ASGI application: the guard first, then the pages, then the API; every refusal in the same shape."""

from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from parade.wire.errors import ParadeError, Reason
from parade_gateway import errors
from parade_gateway.api import Api
from parade_gateway.errors import HttpError, body_of, status_of
from parade_gateway.guard import Guard
from parade_gateway.request import headers_of

_API = "/v1/"
"""What every path of the API begins with, and no page's."""
_CALLER_HEADERS = ["authorization", "content-type", "last-event-id", "traceparent", "x-api-key", "x-parade-namespace", "x-request-timeout"]


class Edge:
    """Everything that is served over HTTP."""

    def __init__(self, guard: Guard, pages: list[Route], api: Api) -> None:
        """Takes the parts."""
        self._guard = guard
        self._pages = pages
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the edge serves HTTP, not {scope['type']}")
        headers = headers_of(scope["headers"])
        page = None
        if not scope["path"].startswith(_API):
            page = next((page for page in self._pages if page.matches(scope)[0] is not Match.NONE), None)
        try:
            self._guard.admit(headers, navigable=page is not None)
            if page is None:
                await self._api(scope, headers, receive, send)
                return
            await _show(page, scope, receive, send)
        except ParadeError as error:
            await Response(body_of(error), status_of(error), errors.headers_of(error), "application/json")(scope, receive, send)


def with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """Returns the application with the answers that let pages of these origins in; the application as it is where there are none."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["DELETE", "GET", "PATCH", "POST", "PUT"],
        allow_headers=_CALLER_HEADERS,
        expose_headers=["retry-after", "traceparent"],
    )


async def _show(page: Route, scope: Scope, receive: Receive, send: Send) -> None:
    verb = scope["method"]
    if verb not in ("GET", "HEAD"):
        raise HttpError(405, Reason.INVALID_ARGUMENTS, f"{scope['path']} takes GET, not {verb}", {"allow": "GET, HEAD"})
    scope.update(page.matches(scope)[1])
    try:
        response = await page.endpoint(Request(scope, receive))
    except HTTPException as error:
        raise HttpError(404, Reason.NOT_FOUND, f"there is nothing at {scope['path']}") from error
    await response(scope, receive, send)
