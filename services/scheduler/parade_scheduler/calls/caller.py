"""Calls functions through the dispatchers, over one session."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Self

from opentelemetry.trace import SpanKind

from parade.v1 import session_pb2, value_pb2
from parade.wire.call_span import CallSpan
from parade.wire.channel import targets
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import masked, masked_error
from parade.wire.session.delivery import Delivery
from parade.wire.session.limits import room_taken
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Telemetry
from parade_chassis.lifecycle import Process
from parade_scheduler.calls.call_entry import call_entry
from parade_scheduler.config import Config
from parade_scheduler.decider import Dispatch
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Call, Listener

MAX_SECONDS: Final = 3600.0
"""The longest call, where neither the step nor the function says less."""
WINDOW: Final = 256 * 1024
"""How many bytes of a streaming function's items may be on their way."""


class DispatcherCaller:
    """The dispatchers, behind the port `Caller`."""

    def __init__(self, link: Link, telemetry: Telemetry) -> None:
        """Takes the link to the dispatchers, and where the calls' spans go."""
        self._link = link
        self._telemetry = telemetry
        self._deadlines = Deadlines()
        self._loop: asyncio.AbstractEventLoop | None = None

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

    def call(self, run: Run, dispatch: Dispatch, listener: Listener) -> Call:
        """Calls a function for a task; see `Caller`."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # asks the kernel which process this is, so not for every call
        call = _Call(self._link, self._deadlines, loop, self._telemetry, run, dispatch, listener)
        call.start()
        return call

    async def leave(self) -> None:
        """Leaves the calls under way to the dispatcher; see `Caller`. It lets those of steps with effects go on."""
        await self._link.close(cancel=False)


class _Call(Delivery):
    """One call of an attempt, and its span."""

    __slots__ = ("_began", "_dispatch", "_instance_id", "_items", "_listener", "_run", "_size", "_span", "_telemetry")

    def __init__(
        self,
        link: Link,
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
        telemetry: Telemetry,
        run: Run,
        dispatch: Dispatch,
        listener: Listener,
    ) -> None:
        # The run's trace began with a request that has long been answered; its calls hang under that one.
        span = telemetry.begin_call(_span_name(dispatch), SpanKind.INTERNAL, run.trace_parent)
        if span is not None:
            span.describe(_attributes(run, dispatch))
        id = call_id(run.id, dispatch)
        entry = call_entry(run, dispatch, id, run.trace_parent if span is None else span.traceparent)
        timeout = MAX_SECONDS if dispatch.timeout is None else min(dispatch.timeout, MAX_SECONDS)
        self._began = loop.time()
        super().__init__(link, deadlines, entry, id, self._began + timeout, loop, WINDOW)
        self.redelivered = dispatch.resumed
        self._telemetry = telemetry
        self._run = run
        self._dispatch = dispatch
        self._listener = listener
        self._span: CallSpan | None = span
        self._instance_id = ""
        self._items: list[Document] | None = None
        self._size = 0

    @property
    def repeatable(self) -> bool:
        """Only before its first item, for another call's items may be others."""
        return self._items is None

    def start(self) -> None:
        """Sends the call.

        Raises:
            ParadeError: It cannot be sent.
        """
        try:
            self.begin()
        except ParadeError as error:
            raise self._noted(error) from error

    def cancel(self) -> None:
        """Cancels the call; see `Call`."""
        self.abandon()
        if self._span is not None:
            self._span.end()

    def told(self, event: session_pb2.SessionEvent) -> None:
        """Passes on what the call says, and keeps its items: those of a streaming function are its result."""
        kind = event.WhichOneof("event")
        if kind == "instance_id":
            if self._items is not None:
                # An instance that takes over begins anew.
                self._items, self._size = [], 0
            self._assigned(event.instance_id)
        elif kind == "progress":
            fraction = event.progress.fraction
            message = masked(event.progress.message, self._dispatch.secrets)
            self._listener.progressed(Progress(fraction if math.isfinite(fraction) else -1.0, message))
        elif kind == "item":
            try:
                self._keep(event.item)
            except ParadeError as error:
                self.abandon()
                self.failed(error)

    def succeeded(self, result: session_pb2.SessionResult) -> None:
        """Passes on the result."""
        try:
            output = _document(result.result) if result.HasField("result") else Document.joined(self._items or ())
        except ParadeError as error:
            self.failed(error)
            return
        if self._span is not None:
            self._span.end()
        self._assigned(result.instance_id)
        self._listener.succeeded(output)

    def failed(self, error: ParadeError) -> None:
        """Passes on why there is no result."""
        self._assigned(error.metadata.get("instance", ""))
        self._listener.failed(self._noted(error))

    def _assigned(self, instance_id: str) -> None:
        """Passes on which instance has the call: its outcome says so again, or for the first time where it came soon."""
        if instance_id and instance_id != self._instance_id:
            self._instance_id = instance_id
            self._listener.assigned(instance_id)

    def _keep(self, item: value_pb2.Value) -> None:
        document = _document(item)
        if self._items is None:
            self._items = []
        self._items.append(document)
        self._size += len(document.data) + 1
        if self._size > MAX_BYTES:
            limit = MAX_BYTES // 1024 // 1024
            raise ParadeError(Reason.INVALID_ARGUMENTS, f"the function's items together are larger than {limit} MiB")
        self.taken(room_taken(item))

    def _noted(self, error: ParadeError) -> ParadeError:
        """Ends the span, and returns what the failure means: an outage that certainly left the function uncalled is marked as one.

        Dispatchers say it without the secrets of the call, but one of the version before does not.
        """
        error = masked_error(error, self._dispatch.secrets)
        # A dispatcher that has called an instance says another reason, and a call whose session was lost is marked by who sends it again.
        if error.reason is Reason.UNAVAILABLE and not self.redelivered:
            error = ParadeError(error.reason, error.message, metadata={**error.metadata, NOT_SENT: "true"})
        reason, run = error.reason.value, self._run
        if self._span is not None:
            self._span.end(reason, error.message)
        else:
            seconds = self._loop.time() - self._began
            name, attributes = _span_name(self._dispatch), _attributes(run, self._dispatch)
            self._telemetry.failed_call(name, SpanKind.INTERNAL, seconds, reason, error.message, run.trace_parent, attributes)
        return error


def call_id(run: str, dispatch: Dispatch) -> str:
    """Returns the id of the call of an attempt: the same whichever process makes it, so that the dispatcher knows it again.

    The dispatcher writes calls with effects down under it.
    """
    attempt = f"{run}/{dispatch.step}/{dispatch.task}/{dispatch.attempt}"
    return f"step-{hashlib.blake2b(attempt.encode(), digest_size=16).hexdigest()}"


def _span_name(dispatch: Dispatch) -> str:
    return f"step {dispatch.step}"


def _attributes(run: Run, dispatch: Dispatch) -> dict[str, str | int | bool]:
    return {
        "parade.namespace": run.namespace,
        "parade.run": run.id,
        "parade.step": dispatch.step,
        "parade.task": dispatch.task,
        "parade.attempt": dispatch.attempt,
    }


def _document(value: value_pb2.Value) -> Document:
    if value.HasField("artifact"):
        size, limit = value.artifact.size / 2**20, MAX_BYTES // 2**20
        message = (
            f"the function gave an artifact of {size:.1f} MiB; a run keeps values of up to {limit} MiB, so let its function return less"
        )
        raise ParadeError(Reason.INVALID_ARGUMENTS, message)
    return Document(value.data)
