"""The runs of a mesh as a client sees them: started, found, cancelled and started again by the many, approved."""

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.trace import SpanKind

from parade import values
from parade.pages import first
from parade.patience import patiently
from parade.run import WAIT_MARGIN, WAIT_SLICE, Run, RunState, duration, result_of, state_of
from parade.v1 import approval_pb2, scheduler_pb2
from parade.wire.telemetry import Telemetry

if TYPE_CHECKING:
    from parade.v1.scheduler_pb2_grpc import SchedulerServiceAsyncStub


class Runs:
    """What a connection to a mesh can do with runs."""

    def __init__(self, scheduler: "SchedulerServiceAsyncStub", telemetry: Telemetry) -> None:
        """Takes the scheduler's stub, and what records starts as spans."""
        self._scheduler = scheduler
        self._telemetry = telemetry

    async def start(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: int = 0,
        request_id: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        **named: Any,
    ) -> Run:
        """Starts a run of a workflow and returns it as soon as it is stored.

        Args:
            workflow: Its name, or the full name of a durable function.
            inputs: Its inputs by name; for names that are taken here.
            version: Its version; the newest where 0.
            request_id: Names this start: a second one with the same name returns the same run. Made up where not given.
            labels: Labels to find the run by.
            priority: From -100 to 100: of what waits for a free place, the highest goes first; what the workflow says where not given.
            named: More inputs.

        Raises:
            ParadeError: NOT_FOUND (the workflow); INVALID_ARGUMENTS (the inputs).
        """
        request = _start(workflow, {**(inputs or {}), **named}, version, request_id, labels, priority)
        with self._span(f"start {workflow}"):
            response = await patiently(lambda: self._scheduler.StartRun(request))
        return Run(self._scheduler, response.run.id)

    async def execute(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        version: int = 0,
        request_id: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        **named: Any,
    ) -> Any:
        """Starts a run of a workflow, waits for its end and returns its outputs.

        Where the wait is given up the run goes on; one with a `request_id` is found again by the same call.

        Args:
            workflow: Its name, or the full name of a durable function.
            inputs: Its inputs by name; for names that are taken here.
            timeout: Seconds to wait at most; for ever where not given.
            version: Its version; the newest where 0.
            request_id: Names this start: a second one with the same name waits for the same run. Made up where not given.
            labels: Labels to find the run by.
            priority: From -100 to 100: of what waits for a free place, the highest goes first; what the workflow says where not given.
            named: More inputs.

        Raises:
            ParadeError: NOT_FOUND (the workflow); INVALID_ARGUMENTS (the inputs); why the run failed; CANCELLED; DEADLINE_EXCEEDED where it
                has not ended in time.
        """
        request = _start(workflow, {**(inputs or {}), **named}, version, request_id, labels, priority)
        deadline = None if timeout is None else time.monotonic() + timeout
        seconds = WAIT_SLICE if timeout is None else min(WAIT_SLICE, max(timeout, 0.001))
        request.wait.CopyFrom(duration(seconds))
        with self._span(f"execute {workflow}"):
            response = await patiently(lambda: self._scheduler.StartRun(request, timeout=seconds + WAIT_MARGIN))
            if state_of(response.run).ended:
                return result_of(response.run)
            left = None if deadline is None else deadline - time.monotonic()
            return await Run(self._scheduler, response.run.id).result(left)

    def run(self, run_id: str) -> Run:
        """Returns a handle of a run that there is."""
        return Run(self._scheduler, run_id)

    async def runs(
        self,
        *,
        workflow: str = "",
        states: Iterable[RunState] = (),
        labels: Mapping[str, str] | None = None,
        inputs: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[scheduler_pb2.Run]:
        """Returns the newest runs that everything fits, newest first.

        Args:
            workflow: Only those of this workflow.
            states: Only those in one of these states.
            labels: Only those that carry these labels.
            inputs: Only those with these inputs: texts, numbers, true or false.
            since: Only those started at or after this time.
            before: Only those started before this time.
            limit: How many at most.

        Raises:
            ParadeError: INVALID_ARGUMENTS.
        """
        wanted = _filter(workflow, states, labels, inputs, since, before)
        request = scheduler_pb2.ListRunsRequest(
            workflow=wanted.workflow,
            states=wanted.states,
            labels=wanted.labels,
            inputs=wanted.inputs,
            start_time=wanted.start_time if since is not None else None,
            end_time=wanted.end_time if before is not None else None,
        )
        return await first(self._scheduler.ListRuns, request, "runs", limit)

    async def cancel_runs(
        self,
        *,
        workflow: str = "",
        states: Iterable[RunState] = (),
        labels: Mapping[str, str] | None = None,
        inputs: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        reason: str = "",
        dry_run: bool = False,
    ) -> scheduler_pb2.CancelRunsResponse:
        """Asks the runs that everything fits to end, the newest first, at most 1,000 of them, and returns what became of each.

        Runs that have ended are left out. Where there are `more`, ask again.

        Args:
            workflow: Only those of this workflow. It or another of these must say something.
            states: Only those in one of these states.
            labels: Only those that carry these labels.
            inputs: Only those with these inputs: texts, numbers, true or false.
            since: Only those started at or after this time.
            before: Only those started before this time.
            reason: Why, for their histories.
            dry_run: Whether to tell which would be cancelled and cancel none.

        Raises:
            ParadeError: INVALID_ARGUMENTS, also where nothing says which runs are meant.
        """
        request = scheduler_pb2.CancelRunsRequest(
            filter=_filter(workflow, states, labels, inputs, since, before), reason=reason, dry_run=dry_run
        )
        return await patiently(lambda: self._scheduler.CancelRuns(request))

    async def rerun_runs(
        self,
        *,
        workflow: str = "",
        states: Iterable[RunState] = (),
        labels: Mapping[str, str] | None = None,
        inputs: Mapping[str, Any] | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        request_id: str = "",
        dry_run: bool = False,
    ) -> scheduler_pb2.RerunRunsResponse:
        """Starts the ended runs that everything fits again, the newest first, at most 1,000 of them, and returns what became of each.

        Args:
            workflow: Only those of this workflow. It or another of these must say something.
            states: Only those in one of these states.
            labels: Only those that carry these labels.
            inputs: Only those with these inputs: texts, numbers, true or false.
            since: Only those started at or after this time.
            before: Only those started before this time.
            request_id: Names this request: a second one with the same name starts none twice. Made up where not given.
            dry_run: Whether to tell which would be started again and start none.

        Raises:
            ParadeError: INVALID_ARGUMENTS, also where nothing says which runs are meant.
        """
        request = scheduler_pb2.RerunRunsRequest(
            filter=_filter(workflow, states, labels, inputs, since, before), request_id=request_id or uuid.uuid4().hex, dry_run=dry_run
        )
        return await patiently(lambda: self._scheduler.RerunRuns(request))

    async def approvals(
        self, *, states: Iterable[str] = (), run_id: str = "", workflow: str = "", mine: bool = False, limit: int = 100
    ) -> list[approval_pb2.Approval]:
        """Returns what waits for somebody's approval, or has been resolved, the oldest first.

        Args:
            states: Only those in one of these states: PENDING, APPROVED, REJECTED, WITHDRAWN; those that wait where not given.
            run_id: Only those of this run.
            workflow: Only those of runs of this workflow.
            mine: Only those that you may resolve.
            limit: How many at most.
        """
        request = scheduler_pb2.ListApprovalsRequest(
            states=[approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{state}") for state in states],
            run_id=run_id,
            workflow=workflow,
            mine=mine,
        )
        return await first(self._scheduler.ListApprovals, request, "approvals", limit)

    def _span(self, name: str) -> Any:
        return self._telemetry.tracer.start_as_current_span(name, kind=SpanKind.CLIENT)


def _filter(
    workflow: str,
    states: Iterable[RunState],
    labels: Mapping[str, str] | None,
    inputs: Mapping[str, Any] | None,
    since: datetime | None,
    before: datetime | None,
) -> scheduler_pb2.RunFilter:
    return scheduler_pb2.RunFilter(
        workflow=workflow,
        states=[scheduler_pb2.RunState.Value(f"RUN_STATE_{state.value}") for state in states],
        labels=[f"{name}={value}" for name, value in sorted((labels or {}).items())],
        inputs=[f"{name}={_text(value)}" for name, value in sorted((inputs or {}).items())],
        start_time=_timestamp(since),
        end_time=_timestamp(before),
    )


def _text(value: Any) -> str:
    """Returns an input's value as runs are found by it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time.astimezone(UTC))
    return timestamp


def _start(
    workflow: str, inputs: Mapping[str, Any], version: int, request_id: str, labels: Mapping[str, str] | None, priority: int | None
) -> scheduler_pb2.StartRunRequest:
    return scheduler_pb2.StartRunRequest(
        workflow=workflow,
        version=version,
        inputs=values.encode(inputs, "inputs"),
        request_id=request_id or uuid.uuid4().hex,
        labels=labels,
        priority=priority,
    )
