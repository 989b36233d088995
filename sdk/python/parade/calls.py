"""Calling functions through the dispatcher: for clients, and for agents that call one another."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import SpanKind

from parade import values
from parade.artifacts import MAX_INLINE_BYTES, Artifacts
from parade.call_options import CallOptions, checked
from parade.outcome import Outcome, Timing
from parade.v1 import session_pb2, value_pb2
from parade.wire.call_span import CallSpan
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.replicas import Replicas
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Telemetry

DEFAULT_TIMEOUT = 60.0
"""Seconds that a call may take where its caller does not say."""
MAX_TIMEOUT = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come."""

    fraction: float
    """From 0 to 1; negative where it is not known."""
    message: str
    """What is being done now."""


class Caller:
    """Calls functions over a session with the dispatcher.

    A task that is cancelled while it waits for a call cancels the call, and so does who leaves a stream before its end.
    """

    def __init__(self, session: SessionCaller, artifacts: Artifacts, telemetry: Telemetry | None = None) -> None:
        """Takes what it speaks through; whoever made it closes it.

        Args:
            session: Makes the calls.
            artifacts: Where values lie that are too large to travel whole.
            telemetry: Where the spans of calls go.
        """
        self._session = session
        self._artifacts = artifacts
        self._telemetry = telemetry

    @classmethod
    @asynccontextmanager
    async def over(cls, dispatcher: Replicas, artifacts: Artifacts, telemetry: Telemetry | None = None) -> "AsyncIterator[Caller]":
        """Opens a session with one of the dispatchers for the time of a block, at its first call."""
        link = Link(dispatcher.channels, DISPATCHER_SESSION)
        try:
            yield cls(SessionCaller(link), artifacts, telemetry)
        finally:
            await link.close()

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> Any:
        """Calls a function and returns its result.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name.
            timeout: Seconds to wait at most; 60 where not given. The function's own timeout may be shorter.
            options: How the call is to be made.
            parent_call_id: The call that this one is a part of: it ends when that one is cancelled.
            mandate: What came with that call, to make this one for whom that one is for.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        # Every call passes here: what few calls need stands behind a condition, and nothing is entered that must be left.
        data = values.dumps(arguments, "arguments")
        if timeout is None and options is None and not parent_call_id and not mandate and len(data) <= MAX_INLINE_BYTES:
            limit = DEFAULT_TIMEOUT
            message = session_pb2.SessionCall()
            message.function = function
            message.arguments.data = data
        else:
            message, limit = await self._message(function, data, timeout, options, parent_call_id, mandate)
        telemetry = self._telemetry
        span = None if telemetry is None else telemetry.begin_call(function, SpanKind.CLIENT)
        if span is None:
            value = (await self._session.call(message, limit)).result
        else:
            with _recorded(span, message):
                value = (await self._session.call(message, limit)).result
        return values.loads(value.data or await self._artifacts.resolve(value))

    async def outcome(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        progress: Callable[[Progress], object] | None = None,
    ) -> Outcome:
        """Calls a function and returns its result with what is known of how the call went.

        Other arguments and errors are those of `call`; `progress` takes the function's progress notes as they come.
        """
        began = time.perf_counter()
        message, limit = await self._message(function, values.dumps(arguments, "arguments"), timeout, options, parent_call_id)
        if progress is None:
            with self._span(function, message):
                result = await self._session.call(message, limit)
        else:
            result = await self._watched_result(function, message, limit, progress)
        value = result.result
        content = values.loads(value.data or await self._artifacts.resolve(value))
        total, queued, executing = time.perf_counter() - began, result.queued_us / 1e6, result.executing_us / 1e6
        timing = Timing(queued, max(0.0, total - queued - executing), executing)
        return Outcome(content, result.call_id or message.options.call_id, result.instance_id, timing)

    async def stream(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> AsyncGenerator[Any, None]:
        """Calls a function and yields its items as they come; of a function that is not streaming, its result.

        Progress is passed over; see `events`. Arguments and errors are those of `call`.
        """
        given = self.events(function, arguments, timeout, options=options, parent_call_id=parent_call_id, mandate=mandate)
        async with aclosing(given) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    yield event

    async def events(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> AsyncGenerator[Any, None]:
        """Calls a function and yields `Progress` notes and items, or the result, as they come.

        A reader that is slow holds the function back. Arguments and errors are those of `call`.
        """
        data = values.dumps(arguments, "arguments")
        message, limit = await self._message(function, data, timeout, options, parent_call_id, mandate)
        with self._span(function, message):
            async with aclosing(self._session.stream(message, limit)) as said:
                async for one in said:
                    if isinstance(one, session_pb2.SessionResult):
                        if one.HasField("result"):
                            result = one.result
                            yield values.loads(result.data or await self._artifacts.resolve(result))
                        continue
                    kind = one.WhichOneof("event")
                    if kind == "item":
                        item = one.item
                        yield values.loads(item.data or await self._artifacts.resolve(item))
                    elif kind == "progress":
                        yield Progress(one.progress.fraction, one.progress.message)

    async def _watched_result(
        self, function: str, message: session_pb2.SessionCall, limit: float, progress: Callable[[Progress], object]
    ) -> session_pb2.SessionResult:
        with self._span(function, message):
            async with aclosing(self._session.stream(message, limit)) as said:
                async for one in said:
                    if isinstance(one, session_pb2.SessionResult):
                        if one.HasField("result"):
                            return one
                        break
                    kind = one.WhichOneof("event")
                    if kind == "item":
                        break
                    if kind == "progress":
                        progress(Progress(one.progress.fraction, one.progress.message))
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{function} streams its items; call it as a stream")

    async def _message(
        self,
        function: str,
        data: bytes,
        timeout: float | None,
        options: CallOptions | None,
        parent_call_id: str,
        mandate: bytes = b"",
    ) -> tuple[session_pb2.SessionCall, float]:
        """Returns the call as it travels, and the seconds that it may take."""
        limit = DEFAULT_TIMEOUT if timeout is None else timeout
        if not 0 < limit <= MAX_TIMEOUT:
            raise unusable_timeout(limit)
        message = session_pb2.SessionCall()
        message.function = function
        if len(data) <= MAX_INLINE_BYTES:
            message.arguments.data = data
        else:
            began = time.monotonic()
            message.arguments.CopyFrom(await self._put(data, limit))
            limit = max(0.001, limit - (time.monotonic() - began))
        if options is not None:
            checked(options).write(message.options)
        if parent_call_id:
            message.options.parent_call_id = parent_call_id
        if mandate:
            message.options.mandate = mandate
        return message, limit

    async def _put(self, data: bytes, limit: float) -> value_pb2.Value:
        try:
            async with asyncio.timeout(limit):
                return await self._artifacts.shrink(data, "arguments")
        except TimeoutError as error:
            raise ParadeError(Reason.DEADLINE_EXCEEDED, "the deadline passed while the arguments were put as an artifact") from error

    @contextmanager
    def _span(self, function: str, message: session_pb2.SessionCall) -> Iterator[None]:
        span = None if self._telemetry is None else self._telemetry.begin_call(function, SpanKind.CLIENT)
        if span is None:
            yield
            return
        with _recorded(span, message):
            yield


@contextmanager
def _recorded(span: CallSpan, message: session_pb2.SessionCall) -> Iterator[None]:
    """Sends a span on with a call, and ends it with how the call ended."""
    message.traceparent = span.traceparent
    try:
        yield
    except ParadeError as error:
        span.end(error.reason.value, error.message)
        raise
    except BaseException:
        span.end(Reason.CANCELLED.value, "nobody waits for it any more")
        raise
    span.end()


def unusable_timeout(timeout: float) -> ParadeError:
    """Makes the error for a timeout that is none."""
    fault = f"is {timeout:g}; it must be more than 0 and at most {MAX_TIMEOUT:g} seconds"
    return invalid([Violation("timeout", fault)], "the timeout of the call is not usable")
