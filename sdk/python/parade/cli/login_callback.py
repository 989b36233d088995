"""Where a browser comes back to from the issuer: a port of this machine that takes one answer. Knows no issuer.

Source: https://www.rfc-editor.org/rfc/rfc8252#section-7.3.
"""

import hmac
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

PATH: Final = "/callback"
SILENCE: Final = 10.0
"""Seconds that a connection may be silent: browsers open some that they never use."""
_PAGE: Final = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Parade</title></head>
<body><p>Parade has the answer. You can close this page and go back to the terminal.</p></body></html>
"""


class Callback:
    """A port that waits for the answer of one login."""

    def __init__(self, state: str) -> None:
        """Takes what the answer must carry, so that it is the answer to this login."""
        self._answers: queue.Queue[dict[str, str]] = queue.Queue()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.state, self._server.answers = state, self._answers
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> Self:
        """Begins to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The URL that the browser is to be sent to. Issuers let the port differ from the one they know."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def answer(self, timeout: float) -> dict[str, str] | None:
        """Waits for the answer, and returns its parameters; None where none comes in time."""
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    state: str
    answers: queue.Queue[dict[str, str]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        parameters = dict(parse_qsl(parts.query))
        # Anybody on this machine, and any page in the browser, can ask for this URL; only the issuer was told the state.
        if parts.path != PATH or not hmac.compare_digest(parameters.get("state", "").encode(), self.server.state.encode()):
            self.send_error(404)
            return
        self.send_response(200)
        for name, text in _HEADERS.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(_PAGE)
        self.server.answers.put(parameters)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: the URL has the code in it."""


_HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "content-length": str(len(_PAGE)),
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
