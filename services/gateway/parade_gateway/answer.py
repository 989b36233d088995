"""The answer to one HTTP request on its way to the client."""

from collections.abc import Mapping

from starlette.types import Message as Event
from starlette.types import Send

from parade.wire.errors import ParadeError
from parade_gateway.connection import Connection
from parade_gateway.errors import body_of, headers_of, status_of

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_HEAD = b"HTTP/1.1 200 OK\r\n%bcontent-length: " % b"".join(b"%b: %b\r\n" % pair for pair in _JSON)
"""What stands before the length and the body of a usual answer."""


class Answer:
    """The way to the client, which knows what was sent. As an ASGI `send` it adds the trace that the answer belongs to."""

    __slots__ = ("_connection", "_send", "_traceparent", "error", "status")

    def __init__(self, send: Send, connection: Connection, traceparent: str) -> None:
        """Takes the way, its connection, and the span that the request is recorded under; empty where nobody records it."""
        self._connection = connection
        self._send = send
        self._traceparent = traceparent
        self.status = 0
        """The HTTP status; 0 before it is sent."""
        self.error: ParadeError | None = None
        """Why the request failed, where it did."""

    async def __call__(self, event: Event) -> None:
        """Sends an ASGI event."""
        if event["type"] == "http.response.start":
            self.status = event["status"]
            if self._traceparent:
                event["headers"] = [*event["headers"], (b"traceparent", self._traceparent.encode())]
        await self._send(event)

    async def json(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Sends a JSON document."""
        if (
            status == 200
            and not headers
            and not self._traceparent
            and self.status == 0
            and self._connection.answered(self._send, _HEAD, body)
        ):
            self.status = 200
            return
        pairs = [*_JSON, (b"content-length", b"%d" % len(body))]
        if headers:
            pairs += [(name.encode(), value.encode()) for name, value in headers.items()]
        self._connection.hold()
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: ParadeError) -> None:
        """Sends a failure; where the answer has begun, it ends incomplete."""
        self.error = error
        if self.status == 0:
            await self.json(body_of(error), status_of(error), headers_of(error))
