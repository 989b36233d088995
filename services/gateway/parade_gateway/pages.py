"""The pages for people: the reference at `/docs`, what it is made from, where people log in, and whether the gateway is there.

None needs a key, and none loads anything from elsewhere.
"""

import asyncio
from collections.abc import Callable, Mapping

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from swagger_ui_bundle import swagger_ui_path

from parade_gateway import openapi
from parade_gateway.routes import Routes

ASSETS = ("favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css")
_CACHED = {"cache-control": "public, max-age=86400"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, and nothing from anywhere but this server."""
HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Parade: the API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """// This Swagger UI reads OpenAPI 3.0. The document is 3.1 and uses nothing that 3.0 lacks, so it is shown under that number.
fetch("openapi.json").then((answer) => answer.json()).then((document) => SwaggerUIBundle({
  spec: { ...document, openapi: "3.0.3" },
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
}));
"""


def routes(api: Routes, closing: asyncio.Event, login: Mapping[str, str] | None = None) -> list[Route]:
    """Returns the routes of the pages.

    Args:
        api: What the reference describes.
        closing: Set when the process ends.
        login: What `parade login` must know; None where nobody logs in by it.
    """
    written: dict[str, bytes] = {}

    async def document(_: Request) -> Response:
        if not written:
            written["openapi.json"] = orjson.dumps(openapi.document(api))
        return Response(written["openapi.json"], media_type="application/json", headers=HEADERS)

    async def healthy(_: Request) -> Response:
        if closing.is_set():
            return JSONResponse({"status": "NOT_SERVING"}, 503)
        return JSONResponse({"status": "SERVING"})

    async def where_to_log_in(_: Request) -> Response:
        if login is None:
            raise HTTPException(404)
        return JSONResponse(login, headers=HEADERS)

    return [
        Route("/", _always(RedirectResponse("/docs", 307))),
        Route("/docs", _always(HTMLResponse(_PAGE, headers=HEADERS))),
        Route("/docs/start.js", _always(Response(_START, media_type="text/javascript", headers=HEADERS))),
        Route("/docs/{asset}", _asset),
        Route("/openapi.json", document),
        Route("/healthz", healthy),
        Route("/login.json", where_to_log_in),
    ]


def _always(response: Response) -> Callable[[Request], Response]:
    async def endpoint(_: Request) -> Response:
        return response

    return endpoint  # type: ignore[return-value]


async def _asset(request: Request) -> Response:
    name = request.path_params["asset"]
    if name not in ASSETS:
        raise HTTPException(404)
    return FileResponse(swagger_ui_path / name, headers={**HEADERS, **_CACHED})
