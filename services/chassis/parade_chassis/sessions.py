"""Requests that come by session, many over one stream: each names a method of the service, and has around it what every request has."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from parade.v1 import session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.methods import PROTOBUF
from parade.wire.session.outbox import REQUESTS
from parade.wire.status import to_record
from parade_chassis.audit_decisions import Decisions
from parade_chassis.context import RequestContext, current, enter
from parade_chassis.interceptors.authorization import AuthorizationConcern
from parade_chassis.interceptors.errors import ErrorsConcern
from parade_chassis.interceptors.telemetry import TelemetryConcern
from parade_chassis.lifecycle import Process

MAX_REQUESTS: Final = 4096
"""Requests of one session at once; more wait at who makes them."""


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    decode: Callable[[bytes], Message]
    answer: Callable[[Any, Any], Any]


class SessionServicer:
    """A servicer whose methods are reached by session too, those that take one request and give one response.

    They get None in place of gRPC's context.
    """

    requests: "Requests"
    """Set by who serves it."""

    def Session(  # noqa: N802  # as the contract has it
        self,
        request_iterator: AsyncIterator[session_pb2.SessionFrame],
        context: grpc.aio.ServicerContext[Any, Any],  # noqa: ARG002  # likewise
    ) -> AsyncGenerator[Any]:
        """Carries many requests over one stream."""
        return self.requests.serve(request_iterator, current())


class Requests:
    """The sessions of one service, and the answers to what comes by them."""

    def __init__(
        self,
        process: Process[Any],
        servicer: object,
        service: ServiceDescriptor,
        telemetry: TelemetryConcern,
        authorization: AuthorizationConcern,
        errors: ErrorsConcern,
        decisions: Decisions | None = None,
    ) -> None:
        """Takes who answers, and what stands around every answer.

        Args:
            process: Its peers, log and task group.
            servicer: Answers.
            service: What it answers.
            telemetry: Measures.
            authorization: Refuses.
            errors: Masks what nobody foresaw.
            decisions: Takes down who opens a session and who is refused, where the service has an audit log.
        """
        self._peers = process.peers
        self._tasks = process.tasks
        self._telemetry = telemetry
        self._authorization = authorization
        self._errors = errors
        self._decisions = decisions
        self._acceptor = Acceptor(self, max_calls=MAX_REQUESTS, log=process.log, pace=REQUESTS)
        self._running: dict[Exchange, asyncio.Task[None]] = {}
        """The requests that have no answer yet."""
        self._methods = {
            method.name: _Method(
                f"/{service.full_name}/{method.name}",
                message_factory.GetMessageClass(method.input_type).FromString,
                getattr(servicer, method.name),
            )
            for method in service.methods
            if not (method.client_streaming or method.server_streaming)
        }

    def serve(self, frames: AsyncIterator[session_pb2.SessionFrame], opener: RequestContext) -> AsyncGenerator[bytes]:
        """Serves one stream.

        Args:
            frames: What arrives on it.
            opener: Who opened it.
        """
        if self._decisions is not None:
            self._decisions.allowed(opener)
        return self._acceptor.serve(frames, opener, partial(self._peers.check, opener.peer))

    async def drain(self, timeout: float) -> None:
        """Sends the sessions elsewhere, gives the requests under way `timeout` seconds, and gives up those that are left."""
        await self._acceptor.drain(timeout)
        for task in self._running.values():
            task.cancel()

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Begins to answer a request."""
        task = self._running[exchange] = self._tasks.create_task(self._answer(call, exchange))

        def cancelled(gone: bool) -> None:  # noqa: ARG001, FBT001  # as the session calls it; either way nobody waits for the answer
            task.cancel()
            # Said here: a task that is cancelled before its first step says nothing.
            del self._running[exchange]
            exchange.answer(_failed(ParadeError(Reason.CANCELLED, "the request was cancelled")))

        exchange.cancelled = cancelled

    async def _answer(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        try:
            result = session_pb2.SessionResult()
            result.result.data = await self._response(call, exchange.caller)
            result.result.media_type = PROTOBUF
        except ParadeError as error:
            if self._decisions is not None:
                method = self._methods.get(call.function)
                self._decisions.denied(exchange.caller.method if method is None else method.path, exchange.caller, error)
            result = _failed(error)
        except asyncio.CancelledError:
            # Not by who asked, who has an answer then: the process ends.
            exchange.answer(_failed(ParadeError(Reason.UNAVAILABLE, "the request was given up; ask again")))
            raise
        finally:
            self._running.pop(exchange, None)
        exchange.answer(result)

    async def _response(self, call: session_pb2.SessionCall, opener: RequestContext) -> bytes:
        method = self._methods.get(call.function)
        if method is None:
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"no method {call.function[:120]!r} takes one request and gives one response")
        if call.HasField("origin"):
            raise ParadeError(Reason.PERMISSION_DENIED, "a request by session is for who opened the session, and for nobody else")
        enter(RequestContext(method.path, opener.caller, opener.namespace, opener.principal, opener.role, opener.peer))
        started = time.perf_counter()
        span = self._telemetry.begin(method.path, call.traceparent)
        limit = asyncio.timeout(call.timeout or None)
        failure: str | None = "the request was cancelled"
        try:
            self._authorization(method.path)
            async with limit:
                response: Message = await method.answer(_decoded(method, call), None)
            failure = None
            return response.SerializeToString()
        except ParadeError as error:
            failure = error.message
            raise
        except Exception as error:
            late = limit.expired()
            known = ParadeError(Reason.DEADLINE_EXCEEDED, "the deadline passed") if late else self._errors.typed(method.path, error)
            failure = known.message
            raise known from error
        finally:
            self._telemetry.end(method.path, span, started, failure)


def _decoded(method: _Method, call: session_pb2.SessionCall) -> Message:
    media_type = call.arguments.media_type
    if media_type != PROTOBUF:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the request's media type is {media_type[:120]!r}; only {PROTOBUF} is taken")
    try:
        return method.decode(call.arguments.data)
    except DecodeError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the request is no {method.path.rpartition('/')[2]}Request") from error


def _failed(error: ParadeError) -> session_pb2.SessionResult:
    return session_pb2.SessionResult(error=to_record(error))
