"""The scheduler's methods: decode, one call, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from opentelemetry import trace

from parade.v1 import scheduler_pb2 as pb
from parade.v1 import scheduler_pb2_grpc
from parade.wire.telemetry import traceparent
from parade_chassis.context import current, minds_its_own, require_own, required_namespace
from parade_chassis.sessions import SessionServicer
from parade_scheduler import convert
from parade_scheduler.engine import Caller, Engine
from parade_scheduler.operations import Operations
from parade_scheduler.triggers.events import Events
from parade_scheduler.triggers.schedules import Schedules

Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(SessionServicer, scheduler_pb2_grpc.SchedulerServiceServicer):
    """What `scheduler.proto` says."""

    def __init__(self, engine: Engine, operations: Operations, schedules: Schedules, events: Events) -> None:
        """Takes what decides."""
        self._engine = engine
        self._operations = operations
        self._schedules = schedules
        self._events = events

    async def PutWorkflow(self, request: pb.PutWorkflowRequest, context: Context) -> pb.PutWorkflowResponse:
        """See the contract."""
        workflow = await self._engine.put_workflow(_caller(), request.source, allow_unregistered=request.allow_unregistered)
        return pb.PutWorkflowResponse(workflow=convert.to_workflow(workflow))

    async def CheckWorkflow(self, request: pb.CheckWorkflowRequest, context: Context) -> pb.CheckWorkflowResponse:
        """See the contract."""
        examined = await self._engine.check_workflow(_caller(), request.source, allow_unregistered=request.allow_unregistered)
        return convert.to_check(examined)

    async def GetWorkflow(self, request: pb.GetWorkflowRequest, context: Context) -> pb.GetWorkflowResponse:
        """See the contract."""
        workflow = await self._engine.workflow(_caller(), request.name, request.version)
        return pb.GetWorkflowResponse(workflow=convert.to_workflow(workflow))

    async def ListWorkflows(self, request: pb.ListWorkflowsRequest, context: Context) -> pb.ListWorkflowsResponse:
        """See the contract."""
        workflows, token = await self._engine.workflows(_caller(), request.page_size, request.page_token)
        return pb.ListWorkflowsResponse(workflows=map(convert.to_workflow, workflows), next_page_token=token)

    async def StartRun(self, request: pb.StartRunRequest, context: Context) -> pb.StartRunResponse:
        """See the contract."""
        run, _ = await self._engine.start_run(_caller(), convert.start(request), convert.wait_of_start(request))
        return pb.StartRunResponse(run=convert.to_run(run))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        """See the contract."""
        run, steps = await self._engine.run(_caller(), request.run_id)
        return pb.GetRunResponse(run=convert.to_run(run, steps))

    async def WaitRun(self, request: pb.WaitRunRequest, context: Context) -> pb.WaitRunResponse:
        """See the contract."""
        run, steps = await self._engine.wait_run(_caller(), request.run_id, convert.wait(request))
        return pb.WaitRunResponse(run=convert.to_run(run, steps))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """See the contract."""
        wanted = convert.run_filter(required_namespace(), request)
        runs, token = await self._engine.runs(wanted, request.page_size, request.page_token)
        return pb.ListRunsResponse(runs=[convert.to_run(run, brief=True) for run in runs], next_page_token=token)

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.WatchRunResponse]:
        """See the contract."""
        async with aclosing(self._engine.watch_run(_caller(), request.run_id, convert.after_sequence(request))) as events:
            async for event in events:
                yield pb.WatchRunResponse(event=convert.to_event(event))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        """See the contract."""
        await self._require_own(request.run_id)
        run, steps = await self._engine.cancel_run(_caller(), request.run_id, convert.reason(request))
        return pb.CancelRunResponse(run=convert.to_run(run, steps))

    async def CancelRuns(self, request: pb.CancelRunsRequest, context: Context) -> pb.CancelRunsResponse:
        """See the contract."""
        wanted = convert.many(required_namespace(), request)
        outcomes, more = await self._operations.cancel_runs(_caller(), wanted, convert.reason(request), dry_run=request.dry_run)
        return pb.CancelRunsResponse(outcomes=convert.to_outcomes(outcomes), more=more)

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:
        """See the contract."""
        await self._require_own(request.run_id)
        run, steps = await self._operations.pause(_caller(), request.run_id, convert.reason(request))
        return pb.PauseRunResponse(run=convert.to_run(run, steps))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Context) -> pb.ResumeRunResponse:
        """See the contract."""
        await self._require_own(request.run_id)
        run, steps = await self._operations.resume(_caller(), request.run_id)
        return pb.ResumeRunResponse(run=convert.to_run(run, steps))

    async def SignalRun(self, request: pb.SignalRunRequest, context: Context) -> pb.SignalRunResponse:
        """See the contract."""
        run, steps = await self._operations.signal(_caller(), request.run_id, convert.signal(request))
        return pb.SignalRunResponse(run=convert.to_run(run, steps))

    async def ListApprovals(self, request: pb.ListApprovalsRequest, context: Context) -> pb.ListApprovalsResponse:
        """See the contract."""
        wanted = convert.approval_filter(required_namespace(), current().principal, request)
        approvals, token = await self._operations.approvals(wanted, request.page_size, request.page_token)
        return pb.ListApprovalsResponse(approvals=map(convert.to_approval, approvals), next_page_token=token)

    async def ResolveApproval(self, request: pb.ResolveApprovalRequest, context: Context) -> pb.ResolveApprovalResponse:
        """See the contract."""
        run, steps = await self._operations.resolve(_caller(), convert.resolution(request))
        return pb.ResolveApprovalResponse(run=convert.to_run(run, steps))

    async def RerunFromStep(self, request: pb.RerunFromStepRequest, context: Context) -> pb.RerunFromStepResponse:
        """See the contract."""
        run, steps = await self._operations.rerun(_caller(), convert.rerun(request))
        return pb.RerunFromStepResponse(run=convert.to_run(run, steps))

    async def RerunRuns(self, request: pb.RerunRunsRequest, context: Context) -> pb.RerunRunsResponse:
        """See the contract."""
        wanted, named = convert.many(required_namespace(), request), convert.bulk_request_id(request)
        outcomes, more = await self._operations.rerun_runs(_caller(), wanted, named, dry_run=request.dry_run)
        return pb.RerunRunsResponse(outcomes=convert.to_outcomes(outcomes), more=more)

    async def ForkRun(self, request: pb.ForkRunRequest, context: Context) -> pb.ForkRunResponse:
        """See the contract."""
        run, steps = await self._operations.fork(_caller(), convert.fork(request))
        return pb.ForkRunResponse(run=convert.to_run(run, steps))

    async def PublishEvent(self, request: pb.PublishEventRequest, context: Context) -> pb.PublishEventResponse:
        """See the contract."""
        type, value, named = convert.event(request)
        return pb.PublishEventResponse(event_id=await self._events.publish(_caller(), type, value, named))

    async def PutSchedule(self, request: pb.PutScheduleRequest, context: Context) -> pb.PutScheduleResponse:
        """See the contract."""
        stored = await self._schedules.put(_caller(), convert.schedule(request.schedule))
        return pb.PutScheduleResponse(schedule=convert.to_schedule(stored))

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Context) -> pb.GetScheduleResponse:
        """See the contract."""
        return pb.GetScheduleResponse(schedule=convert.to_schedule(await self._schedules.get(_caller(), request.name)))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Context) -> pb.ListSchedulesResponse:
        """See the contract."""
        found, token = await self._schedules.list(_caller(), request.workflow, request.page_size, request.page_token)
        return pb.ListSchedulesResponse(schedules=map(convert.to_schedule, found), next_page_token=token)

    async def DeleteSchedule(self, request: pb.DeleteScheduleRequest, context: Context) -> pb.DeleteScheduleResponse:
        """See the contract."""
        await self._schedules.delete(_caller(), request.name)
        return pb.DeleteScheduleResponse()

    async def _require_own(self, run_id: str) -> None:
        if minds_its_own():
            require_own((await self._engine.brief_run(_caller(), run_id)).principal, f"run {run_id}")


def _caller() -> Caller:
    return Caller(required_namespace(), current().principal, traceparent(trace.get_current_span()))
