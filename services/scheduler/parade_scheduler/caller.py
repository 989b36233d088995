"""Calls functions through the dispatchers, over one session."""

import hashlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, Self

from opentelemetry.trace import SpanKind

from parade.v1 import call_pb2, session_pb2, value_pb2
from parade.wire.channel import targets
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Telemetry
from parade_chassis.lifecycle import Process
from parade_scheduler import convert
from parade_scheduler.config import Config
from parade_scheduler.decider import Dispatch
from parade_scheduler.decider.tasks import NOT_SENT
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Answer, Assigned, Result

MAX_SECONDS: Final = 3600.0
"""The longest call, where neither the step nor the function says less."""


class DispatcherCaller:
    """The dispatchers, behind the port `Caller`."""

    def __init__(self, link: Link, telemetry: Telemetry) -> None:
        """Takes the link to the dispatchers, and where the calls' spans go."""
        self._link = link
        self._calls = SessionCaller(link)
        self._telemetry = telemetry

    @classmethod
    @asynccontextmanager
    async def connected(cls, process: Process[Config]) -> AsyncIterator[Self]:
        """Gives the block the dispatchers that the process is configured for."""
        async with AsyncExitStack() as stack:
            addresses = targets(process.config.dispatcher)
            channels = [await stack.enter_async_context(process.channel("dispatcher", address)) for address in addresses]
            link = Link(channels, DISPATCHER_SESSION, log=process.log)
            stack.push_async_callback(link.close)
            yield cls(link, process.telemetry)

    async def call(self, run: Run, dispatch: Dispatch) -> AsyncGenerator[Answer, None]:
        """Calls a function for a task and yields what comes of it; see `Caller`."""
        name = f"step {dispatch.step}"
        attributes: dict[str, str | int | bool] = {
            "parade.run": run.id,
            "parade.step": dispatch.step,
            "parade.task": dispatch.task,
            "parade.attempt": dispatch.attempt,
        }
        # The run's trace began with a request that has long been answered; its calls hang under that one.
        span = self._telemetry.begin_call(name, SpanKind.INTERNAL, run.trace_parent, attributes)
        call = _message(run, dispatch, run.trace_parent if span is None else span.traceparent)
        timeout = MAX_SECONDS if dispatch.timeout is None else min(dispatch.timeout, MAX_SECONDS)
        failure: ParadeError | None = None
        started = time.monotonic()
        try:
            async with aclosing(self._calls.stream(call, timeout)) as events, aclosing(_answers(events)) as answers:
                async for answer in answers:
                    yield answer
        except ParadeError as error:
            failure = _meaning(error, call)
            raise failure from error
        finally:
            reason, message = (failure.reason.value, failure.message) if failure is not None else ("", "")
            if span is not None:
                span.end(reason, message)
            elif reason:
                seconds = time.monotonic() - started
                self._telemetry.failed_call(name, SpanKind.INTERNAL, seconds, reason, message, run.trace_parent, attributes)

    async def leave(self) -> None:
        """Leaves the calls under way to the dispatcher; see `Caller`. It lets those of steps with effects go on."""
        await self._link.close(cancel=False)


def call_id(run: str, dispatch: Dispatch) -> str:
    """Returns the id of the call of an attempt: the same whichever process makes it, so that the dispatcher knows it again.

    The dispatcher writes calls with effects down under it.
    """
    attempt = f"{run}/{dispatch.step}/{dispatch.task}/{dispatch.attempt}"
    return f"step-{hashlib.blake2b(attempt.encode(), digest_size=16).hexdigest()}"


# Of a call that may have been made under the same id the dispatcher looks for the outcome. One that an earlier attempt may have made has
# another id, under which nothing was written: then an effect is not called, and its outcome stays unknown.
def _message(run: Run, dispatch: Dispatch, traceparent: str) -> session_pb2.SessionCall:
    return session_pb2.SessionCall(
        function=dispatch.function,
        arguments=value_pb2.Value(data=dispatch.arguments.data, media_type=convert.JSON),
        options=call_pb2.CallOptions(call_id=call_id(run.id, dispatch), redelivered=dispatch.resumed),
        origin=call_pb2.CallOrigin(namespace=run.namespace, principal=run.principal, run_id=run.id, step=dispatch.step),
        traceparent=traceparent,
        step_redelivered=dispatch.redelivered,
    )


async def _answers(
    events: AsyncGenerator[session_pb2.SessionEvent | session_pb2.SessionResult, None],
) -> AsyncGenerator[Answer, None]:
    items: list[Document] = []
    size = 0
    async for event in events:
        if isinstance(event, session_pb2.SessionResult):
            # A streaming function has no result: its items are its result.
            yield Result(_document(event.result) if event.HasField("result") else Document.joined(items))
            continue
        match event.WhichOneof("event"):
            case "instance_id":
                # An instance that takes over begins anew.
                items, size = [], 0
                yield Assigned(event.instance_id)
            case "progress":
                fraction = event.progress.fraction
                yield Progress(fraction if math.isfinite(fraction) else -1.0, event.progress.message)
            case "item":
                item = _document(event.item)
                items.append(item)
                size += len(item.data) + 1
                if size > MAX_BYTES:
                    limit = MAX_BYTES // 1024 // 1024
                    raise ParadeError(Reason.INVALID_ARGUMENTS, f"the function's items together are larger than {limit} MiB")


def _document(value: value_pb2.Value) -> Document:
    if value.HasField("artifact"):
        size, limit = value.artifact.size / 2**20, MAX_BYTES // 2**20
        message = (
            f"the function gave an artifact of {size:.1f} MiB; a run keeps values of up to {limit} MiB, so let its function return less"
        )
        raise ParadeError(Reason.INVALID_ARGUMENTS, message)
    return Document(value.data)


def _meaning(error: ParadeError, call: session_pb2.SessionCall) -> ParadeError:
    """Returns what a failed call means: an outage that certainly left the function uncalled is marked as one."""
    # A dispatcher that has called an instance says another reason, and a call whose session was lost is marked by who sends it again.
    if error.reason is Reason.UNAVAILABLE and not call.options.redelivered:
        return ParadeError(error.reason, error.message, metadata={**error.metadata, NOT_SENT: "true"})
    return error
