"""One HTTP request as its handler sees it: headers, fields of the path, who asks, the body, and whether the client is still there."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from parade.wire.call_span import CallSpan
from parade.wire.errors import Reason
from parade_gateway.caller import Caller
from parade_gateway.connection import ARRIVED, CONNECTION, Connection
from parade_gateway.errors import CLIENT_CLOSED_REQUEST, HttpError

MAX_BODY_BYTES = 8 * 1024 * 1024
BODY_TIMEOUT = 30.0
"""Seconds that a request's body may take to arrive."""
DISCARD_TIMEOUT = 5.0
"""Seconds that the rest of a body that is too large may take to arrive."""

ResultT = TypeVar("ResultT")


class Request:
    """One request."""

    __slots__ = ("_receive", "caller", "fields", "headers", "scope", "span")

    def __init__(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, fields: Mapping[str, str], caller: Caller, span: CallSpan | None
    ) -> None:
        """Takes the parts.

        Args:
            scope: The ASGI scope.
            headers: The headers, from `headers_of`.
            receive: Where the body comes from.
            fields: What stands in the path, decoded.
            caller: Who asks.
            span: What it is recorded as; None where nobody records it.
        """
        self.scope = scope
        self.headers = headers
        self.fields = fields
        self.caller = caller
        self.span = span
        self._receive = receive

    async def body(self) -> bytes:
        """Returns the whole body.

        Raises:
            HttpError: 413 where it is larger than `MAX_BODY_BYTES`, 408 where it does not arrive in time, 499 where the client leaves.
        """
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            raise await self.too_large(MAX_BODY_BYTES)
        if ARRIVED in self.scope:
            piece, _ = await self.piece()  # all of it, without a wait that would need a deadline
            if len(piece) > MAX_BODY_BYTES:
                raise await self.too_large(MAX_BODY_BYTES)
            return piece
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                while more:
                    piece, more = await self.piece()
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise await self.too_large(MAX_BODY_BYTES)
        except TimeoutError as error:
            raise HttpError(408, Reason.DEADLINE_EXCEEDED, f"the body did not arrive within {BODY_TIMEOUT:.0f} seconds") from error
        return bytes(body)

    async def piece(self) -> tuple[bytes, bool]:
        """Returns the next bytes of the body, and whether there are more.

        Raises:
            HttpError: 499 where the client has left.
        """
        event = await self._receive()
        if event["type"] == "http.disconnect":
            raise left()
        return event.get("body", b""), event.get("more_body", False)

    async def too_large(self, limit: int) -> HttpError:
        """Makes the error, once what the client is still sending has been thrown away: closing on it would lose the answer."""
        if "expect" not in self.headers:  # who asks first whether to send has sent nothing yet
            with suppress(TimeoutError):
                async with asyncio.timeout(DISCARD_TIMEOUT):
                    while (await self._receive()).get("more_body", False):
                        pass
        message = (
            f"the body is larger than {limit // 1024 // 1024} MiB" if limit >= 1024 * 1024 else f"the body is larger than {limit} bytes"
        )
        return HttpError(413, Reason.INVALID_ARGUMENTS, message, {"connection": "close"})

    @property
    def connection(self) -> Connection:
        """The connection that it came by."""
        connection: Connection = self.scope[CONNECTION]
        return connection

    async def unless_left(self, work: Awaitable[ResultT]) -> ResultT:
        """Returns what the work returns; cancels it where the client leaves first.

        Raises:
            HttpError: 499 where the client has left.
        """
        connection = self.connection
        task: Any = asyncio.current_task(connection.loop)  # which is quicker than to ask for the loop that runs
        connection.leaving = task.cancel
        if connection.lost:
            task.cancel()  # the work ends where it first waits
        try:
            return await work
        except asyncio.CancelledError:
            if connection.lost and task.uncancel() == 0:
                raise left() from None
            raise
        finally:
            connection.leaving = None

    @property
    def traceparent(self) -> str:
        """The trace context of what comes of the request; empty where it belongs to no trace."""
        return self.span.traceparent if self.span is not None else self.headers.get("traceparent", "")

    @property
    def receive(self) -> Receive:
        """Where the body comes from, and after it the news that the client has left."""
        return self._receive


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Returns a scope's headers by their names, which are in small letters; of one that is given twice the first."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def left() -> HttpError:
    """Makes the error of a request whose client has left, which nobody reads."""
    return HttpError(CLIENT_CLOSED_REQUEST, Reason.CANCELLED, "the client has left")
