"""A run of a workflow, as its starter holds it: its result, its history, its end."""

import time
import uuid
from collections.abc import AsyncIterator, Mapping
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
"""Seconds that one request waits for a run's end; a longer wait is several."""
WAIT_MARGIN = 10
"""Seconds beyond it that the answer may take."""


class RunState(StrEnum):
    """Where a run stands: the names of `parade.v1.RunState` without their prefix."""

    QUEUED = "QUEUED"
    """It waits until its concurrency group lets it begin."""
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    """Nothing more begins until it is resumed."""
    CANCELLING = "CANCELLING"
    COMPENSATING = "COMPENSATING"
    """Its steps have ended, not all well, and what succeeded is being undone."""
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
    TASK_WAITING = "TASK_WAITING"
    TASK_SUCCEEDED = "TASK_SUCCEEDED"
    TASK_RETRYING = "TASK_RETRYING"
    TASK_FAILED = "TASK_FAILED"
    TASK_CANCELLED = "TASK_CANCELLED"
    STEP_SUCCEEDED = "STEP_SUCCEEDED"
    STEP_FAILED = "STEP_FAILED"
    STEP_SKIPPED = "STEP_SKIPPED"
    STEP_CANCELLED = "STEP_CANCELLED"
    SIGNAL_RECEIVED = "SIGNAL_RECEIVED"
    RUN_QUEUED = "RUN_QUEUED"
    RUN_PAUSED = "RUN_PAUSED"
    RUN_RESUMED = "RUN_RESUMED"
    RUN_CANCELLING = "RUN_CANCELLING"
    RUN_COMPENSATING = "RUN_COMPENSATING"
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
    """The result, for what succeeded; the value, for SIGNAL_RECEIVED."""
    error: ParadeError | None
    """Why, for what failed or is tried again."""
    message: str
    """Why, for STEP_SKIPPED and RUN_CANCELLING; the note of who approved, rejected or paused; the name of a signal; what is waited for."""
    retry_time: datetime | None = None
    """When the next attempt starts, for TASK_RETRYING; until when it waits, for TASK_WAITING."""
    by: str = ""
    """Who did it, where somebody did: a SPIFFE id."""
    child_run_id: str = ""
    """The run that a task has started."""


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
        """Waits until the run has ended and returns it, however it ended. Where schedulers share runs this may be a second later.

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
        return result_of(await self.wait(timeout))

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

    async def pause(self, reason: str = "") -> None:
        """Lets nothing more begin in the run until it is resumed; what was handed out comes to its end. Its timeout goes on.

        Args:
            reason: Why, for the history.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION where it has ended, is ending or has not begun.
        """
        await patiently(lambda: self._scheduler.PauseRun(scheduler_pb2.PauseRunRequest(run_id=self.id, reason=reason)))

    async def resume(self) -> None:
        """Lets a paused run go on.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION where it has ended or is ending.
        """
        await patiently(lambda: self._scheduler.ResumeRun(scheduler_pb2.ResumeRunRequest(run_id=self.id)))

    async def signal(self, name: str, value: Any = None, *, request_id: str = "") -> None:
        """Sends the run a signal. A step that waits for its name takes it; until one does it is kept.

        Args:
            name: The signal's name.
            value: What it carries: any JSON value.
            request_id: Names this request: a second one with the same name changes nothing. Made up where not given.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION where it has ended or is ending; INVALID_ARGUMENTS where the value does not fit the
                step that waits for it; NO_CAPACITY where too many signals are kept.
        """
        request = scheduler_pb2.SignalRunRequest(
            run_id=self.id, name=name, value=values.encode(value), request_id=request_id or uuid.uuid4().hex
        )
        await patiently(lambda: self._scheduler.SignalRun(request))

    async def approve(self, step: str, *, task: int = 0, note: str = "") -> None:
        """Approves what a step waits for.

        Args:
            step: The step.
            task: The task of the step, counted from 0, where it has several.
            note: Why, for the history.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED where you are none of its approvers; FAILED_PRECONDITION where it was rejected before,
                or nobody waits for it any more.
        """
        await self._resolve(step, task, note, approved=True)

    async def reject(self, step: str, *, task: int = 0, note: str = "") -> None:
        """Rejects what a step waits for: the step fails.

        Args:
            step: The step.
            task: The task of the step, counted from 0, where it has several.
            note: Why, for the history.

        Raises:
            ParadeError: NOT_FOUND; PERMISSION_DENIED where you are none of its approvers; FAILED_PRECONDITION where it was approved before,
                or nobody waits for it any more.
        """
        await self._resolve(step, task, note, approved=False)

    async def rerun(self, from_step: str = "", inputs: Mapping[str, Any] | None = None, *, version: int = 0, request_id: str = "") -> "Run":
        """Starts a run that repeats this one, which has ended, from a step on, and returns it.

        The step runs again, with all that need it, directly or through others; the others keep their results.

        Args:
            from_step: The first step that runs again; everything where not given.
            inputs: Inputs that replace those of this run, by name.
            version: The version of the workflow; this run's where 0.
            request_id: Names this start: a second one with the same name returns the same run. Made up where not given.

        Raises:
            ParadeError: NOT_FOUND (the run or the step); FAILED_PRECONDITION where the run, or what the step needs, has not ended;
                INVALID_ARGUMENTS (the inputs).
        """
        request = scheduler_pb2.RerunFromStepRequest(
            run_id=self.id,
            step=from_step,
            inputs=values.encode({**(inputs or {})}, "inputs"),
            version=version,
            request_id=request_id or uuid.uuid4().hex,
        )
        response = await patiently(lambda: self._scheduler.RerunFromStep(request))
        return Run(self._scheduler, response.run.id)

    async def fork(self, after_sequence: int, inputs: Mapping[str, Any] | None = None, *, request_id: str = "") -> "Run":
        """Starts a run that is as this one was after an event of its history and goes on from there, and returns it.

        Args:
            after_sequence: The last event that the two have in common. Steps that had not ended by then run anew.
            inputs: Inputs that replace those of this run, by name.
            request_id: Names this start: a second one with the same name returns the same run. Made up where not given.

        Raises:
            ParadeError: NOT_FOUND (the run or the event); INVALID_ARGUMENTS (the inputs).
        """
        request = scheduler_pb2.ForkRunRequest(
            run_id=self.id,
            after_sequence=after_sequence,
            inputs=values.encode({**(inputs or {})}, "inputs"),
            request_id=request_id or uuid.uuid4().hex,
        )
        response = await patiently(lambda: self._scheduler.ForkRun(request))
        return Run(self._scheduler, response.run.id)

    async def _resolve(self, step: str, task: int, note: str, *, approved: bool) -> None:
        request = scheduler_pb2.ResolveApprovalRequest(run_id=self.id, step=step, task=task, note=note, approved=approved)
        await patiently(lambda: self._scheduler.ResolveApproval(request))

    async def _wait(self, seconds: float) -> scheduler_pb2.Run:
        request = scheduler_pb2.WaitRunRequest(run_id=self.id, timeout=duration(seconds))
        response = await self._scheduler.WaitRun(request, timeout=seconds + WAIT_MARGIN)
        return response.run


def state_of(run: scheduler_pb2.Run) -> RunState:
    """Returns where a run stands."""
    return RunState(scheduler_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_"))


def result_of(run: scheduler_pb2.Run) -> Any:
    """Returns the outputs of a run that has ended.

    Raises:
        ParadeError: Why the run failed; CANCELLED.
    """
    if state_of(run) is RunState.SUCCEEDED:
        return values.decode(run.outputs)
    if state_of(run) is RunState.CANCELLED:
        raise ParadeError(Reason.CANCELLED, f"run {run.id} was cancelled")
    raise from_record(run.error)


def duration(seconds: float) -> Duration:
    """Writes a number of seconds."""
    written = Duration()
    written.FromMilliseconds(int(seconds * 1000))
    return written


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
        retry_time=event.retry_time.ToDatetime(UTC) if event.HasField("retry_time") else None,
        by=event.by,
        child_run_id=event.child_run_id,
    )
