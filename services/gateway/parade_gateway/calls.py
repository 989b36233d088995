"""Calls over HTTP: one, many at once, or one as it goes on, all over the gateway's session with the dispatcher."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from parade.v1 import dispatcher_pb2, session_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.session.caller import SessionCaller
from parade.wire.status import to_record
from parade_gateway import call_json, deadline
from parade_gateway.answer import Answer
from parade_gateway.artifact_rights import ArtifactRights
from parade_gateway.artifacts import Artifacts
from parade_gateway.caller import Caller
from parade_gateway.request import MAX_BODY_BYTES, Request
from parade_gateway.sse import EventStream
from parade_gateway.transcode import JSON_TYPES, encode, parse
from parade_gateway.upstream import Upstream

CALL = "/parade.v1.DispatcherService/Call"
CALL_STREAM = "/parade.v1.DispatcherService/CallStream"
BATCH_CALL = "/parade.v1.DispatcherService/BatchCall"
MAX_BATCH = 1000
"""Calls of one batch."""
MAX_BATCH_BYTES = 64 * 1024 * 1024
"""How much of large results an answer to a batch holds; beyond it they stand there as artifacts."""
DEFAULT_TIMEOUT = deadline.DEFAULT_WAIT + deadline.MARGIN
"""Seconds that a call without a timeout may take."""
SHORTEST_TIMEOUT = 0.001
"""Seconds: what a timeout of nothing comes to."""


class Calls:
    """The handlers of the requests that call functions."""

    def __init__(self, upstream: Upstream, artifacts: Artifacts, rights: ArtifactRights, closing: asyncio.Event) -> None:
        """Takes the way to the dispatcher, where large results lie, who may read them, and what is set when the process ends."""
        self._upstream = upstream
        self._artifacts = artifacts
        self._rights = rights
        self._closing = closing

    async def call(self, request: Request, answer: Answer) -> None:
        """Calls a function and answers with its result."""
        call, timeout = await self._read(request, DEFAULT_TIMEOUT)
        result = await request.unless_left(self._caller.call(call, timeout))
        value = await self._value(result.result, request.caller, MAX_BODY_BYTES) if result.HasField("result") else None
        await answer.json(call_json.response(call, result, value))

    async def stream(self, request: Request, answer: Answer) -> None:
        """Calls a function and answers with what it says, as events."""
        call, timeout = await self._read(request, math.inf)
        await EventStream(self._events(call, timeout, request.caller), request.receive, answer, self._closing, numbered=False).run()

    async def batch(self, request: Request, answer: Answer) -> None:
        """Makes many calls at once and answers once all have ended, with an outcome for each in their order."""
        calls = await self._read_batch(request)
        room = [MAX_BATCH_BYTES]
        outcomes = await request.unless_left(_together([self._outcome(call, timeout, request.caller, room) for call, timeout in calls]))
        await answer.json(b'{"outcomes":[%b]}' % b",".join(outcomes))

    @property
    def _caller(self) -> SessionCaller:
        return self._upstream.dispatcher()

    async def _read(self, request: Request, longest: float) -> tuple[session_pb2.SessionCall, float]:
        body = await request.body()
        faults: list[Violation] = []
        function = request.fields["function"]
        arguments, document = call_json.cut(body) or (None, None)
        if document is None:
            document = parse(body)
            if not isinstance(document, dict):
                raise invalid([Violation("body", "must be a JSON object")])
            arguments = call_json.arguments_of(document, faults, "")
        described = call_json.read(document, function, faults) if document else None
        if faults:
            raise invalid(faults)
        return self._made(request, function, arguments, described, longest)

    async def _read_batch(self, request: Request) -> list[tuple[session_pb2.SessionCall, float]]:
        document = parse(await request.body())
        listed = document.pop("calls", None) if isinstance(document, dict) else None
        faults: list[Violation] = []
        if not isinstance(document, dict):
            faults.append(Violation("body", "must be a JSON object"))
        elif document:
            faults += [Violation(key, "there is no such field. Did you mean calls?") for key in document]
        elif not isinstance(listed, list) or not 0 < len(listed) <= MAX_BATCH:
            faults.append(Violation("calls", f"must be a list of 1 to {MAX_BATCH:,} calls"))
        if faults:
            raise invalid(faults)
        parts = [_part(each, f"calls[{index}].", faults) for index, each in enumerate(listed or [])]
        if faults:
            raise invalid(faults)
        return [self._made(request, function, arguments, described, DEFAULT_TIMEOUT) for function, arguments, described in parts]

    def _made(
        self, request: Request, function: str, arguments: bytes | None, described: dispatcher_pb2.CallRequest | None, longest: float
    ) -> tuple[session_pb2.SessionCall, float]:
        call = session_pb2.SessionCall(function=function, origin=request.caller.origin, traceparent=request.traceparent)
        if arguments is not None:
            call.arguments.data = arguments
        stated = deadline.stated(request.headers) if request.headers else None
        timeout = longest if stated is None else stated
        if described is not None:
            if described.HasField("step"):
                raise ParadeError(
                    Reason.PERMISSION_DENIED, f"{request.caller.principal} may not say for which step a call is made; the scheduler may"
                )
            if described.HasField("options"):
                call.options.CopyFrom(described.options)
            if described.HasField("timeout"):
                wished = max(SHORTEST_TIMEOUT, min(described.timeout.ToMicroseconds() / 1e6, deadline.LONGEST))
                timeout = wished if stated is None else min(stated, wished)
        return call, timeout

    async def _outcome(self, call: session_pb2.SessionCall, timeout: float, caller: Caller, room: list[int]) -> bytes:
        try:
            result = await self._caller.call(call, timeout)
            value = None
            if result.HasField("result"):
                value = await self._value(result.result, caller, min(MAX_BODY_BYTES, room[0]))
                room[0] -= len(value)
            return b'{"response":%b}' % call_json.response(call, result, value)
        except ParadeError as error:
            return b'{"error":%b}' % encode(to_record(error))

    async def _value(self, value: value_pb2.Value, caller: Caller, most: int) -> bytes:
        """Returns a result as JSON: one that is an artifact of JSON as what it holds, where that is so small, here, and may be read."""
        if not value.media_type and not value.HasField("artifact"):
            try:
                orjson.loads(value.data)
                return value.data
            except orjson.JSONDecodeError:
                return encode(value)
        reference = value.artifact
        fits = reference.digest and reference.size <= most and reference.media_type in JSON_TYPES
        if fits and self._rights.may_read(caller.namespace, caller.principal, caller.role, reference.digest):
            try:
                async with await self._artifacts.open(caller.namespace, reference.digest) as reading:
                    value = value_pb2.Value(data=b"".join([piece async for piece in reading.pieces()]))
            except ParadeError as error:
                if error.reason is not Reason.NOT_FOUND:
                    raise
        return encode(value)

    async def _events(
        self, call: session_pb2.SessionCall, timeout: float, caller: Caller
    ) -> AsyncGenerator[dispatcher_pb2.CallStreamResponse]:
        async with aclosing(self._caller.stream(call, timeout)) as events:
            async for event in events:
                response = dispatcher_pb2.CallStreamResponse()
                if isinstance(event, session_pb2.SessionResult):
                    if event.HasField("result"):
                        response.result.data = await self._value(event.result, caller, MAX_BODY_BYTES)
                elif event.HasField("item"):
                    response.item.data = await self._value(event.item, caller, MAX_BODY_BYTES)
                elif event.HasField("progress"):
                    response.progress.CopyFrom(event.progress)
                elif event.HasField("instance_id"):
                    response.assigned.call_id = call.options.call_id
                    response.assigned.instance_id = event.instance_id
                if response.HasField("event"):
                    yield response


def _part(document: Any, place: str, faults: list[Violation]) -> tuple[str, bytes | None, dispatcher_pb2.CallRequest]:
    if not isinstance(document, dict):
        faults.append(Violation(place.removesuffix("."), "must be a JSON object"))
        return "", None, dispatcher_pb2.CallRequest()
    arguments = call_json.arguments_of(document, faults, place)
    described = call_json.read(document, "", faults, place)
    return described.function, arguments, described


async def _together(work: list[Any]) -> list[bytes]:
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(each) for each in work]
    return [task.result() for task in made]
