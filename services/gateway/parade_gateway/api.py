"""One HTTP request from its arrival to its answer: route, key, fields, RPC, answer. It knows the order; each step is another file's."""

import asyncio
import secrets
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.message import Message
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity
from parade.wire.telemetry import remote_parent, traceparent
from parade_chassis.lifecycle import Process
from parade_gateway import query
from parade_gateway.authentication import ApiKey
from parade_gateway.config import Config
from parade_gateway.deadline import timeout
from parade_gateway.errors import CLIENT_CLOSED_REQUEST, HttpError, body_of, headers_of, status_of
from parade_gateway.routes import RESUME_FIELD, Route, Routes
from parade_gateway.sse import EventStream, disconnected
from parade_gateway.transcode import decode, encode, parse
from parade_gateway.upstream import Upstream

MAX_BODY_BYTES = 8 * 1024 * 1024
BODY_TIMEOUT = 30.0
"""Seconds that a request's body may take to arrive."""
DISCARD_TIMEOUT = 5.0
"""Seconds that the rest of a body that is too large may take to arrive."""
MAX_REQUESTS = 1024
"""Requests at once, streams among them; the rest are refused with NO_CAPACITY."""
LAST_EVENT_ID = "last-event-id"

_JSON = {"content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff"}


class Api:
    """The RPCs as an ASGI application."""

    def __init__(self, process: Process[Config], routes: Routes, key: ApiKey, upstream: Upstream, closing: asyncio.Event) -> None:
        """Takes what the steps need.

        Args:
            process: For its telemetry and log.
            routes: What means which RPC.
            key: Who may come in.
            upstream: The services behind.
            closing: Set when the process ends, and every stream with it.
        """
        self._telemetry = process.telemetry
        self._log = process.log
        self._routes = routes
        self._key = key
        self._upstream = upstream
        self._closing = closing
        self._under_way = 0
        self._duration = process.telemetry.meter.create_histogram("http.server.duration", unit="ms", description="How long requests took")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, under a span that continues the caller's trace."""
        headers = Headers(scope=scope)
        verb, path = scope["method"], scope["raw_path"].decode("latin-1")
        found: tuple[Route, dict[str, str]] | HttpError
        try:
            found = self._routes.find(verb, path)
        except HttpError as error:
            found = error
        template = found[0].template if isinstance(found, tuple) else ""
        started = time.perf_counter()
        with self._telemetry.tracer.start_as_current_span(
            f"{verb} {template}".rstrip(),
            context=remote_parent(headers.get),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": verb, "http.route": template},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            answer = _Answer(send, span)
            self._under_way += 1
            try:
                await self._serve(found, scope, headers, receive, answer)
            finally:
                self._under_way -= 1
                milliseconds = (time.perf_counter() - started) * 1000
                self._duration.record(
                    milliseconds, {"http.request.method": verb, "http.route": template, "http.response.status_code": answer.status}
                )
                _finish(span, answer)
            facts = {"method": verb, "route": template, "status": answer.status, "milliseconds": round(milliseconds, 1), **answer.facts}
            log = self._log.bind(facts, {})
            (log.error if answer.status >= 500 else log.debug)("request answered")

    async def _serve(
        self, found: tuple[Route, dict[str, str]] | HttpError, scope: Scope, headers: Headers, receive: Receive, answer: "_Answer"
    ) -> None:
        try:
            if isinstance(found, HttpError):
                raise found
            caller = self._key.authenticate(headers)
            if self._under_way > MAX_REQUESTS:
                raise ParadeError(Reason.NO_CAPACITY, "too many requests are under way; try again", metadata={"retry_after": "1s"})
            route, path_fields = found
            request = await _request(route, path_fields, scope, headers, receive)
            limit = timeout(headers, request, streams=route.streams)
            if route.streams:
                await self._stream(route, request, caller, limit, receive, answer)
                return
            response = await _unless_disconnected(receive, self._upstream.call(route, request, caller, limit))
            await answer.send(200, _JSON, encode(response))
        except ParadeError as error:
            answer.facts = {"reason": error.reason.value}
            await answer.fail(error)
        except Exception as error:  # noqa: BLE001 - nobody foresaw it: it is logged here and leaves masked
            incident = secrets.token_hex(4)
            self._log.error("request failed unexpectedly", method=scope["method"], path=scope["path"], incident=incident, exception=error)
            answer.facts = {"incident": incident}
            await answer.fail(ParadeError(Reason.INTERNAL, f"an unexpected fault; the log has it as incident {incident}"))

    async def _stream(
        self, route: Route, request: Message, caller: Identity, limit: float | None, receive: Receive, answer: "_Answer"
    ) -> None:
        messages = self._upstream.stream(route, request, caller, limit)
        await EventStream(messages, receive, answer, self._closing, numbered=route.numbered).run()


class _Answer:
    """The way to the client: what was sent, and the trace it belongs to in a header."""

    def __init__(self, send: Send, span: Span) -> None:
        self._send = send
        self._traceparent = traceparent(span).encode()
        self.status = 0
        self.facts: dict[str, str] = {}

    async def __call__(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            event["headers"] = [*event["headers"], (b"traceparent", self._traceparent)]
        await self._send(event)

    async def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in {**headers, "content-length": str(len(body))}.items()]
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})

    async def fail(self, error: ParadeError) -> None:
        if self.status == 0:  # otherwise the answer has begun, and ends incomplete
            await self.send(status_of(error), {**_JSON, **headers_of(error)}, body_of(error))


def _finish(span: Span, answer: _Answer) -> None:
    span.set_attribute("http.response.status_code", answer.status)
    if answer.status >= 500:
        span.set_status(Status(StatusCode.ERROR, answer.facts.get("reason", "")))


async def _request(route: Route, path_fields: dict[str, str], scope: Scope, headers: Headers, receive: Receive) -> Message:
    """Returns the RPC's request, its fields taken from path, query, body and `Last-Event-ID`."""
    known = {} if route.has_body else query.parameters(route.method.input_type, route.path_fields)
    faults: list[Violation] = []
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    document: Any = query.document(pairs, known, faults)
    if route.has_body:
        document = parse(await _body(headers, receive))
    if route.resumes and LAST_EVENT_ID in headers:
        document[RESUME_FIELD] = headers[LAST_EVENT_ID]  # what a browser has seen is newer than the address it asked first
    if isinstance(document, dict):
        faults += _put_path(document, route, path_fields)
    request: Message = route.request()
    try:
        decode(document, request)
    except ParadeError as error:
        faults.extend(error.violations)
    if faults:
        raise invalid(faults)
    return request


def _put_path(document: dict[str, Any], route: Route, path_fields: dict[str, str]) -> list[Violation]:
    """Puts what stands in the path into the document; what the document says otherwise is a fault."""
    faults = []
    for name, text in path_fields.items():
        field = route.method.input_type.fields_by_name[name]
        given = {key: document.pop(key) for key in (field.name, field.json_name) if key in document}
        faults += [Violation(key, f"is {text} in the path") for key, content in given.items() if str(content) != text]
        document[name] = query.value(text, field)
    return faults


async def _body(headers: Headers, receive: Receive) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise await _too_large(headers, receive)
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise _left()
                body += event.get("body", b"")
                more = event.get("more_body", False)
                if len(body) > MAX_BODY_BYTES:
                    raise await _too_large(headers, receive)
    except TimeoutError as error:
        raise HttpError(408, Reason.DEADLINE_EXCEEDED, f"the body did not arrive within {BODY_TIMEOUT:.0f} seconds") from error
    return bytes(body)


async def _unless_disconnected(receive: Receive, call: Coroutine[Any, Any, Message]) -> Message:
    """Returns what the RPC answers; cancels it where the client leaves first."""
    outcome: Message | ParadeError | None = None

    async def answered() -> None:
        nonlocal outcome
        try:
            outcome = await call
        except ParadeError as error:
            outcome = error

    async with asyncio.TaskGroup() as tasks:
        pair = [tasks.create_task(answered()), tasks.create_task(disconnected(receive))]
        await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
        for task in pair:
            task.cancel()
    if outcome is None:
        raise _left()
    if isinstance(outcome, ParadeError):
        raise outcome
    return outcome


def _left() -> HttpError:
    return HttpError(CLIENT_CLOSED_REQUEST, Reason.CANCELLED, "the client has left")


async def _too_large(headers: Headers, receive: Receive) -> HttpError:
    """Makes the error, once what the client is still sending has been thrown away: closing on it would lose the answer."""
    if "expect" not in headers:  # who asks first whether to send has sent nothing yet
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_TIMEOUT):
                while (await receive()).get("more_body", False):
                    pass
    message = f"the body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB"
    return HttpError(413, Reason.INVALID_ARGUMENTS, message, {"connection": "close"})
