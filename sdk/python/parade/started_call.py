"""A call that outlives its caller, as any process holds it that knows its id: its result, its items, its end."""

import time
import uuid
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from parade import values
from parade.artifacts import Artifacts
from parade.call_options import CallOptions, checked
from parade.calls import MAX_TIMEOUT, Progress, unusable_timeout
from parade.patience import patiently
from parade.v1 import call_pb2, dispatcher_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import from_record

if TYPE_CHECKING:
    from parade.v1.dispatcher_pb2_grpc import DispatcherServiceAsyncStub

WAIT_SLICE = 30.0
"""Seconds that one WaitCall asks for; a longer wait is several."""
PROGRESS_INTERVAL = 0.5
"""Seconds between two looks at how far a call has come: WaitCall returns for items and for the end alone."""
CANCEL_TIMEOUT = 2.0
"""Seconds for which `StartedCall.cancel` waits for the end where its caller does not say."""


class CallState(StrEnum):
    """Where a call stands: the names of `parade.v1.CallState` without their prefix."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether the call has come to its end."""
        return self in (CallState.SUCCEEDED, CallState.FAILED, CallState.CANCELLED)


class CancellationState(StrEnum):
    """How far the end of a call that was to end has come: the names of `parade.v1.Cancellation` without their prefix."""

    REQUESTED = "REQUESTED"
    """The instance has not said yet that it knows."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    """The instance knows, and the function has not ended yet."""
    STOPPED = "STOPPED"
    """The function has ended, or was never begun."""
    COULD_NOT_STOP = "COULD_NOT_STOP"
    """The function cannot be stopped from outside and runs on; what it returns is dropped."""


class StartedCall:
    """A call that was started. It goes on whether or not anybody holds this."""

    def __init__(self, dispatcher: "DispatcherServiceAsyncStub", artifacts: Artifacts, call_id: str) -> None:
        """Takes the dispatcher's stub, where large values lie, and the call's id; see `Mesh.start_call` and `Mesh.started_call`."""
        self._dispatcher = dispatcher
        self._artifacts = artifacts
        self.id = call_id

    def __repr__(self) -> str:
        """Returns a text with the call's id."""
        return f"StartedCall({self.id!r})"

    async def status(self) -> call_pb2.Call:
        """Returns the call as it is now; `parade.v1.Call` says what it holds.

        Raises:
            ParadeError: NOT_FOUND.
        """
        return (await patiently(lambda: self._dispatcher.GetCall(dispatcher_pb2.GetCallRequest(call_id=self.id)))).call

    async def wait(self, timeout: float | None = None) -> call_pb2.Call:
        """Waits until the call has ended and returns it, however it ended.

        Args:
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: DEADLINE_EXCEEDED where it has not ended by then; NOT_FOUND.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
            call = (await self._wait(max(left, 0.001))).call
            if state_of(call).ended:
                return call
            if deadline is not None and time.monotonic() >= deadline:
                raise ParadeError(Reason.DEADLINE_EXCEEDED, f"call {self.id} has not ended within {timeout:g} s; it goes on")

    async def result(self, timeout: float | None = None) -> Any:
        """Waits for the call's result and returns it; None of a streaming function, whose items `items` yields.

        Args:
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: Why the call failed; CANCELLED; DEADLINE_EXCEEDED where it has not ended in time.
        """
        call = await self.wait(timeout)
        self._raise_unless_succeeded(call)
        return values.loads(await self._artifacts.resolve(call.result))

    async def cancel(self, timeout: float = CANCEL_TIMEOUT) -> CancellationState | None:
        """Asks the call to end now, waits a moment for its end, and returns how far that has come.

        Args:
            timeout: Seconds to wait for the end.

        Returns:
            How far; None where the call had ended before in another way.

        Raises:
            ParadeError: NOT_FOUND.
        """
        call = (await patiently(lambda: self._dispatcher.CancelCall(dispatcher_pb2.CancelCallRequest(call_id=self.id)))).call
        if timeout > 0 and not state_of(call).ended:
            call = (await self._wait(timeout)).call
        return cancellation_of(call)

    async def items(self, after: int = 0) -> AsyncIterator[Any]:
        """Yields the items of a streaming function in order, those that there are and then others as they come, and ends with the call.

        Args:
            after: How many to leave out at the beginning.

        Raises:
            ParadeError: Why the call failed; CANCELLED; NOT_FOUND.
        """
        known = after
        while True:
            response = await self._wait(WAIT_SLICE, items_after=known)
            for item in response.items:
                known += 1
                yield values.loads(await self._artifacts.resolve(item))
            if state_of(response.call).ended and (known >= response.call.item_count or not response.items):
                self._raise_unless_succeeded(response.call)
                return

    async def progress(self) -> AsyncIterator[Progress]:
        """Yields how far the function has come, as it changes, and ends with the call, however that ended.

        Looked at twice a second; what changes meanwhile is passed over.

        Raises:
            ParadeError: NOT_FOUND.
        """
        last: Progress | None = None
        seconds = 0.001  # the first look is for what there is
        while True:
            call = (await self._wait(seconds)).call
            seconds = PROGRESS_INTERVAL
            if call.HasField("progress"):
                note = Progress(call.progress.fraction, call.progress.message)
                if note != last:
                    last = note
                    yield note
            if state_of(call).ended:
                return

    async def _wait(self, seconds: float, items_after: int | None = None) -> dispatcher_pb2.WaitCallResponse:
        limit = Duration()
        limit.FromMilliseconds(max(1, int(seconds * 1000)))
        request = dispatcher_pb2.WaitCallRequest(call_id=self.id, items_after=items_after, timeout=limit)
        return await patiently(lambda: self._dispatcher.WaitCall(request, timeout=seconds + 10))

    def _raise_unless_succeeded(self, call: call_pb2.Call) -> None:
        if state_of(call) is CallState.SUCCEEDED:
            return
        if call.HasField("error"):
            raise from_record(call.error)
        raise ParadeError(Reason.CANCELLED, f"call {self.id} was cancelled")


def start_request(
    function: str, arguments: value_pb2.Value, timeout: float | None, options: CallOptions | None
) -> dispatcher_pb2.StartCallRequest:
    """Returns the request that starts a call. It carries the call's id, so that sending it again starts nothing more.

    Raises:
        ParadeError: INVALID_ARGUMENTS where the timeout or the options are not usable.
    """
    request = dispatcher_pb2.StartCallRequest(function=function, arguments=arguments)
    if timeout is not None:
        if not 0 < timeout <= MAX_TIMEOUT:
            raise unusable_timeout(timeout)
        request.timeout.FromNanoseconds(max(1, int(timeout * 1e9)))
    if options is not None:
        checked(options).write(request.options)
    request.options.call_id = f"call-{uuid.uuid4().hex}"
    return request


def state_of(call: call_pb2.Call) -> CallState:
    """Returns where a call stands."""
    return CallState(call_pb2.CallState.Name(call.state).removeprefix("CALL_STATE_"))


def cancellation_of(call: call_pb2.Call) -> CancellationState | None:
    """Returns how far the cancellation of a call has come; None where nobody asked for it."""
    if call.cancellation == call_pb2.CANCELLATION_UNSPECIFIED:
        return None
    return CancellationState(call_pb2.Cancellation.Name(call.cancellation).removeprefix("CANCELLATION_"))
