"""A run of a workflow, as its starter holds it: its result, its history, its end."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from parade import values
from parade.calls import Progress
from parade.patience import Patience, patiently
from parade.v1 import scheduler_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import from_record

if TYPE_CHECKING:
    from parade.v1.scheduler_pb2_grpc import SchedulerServiceAsyncStub

WAIT_SLICE = 30
"""Seconds that one WaitRun asks for; a longer wait is several."""


class RunState(StrEnum):
    """Where a run stands: the names of `parade.v1.RunState` without their prefix."""

    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether the run has come to its end."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class EventType(StrEnum):
    """What happened: the names of `parade.v1.RunEventType` without their prefix."""

    RUN_STARTED = "RUN_STARTED"
    STEP_STARTED = "STEP_STARTED"
    TASK_STARTED = "TASK_STARTED"
    TASK_PROGRESS = "TASK_PROGRESS"
    TASK_SUCCEEDED = "TASK_SUCCEEDED"
    TASK_RETRYING = "TASK_RETRYING"
    TASK_FAILED = "TASK_FAILED"
    STEP_SUCCEEDED = "STEP_SUCCEEDED"
    STEP_FAILED = "STEP_FAILED"
    STEP_SKIPPED = "STEP_SKIPPED"
    STEP_CANCELLED = "STEP_CANCELLED"
    RUN_CANCELLING = "RUN_CANCELLING"
    RUN_SUCCEEDED = "RUN_SUCCEEDED"
    RUN_FAILED = "RUN_FAILED"
    RUN_CANCELLED = "RUN_CANCELLED"


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One entry of a run's history."""

    sequence: int
    """Its place, counted from 1 without gaps."""
    time: datetime
    type: EventType
    step: str
    """The step; empty for the run itself."""
    task: int
    """The task of the step, counted from 0."""
    attempt: int
    """The attempt of the task, counted from 1; 0 where it does not apply."""
    tasks: int
    """How many tasks the step has, for STEP_STARTED."""
    instance_id: str
    """The instance that answered, where one did."""
    progress: Progress | None
    """How far, for TASK_PROGRESS."""
    output: Any
    """The result, for what succeeded."""
    error: ParadeError | None
    """Why, for what failed or is tried again."""
    message: str
    """Why, for STEP_SKIPPED and RUN_CANCELLING."""


class Run:
    """A run. It goes on whether or not anybody holds this."""

    def __init__(self, scheduler: "SchedulerServiceAsyncStub", run_id: str) -> None:
        """Takes the scheduler's stub and the run's id; see `Mesh.start` and `Mesh.run`."""
        self._scheduler = scheduler
        self.id = run_id

    def __repr__(self) -> str:
        """Returns a text with the run's id."""
        return f"Run({self.id!r})"

    async def get(self) -> scheduler_pb2.Run:
        """Returns the run with its steps, as it is now.

        Raises:
            ParadeError: NOT_FOUND.
        """
        response = await patiently(lambda: self._scheduler.GetRun(scheduler_pb2.GetRunRequest(run_id=self.id)))
        return response.run

    async def wait(self, timeout: float | None = None) -> scheduler_pb2.Run:
        """Waits until the run has ended and returns it, however it ended.

        Args:
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: DEADLINE_EXCEEDED where it has not ended by then; NOT_FOUND.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
            run = await patiently(lambda left=left: self._wait(max(left, 0.001)))  # type: ignore[misc]
            if state_of(run).ended:
                return run
            if deadline is not None and time.monotonic() >= deadline:
                raise ParadeError(Reason.DEADLINE_EXCEEDED, f"run {self.id} has not ended within {timeout:g} s; it goes on")

    async def result(self, timeout: float | None = None) -> Any:
        """Waits for the run's outputs and returns them.

        Args:
            timeout: Seconds to wait at most; for ever where not given.

        Raises:
            ParadeError: Why the run failed; CANCELLED; DEADLINE_EXCEEDED where it has not ended in time.
        """
        run = await self.wait(timeout)
        if state_of(run) is RunState.SUCCEEDED:
            return values.decode(run.outputs)
        if state_of(run) is RunState.CANCELLED:
            raise ParadeError(Reason.CANCELLED, f"run {self.id} was cancelled")
        raise from_record(run.error)

    async def events(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """Yields the run's history in order, then what happens as it happens, and ends with the run.

        Where the scheduler goes away it goes on from the last event when it is back.

        Args:
            after: The sequence number to start after; 0 for the whole history.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE where the scheduler stays away.
        """
        patience = Patience()
        while True:
            try:
                request = scheduler_pb2.WatchRunRequest(run_id=self.id, after_sequence=after)
                async for response in self._scheduler.WatchRun(request):
                    event = _event(response.event)
                    after = event.sequence
                    patience.renew()
                    yield event
                return
            except ParadeError as error:
                await patience.pause_or_raise(error)

    async def cancel(self, reason: str = "") -> None:
        """Asks the run to end now; returns when the wish is stored.

        Args:
            reason: Why, for the history.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION where it has ended in another way.
        """
        await patiently(lambda: self._scheduler.CancelRun(scheduler_pb2.CancelRunRequest(run_id=self.id, reason=reason)))

    async def _wait(self, seconds: float) -> scheduler_pb2.Run:
        limit = Duration()
        limit.FromMilliseconds(int(seconds * 1000))
        response = await self._scheduler.WaitRun(scheduler_pb2.WaitRunRequest(run_id=self.id, timeout=limit), timeout=seconds + 10)
        return response.run


def state_of(run: scheduler_pb2.Run) -> RunState:
    """Returns where a run stands."""
    return RunState(scheduler_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_"))


def _event(event: scheduler_pb2.RunEvent) -> RunEvent:
    return RunEvent(
        sequence=event.sequence,
        time=event.time.ToDatetime(UTC),
        type=EventType(scheduler_pb2.RunEventType.Name(event.type).removeprefix("RUN_EVENT_TYPE_")),
        step=event.step,
        task=event.task,
        attempt=event.attempt,
        tasks=event.tasks,
        instance_id=event.instance_id,
        progress=Progress(event.progress.fraction, event.progress.message) if event.HasField("progress") else None,
        output=values.decode(event.output),
        error=from_record(event.error) if event.HasField("error") else None,
        message=event.message,
    )
