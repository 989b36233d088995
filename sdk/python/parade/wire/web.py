"""Small JSON documents over HTTP, as issuers of tokens serve them: bounded in size and time, and over TLS unless it is this machine.

It blocks: who has an event loop asks from a thread. Whom to believe by TLS is what the system says; `SSL_CERT_FILE` names others.
"""

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import orjson

from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from http.client import HTTPResponse

MAX_BYTES: Final = 1024 * 1024
"""What an answer may have."""
TIMEOUT: Final = 5.0
"""Seconds that an answer may take."""
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    document: dict[str, Any]
    """The JSON object; empty where the body was none and the status says that it failed."""


def secure(url: str) -> bool:
    """Tells whether what is sent to a URL is read by nobody else: it is https, or stays on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  # raises where it is none
    except ValueError:
        return False
    if not host or parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def get(url: str, headers: Mapping[str, str] | None = None, timeout: float = TIMEOUT) -> Answer:
    """Reads a document.

    Raises:
        ParadeError: UNAVAILABLE where there is no answer in time that could be one; FAILED_PRECONDITION where the URL is not secure.
    """
    return _asked(url, None, headers or {}, timeout)


def post(url: str, fields: Mapping[str, str], timeout: float = TIMEOUT) -> Answer:
    """Sends a form, and reads the document that comes back.

    Raises:
        ParadeError: As `get`.
    """
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return _asked(url, urlencode(fields).encode(), headers, timeout)


def _asked(url: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Answer:
    # Here, because an idle mesh has no use for them, and they take memory of every service.
    import http.client
    import urllib.error
    from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """Follows nowhere: what was checked of a URL is not so of the one it leads to."""

        def redirect_request(self, *_: Any) -> None:
            return None

    if not secure(url):
        raise ParadeError(Reason.FAILED_PRECONDITION, f"{url[:200]} is no https:// URL, nor one of this machine")
    handlers: list[Any] = [Stay]
    if urlsplit(url).scheme == "http":
        handlers.append(ProxyHandler({}))  # no proxy reaches this machine's own loopback interface
    request = Request(url, body, {"accept": "application/json", **headers})  # noqa: S310  # `secure` has seen the scheme
    deadline = time.monotonic() + timeout
    try:
        with build_opener(*handlers).open(request, timeout=timeout) as response:
            return Answer(response.status, _document(_read(response, url, deadline), url))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _refusal(error, url, deadline))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unavailable(url, str(getattr(error, "reason", error)) or type(error).__name__) from error


def _read(response: "HTTPResponse", url: str, deadline: float) -> bytes:
    body = bytearray()
    # Piece by piece: the timeout of the socket begins anew with every byte that arrives.
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > MAX_BYTES:
            raise _unavailable(url, f"its answer has more than {MAX_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise _unavailable(url, "its answer takes too long")
    return bytes(body)


def _document(body: bytes, url: str) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _unavailable(url, "its answer is not JSON") from error
    if not isinstance(document, dict):
        raise _unavailable(url, "its answer is no JSON object")
    return document


def _refusal(error: Any, url: str, deadline: float) -> dict[str, Any]:
    """Returns what a failure says of itself; nothing where it says it otherwise than in JSON."""
    try:
        return _document(_read(error, url, deadline), url)
    except ParadeError:
        return {}


def _unavailable(url: str, why: str) -> ParadeError:
    return ParadeError(Reason.UNAVAILABLE, f"{url[:200]} does not answer: {why}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
