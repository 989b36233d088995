"""An RPC as an HTTP handler: its fields from path, query and body, one RPC, its answer as JSON or as events."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.message import Message
from opentelemetry.trace import use_span

from parade.wire.errors import ParadeError, Violation, invalid
from parade_gateway import query
from parade_gateway.answer import Answer
from parade_gateway.deadline import timeout
from parade_gateway.request import Request
from parade_gateway.routes import RESUME_FIELD, Route
from parade_gateway.sse import EventStream
from parade_gateway.transcode import decode, encode, parse
from parade_gateway.upstream import Upstream

LAST_EVENT_ID = "last-event-id"


class Transcoded:
    """The handler of one route."""

    def __init__(self, route: Route, upstream: Upstream, closing: asyncio.Event) -> None:
        """Takes the route, the services behind, and what is set when the process ends, and every stream with it."""
        self._route = route
        self._upstream = upstream
        self._closing = closing
        self._parameters = {} if route.has_body else query.parameters(route.method.input_type, route.path_fields)

    async def __call__(self, request: Request, answer: Answer) -> None:
        """Answers one request."""
        route = self._route
        message = await self._message(request)
        limit = timeout(request.headers, message, streams=route.streams)
        with use_span(request.span.span) if request.span is not None else nullcontext():
            if route.streams:
                messages = self._upstream.stream(route, message, request.caller, limit)
                await EventStream(messages, request.receive, answer, self._closing, numbered=route.numbered).run()
                return
            response = await request.unless_left(self._upstream.call(route, message, request.caller, limit))
        await answer.json(encode(response))

    async def _message(self, request: Request) -> Message:
        """Returns the RPC's request, its fields taken from path, query, body and `Last-Event-ID`."""
        route = self._route
        faults: list[Violation] = []
        pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        document: Any = query.document(pairs, self._parameters, faults)
        if route.has_body:
            document = parse(await request.body())
        if route.resumes and LAST_EVENT_ID in request.headers:
            document[RESUME_FIELD] = request.headers[LAST_EVENT_ID]  # what a browser has seen is newer than the address it asked first
        if isinstance(document, dict):
            faults += put_path(document, route, request.fields)
        message: Message = route.request()
        try:
            decode(document, message)
        except ParadeError as error:
            faults.extend(error.violations)
        if faults:
            raise invalid(faults)
        return message


def put_path(document: dict[str, Any], route: Route, fields: Mapping[str, str]) -> list[Violation]:
    """Puts what stands in the path into the document; what the document says otherwise is a fault."""
    faults = []
    for name, text in fields.items():
        field = route.method.input_type.fields_by_name[name]
        given = {key: document.pop(key) for key in (field.name, field.json_name) if key in document}
        faults += [Violation(key, f"is {text} in the path") for key, content in given.items() if str(content) != text]
        document[name] = query.value(text, field)
    return faults
