"""Calls functions through the dispatcher."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import grpc
from opentelemetry.trace import SpanKind

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc, value_pb2
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.metadata import on_behalf_of
from parade.wire.status import DETAILS_KEY
from parade.wire.telemetry import Telemetry, remote_parent
from parade_scheduler import convert
from parade_scheduler.decider import Dispatch
from parade_scheduler.decider.tasks import NOT_SENT
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Answer, Assigned, Result

MAX_SECONDS: Final = 3600.0
"""The longest call, where neither the step nor the function says less."""
GRACE: Final = 2.0
"""Seconds beyond a call's timeout in which the dispatcher's own word on it may still come."""

_NOT_CONNECTED: Final = ("failed to connect to all addresses", "errors resolving ")
"""How gRPC's texts begin where it has no connection to send a call on. It tells this in no other way."""


class DispatcherCaller:
    """The dispatcher, behind the port `Caller`."""

    def __init__(self, channel: Channel, telemetry: Telemetry) -> None:
        """Takes the channel to the dispatcher, and where the calls' spans go."""
        self._stub: Any = dispatcher_pb2_grpc.DispatcherServiceStub(channel.for_stubs())
        self._tracer = telemetry.tracer

    async def call(self, run: Run, dispatch: Dispatch) -> AsyncGenerator[Answer, None]:
        """Calls a function for a task and yields what comes of it; see `Caller`."""
        request = dispatcher_pb2.CallStreamRequest(
            function=dispatch.function,
            arguments=value_pb2.Value(data=dispatch.arguments.data, media_type=convert.JSON),
            step=dispatcher_pb2.StepReference(run_id=run.id, step=dispatch.step, redelivered=dispatch.redelivered),
        )
        timeout = MAX_SECONDS if dispatch.timeout is None else min(dispatch.timeout, MAX_SECONDS)
        if dispatch.timeout is not None:
            request.timeout.CopyFrom(convert.to_duration(timeout))
        attributes: dict[str, str | int] = {
            "parade.run": run.id,
            "parade.step": dispatch.step,
            "parade.task": dispatch.task,
            "parade.attempt": dispatch.attempt,
        }
        # The run's trace began with a request that has long been answered; its calls hang under that one.
        span = self._tracer.start_span(
            f"step {dispatch.step}", remote_parent({"traceparent": run.trace_parent}.get), SpanKind.INTERNAL, attributes
        )
        try:
            headers = (*on_behalf_of(run.namespace, run.principal), *convert.trace_headers(span))
            responses = self._stub.CallStream(request, timeout=timeout + GRACE, metadata=headers)
            async with aclosing(_answers(responses)) as answers:
                async for answer in answers:
                    yield answer
        except ParadeError as error:
            meant = _meaning(error)
            span.set_attribute("parade.reason", meant.reason.value)
            raise meant from error
        finally:
            span.end()


async def _answers(responses: Any) -> AsyncGenerator[Answer, None]:
    items: list[Document] = []
    size = 0
    has_result = False
    async with aclosing(responses):
        async for response in responses:
            match response.WhichOneof("event"):
                case "assigned":
                    # An instance that takes over begins anew.
                    items, size = [], 0
                    yield Assigned(response.assigned.instance_id)
                case "progress":
                    fraction = response.progress.fraction
                    yield Progress(fraction if math.isfinite(fraction) else -1.0, response.progress.message)
                case "item":
                    items.append(Document(response.item.data))
                    size += len(response.item.data) + 1
                    if size > MAX_BYTES:
                        limit = MAX_BYTES // 1024 // 1024
                        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the function's items together are larger than {limit} MiB")
                case "result":
                    has_result = True
                    yield Result(Document(response.result.data))
    if not has_result:  # a streaming function: its items are its result
        yield Result(Document.joined(items))


def _meaning(error: ParadeError) -> ParadeError:
    """Returns what a failed call means: the dispatcher's own word as it is, a broken connection as an outage."""
    cause = error.__cause__
    if not isinstance(cause, grpc.aio.AioRpcError):
        return error
    if DETAILS_KEY in dict(cause.trailing_metadata() or ()):
        if error.reason is Reason.UNAVAILABLE:  # a dispatcher that has called an instance says another reason
            return ParadeError(error.reason, error.message, metadata={**error.metadata, NOT_SENT: "true"})
        return error
    text = cause.details() or ""
    match cause.code():
        case grpc.StatusCode.UNAVAILABLE if text.startswith(_NOT_CONNECTED):
            return ParadeError(Reason.UNAVAILABLE, "the dispatcher cannot be reached", metadata={NOT_SENT: "true"})
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED | grpc.StatusCode.INTERNAL | grpc.StatusCode.UNKNOWN:
            return ParadeError(Reason.UNAVAILABLE, f"the connection to the dispatcher broke: {text or cause.code().name}")
    return error
