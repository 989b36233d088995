"""The scheduler's methods: decode, one call, encode."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from opentelemetry import trace

from parade.v1 import scheduler_pb2 as pb
from parade.v1 import scheduler_pb2_grpc
from parade.wire.telemetry import traceparent
from parade_chassis.context import current, required_namespace
from parade_scheduler import convert
from parade_scheduler.engine import Caller, Engine

Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """What `scheduler.proto` says."""

    def __init__(self, engine: Engine) -> None:
        """Takes what decides."""
        self._engine = engine

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
        run, steps = await self._engine.start_run(_caller(), convert.start(request))
        return pb.StartRunResponse(run=convert.to_run(run, steps))

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
        run, steps = await self._engine.cancel_run(_caller(), request.run_id, convert.reason(request))
        return pb.CancelRunResponse(run=convert.to_run(run, steps))


def _caller() -> Caller:
    return Caller(required_namespace(), current().principal, traceparent(trace.get_current_span()))
