"""DispatcherService: decodes, asks the engine, encodes."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
from opentelemetry import trace

from parade.v1 import dispatcher_pb2, session_pb2
from parade.wire.errors import ParadeError, Violation, invalid
from parade.wire.peers import Peers
from parade.wire.session.acceptor import Acceptor
from parade.wire.telemetry import traceparent
from parade_chassis.audit_decisions import Decisions
from parade_chassis.context import RequestContext, current, required_namespace
from parade_chassis.quotas import Quotas
from parade_dispatcher import convert
from parade_dispatcher.approvals import Approvals
from parade_dispatcher.approvals_servicer import CallApprovalsServicer
from parade_dispatcher.calls import StartedCalls
from parade_dispatcher.engine import Engine
from parade_dispatcher.model import Request
from parade_dispatcher.quotas import CallLimits
from parade_dispatcher.replies import Batch, Followed, Single
from parade_dispatcher.started import StartedCallsServicer

MOST_CALLS = 1000
"""Calls of one batch."""
WINDOW = 256 * 1024
"""Bytes of items that are kept for the reader of a stream."""


class DispatcherServicer(StartedCallsServicer, CallApprovalsServicer):
    """Serves calls."""

    def __init__(
        self,
        engine: Engine,
        acceptor: Acceptor,
        started: StartedCalls,
        approvals: Approvals,
        peers: Peers,
        decisions: Decisions,
        quotas: Quotas[CallLimits],
    ) -> None:
        """Takes its parts.

        Args:
            engine: Makes the calls.
            acceptor: Keeps the sessions.
            started: The calls that were started.
            approvals: The approvals that calls wait for.
            peers: Tells who is believed.
            decisions: Notes who comes.
            quotas: How much each namespace may have.
        """
        StartedCallsServicer.__init__(self, started)
        CallApprovalsServicer.__init__(self, approvals)
        self._engine = engine
        self._acceptor = acceptor
        self._peers = peers
        self._decisions = decisions
        self._quotas = quotas

    async def Call(self, request: dispatcher_pb2.CallRequest, context: grpc.aio.ServicerContext[Any, Any]) -> dispatcher_pb2.CallResponse:
        """Calls a function and returns its result."""
        reply = Single()
        job = self._engine.begin(_asked(request, context), reply)
        try:
            answer = await reply.outcome
        finally:
            if reply.outcome.cancelled():
                job.gone()
        _on_record({"parade.call_id": answer.call_id, "parade.instance": answer.instance_id})
        return convert.answer(answer)

    async def CallStream(
        self, request: dispatcher_pb2.CallStreamRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:
        """Calls a function and yields what becomes of it."""
        reply = Followed()
        job = self._engine.begin(_asked(request, context, WINDOW), reply)
        async with aclosing(reply.events(job)) as events:
            async for event in events:
                yield event

    async def BatchCall(
        self, request: dispatcher_pb2.BatchCallRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> dispatcher_pb2.BatchCallResponse:
        """Makes many calls and returns their outcomes."""
        if not 0 < len(request.calls) <= MOST_CALLS:
            raise invalid([Violation("calls", f"are {len(request.calls)}; from 1 to {MOST_CALLS:,} are taken")])
        required_namespace()
        batch, jobs = Batch(len(request.calls)), []
        try:
            for place, call in enumerate(request.calls):
                try:
                    asked = _asked(call, context)
                except ParadeError as error:
                    batch.fail(place, error)
                else:
                    jobs.append(self._engine.begin(asked, batch.reply(place)))
            await batch.ended.wait()
        finally:
            if not batch.ended.is_set():
                for job in jobs:
                    job.gone()
        return dispatcher_pb2.BatchCallResponse(outcomes=batch.outcomes)

    def Session(
        self, request_iterator: AsyncIterator[session_pb2.SessionFrame], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[Any, None]:
        """Carries many calls at once. The acceptor's generator is returned as it is: one more around it would cost every frame."""
        opener = current()
        if opener.namespace and self._sessions_of(opener.namespace) >= self._quotas.of(opener.namespace).sessions:
            raise self._quotas.exhausted(opener.namespace, "sessions", "sessions open", "close some", passing=True)
        self._decisions.allowed(opener)
        return self._acceptor.serve(request_iterator, opener, partial(self._peers.check, opener.peer))

    def _sessions_of(self, namespace: str) -> int:
        return sum(isinstance(opener, RequestContext) and opener.namespace == namespace for opener in self._acceptor.openers())


def _asked(
    request: dispatcher_pb2.CallRequest | dispatcher_pb2.CallStreamRequest, context: grpc.aio.ServicerContext[Any, Any], window: int = 0
) -> Request:
    _on_record({"parade.function": request.function})
    span = trace.get_current_span()
    return convert.request(request, current(), required_namespace(), context.time_remaining(), window=window, traceparent=traceparent(span))


def _on_record(attributes: dict[str, str]) -> None:
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(attributes)
