"""The mesh as a client sees it: calls, workflows, runs, agents, logs."""

import os
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.trace import SpanKind

from parade import values
from parade.calls import Caller
from parade.patience import patiently
from parade.run import Run, RunState
from parade.v1 import agent_manager_pb2, monitor_pb2, scheduler_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.v1.monitor_pb2_grpc import MonitorServiceStub
from parade.v1.scheduler_pb2_grpc import SchedulerServiceStub
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.telemetry import Collector, Telemetry
from parade.workflow import Workflow

PAGE_SIZE = 1000
NEEDED = frozenset({"agent_manager", "dispatcher", "monitor", "scheduler"})
"""The services that a client speaks to."""


@asynccontextmanager
async def connect(mesh: MeshFile | Path | None = None, *, traced: bool = True) -> "AsyncIterator[Mesh]":
    """Connects to a mesh for the time of a block.

    Args:
        mesh: The mesh, or the path of its mesh file; else the one that `PARADE_MESH` names or the nearest `.parade` folder holds.
        traced: Whether calls and starts are recorded as spans of this client, at the head of their traces.

    Raises:
        ParadeError: UNAVAILABLE where there is no mesh, or its file names too few services.
    """
    found = MeshFile.read(mesh) if isinstance(mesh, Path) else mesh or MeshFile.find()
    missing = sorted(NEEDED - found.services.keys())
    if missing:
        raise ParadeError(Reason.UNAVAILABLE, f"the mesh file {found.path} has no address for {', '.join(missing)}")
    certificates = found.certificates()
    collector = None
    if traced:
        collector = Collector(found.services["monitor"], Identity.service("monitor", found.domain).server_name, certificates)
    channels = {
        name: Channel(address, certificates, Identity.service(name, found.domain).server_name, peer=name)
        for name, address in found.services.items()
    }
    with Telemetry("client", f"{os.uname().nodename}-{os.getpid()}", found.namespace, collector) as telemetry:
        try:
            yield Mesh(found, channels, telemetry)
        finally:
            for channel in channels.values():
                await channel.close()


class Mesh:
    """A connection to a mesh. Lists come as the messages of `parade.v1`, whose comments say what they hold."""

    def __init__(self, file: MeshFile, channels: Mapping[str, Channel], telemetry: Telemetry) -> None:
        """Takes the connections; see `connect`."""
        self.file = file
        self._telemetry = telemetry
        self._caller = Caller(channels["dispatcher"])
        self._agent_manager = AgentManagerServiceStub(channels["agent_manager"].for_stubs())
        self._scheduler = SchedulerServiceStub(channels["scheduler"].for_stubs())
        self._monitor = MonitorServiceStub(channels["monitor"].for_stubs())

    async def call(
        self, function: str, arguments: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, **named: Any
    ) -> Any:
        """Calls a function and returns its result.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name; for names that are taken here, as `timeout`.
            timeout: Seconds to wait at most; 60 where not given.
            named: More arguments.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        with self._span(f"call {function}"):
            return await self._caller.call(function, {**(arguments or {}), **named}, timeout)

    async def stream(
        self, function: str, arguments: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, **named: Any
    ) -> AsyncIterator[Any]:
        """Calls a streaming function and yields its items as they come. Arguments and errors are those of `call`."""
        with self._span(f"stream {function}"):
            async for item in self._caller.stream(function, {**(arguments or {}), **named}, timeout):
                yield item

    async def events(
        self, function: str, arguments: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, **named: Any
    ) -> AsyncIterator[Any]:
        """Calls a function and yields its `Progress` notes and items, or its result. Arguments and errors are those of `call`."""
        with self._span(f"stream {function}"):
            async for event in self._caller.events(function, {**(arguments or {}), **named}, timeout):
                yield event

    async def put_workflow(self, source: str | Workflow, *, allow_unregistered: bool = False) -> scheduler_pb2.Workflow:
        """Stores a workflow definition.

        Args:
            source: The definition: YAML, JSON, or what the builder made.
            allow_unregistered: Whether to accept functions that no agent has registered yet.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault and its line.
        """
        text = source if isinstance(source, str) else source.to_yaml()
        request = scheduler_pb2.PutWorkflowRequest(source=text, allow_unregistered=allow_unregistered)
        return (await patiently(lambda: self._scheduler.PutWorkflow(request))).workflow

    async def start(
        self,
        workflow: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: int = 0,
        request_id: str = "",
        labels: Mapping[str, str] | None = None,
        **named: Any,
    ) -> Run:
        """Starts a run of a workflow and returns it as soon as it is stored.

        Args:
            workflow: Its name.
            inputs: Its inputs by name; for names that are taken here.
            version: Its version; the newest where 0.
            request_id: Names this start: a second one with the same name returns the same run. Made up where not given.
            labels: Labels to find the run by.
            named: More inputs.

        Raises:
            ParadeError: NOT_FOUND (the workflow); INVALID_ARGUMENTS (the inputs).
        """
        request = scheduler_pb2.StartRunRequest(
            workflow=workflow,
            version=version,
            inputs=values.encode({**(inputs or {}), **named}, "inputs"),
            request_id=request_id or uuid.uuid4().hex,
            labels=labels,
        )
        with self._span(f"start {workflow}"):
            response = await patiently(lambda: self._scheduler.StartRun(request))
        return Run(self._scheduler, response.run.id)

    def run(self, run_id: str) -> Run:
        """Returns a handle of a run that there is."""
        return Run(self._scheduler, run_id)

    async def runs(self, *, workflow: str = "", states: Iterable[RunState] = (), limit: int = 100) -> list[scheduler_pb2.Run]:
        """Returns the newest runs, newest first.

        Args:
            workflow: Only those of this workflow.
            states: Only those in one of these states.
            limit: How many at most.
        """
        wanted = [scheduler_pb2.RunState.Value(f"RUN_STATE_{state.value}") for state in states]
        request = scheduler_pb2.ListRunsRequest(workflow=workflow, states=wanted, page_size=min(limit, PAGE_SIZE))
        return list((await patiently(lambda: self._scheduler.ListRuns(request))).runs)

    async def workflow(self, name: str, version: int = 0) -> scheduler_pb2.Workflow:
        """Returns one version of a workflow; the newest where 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = scheduler_pb2.GetWorkflowRequest(name=name, version=version)
        return (await patiently(lambda: self._scheduler.GetWorkflow(request))).workflow

    async def workflows(self) -> list[scheduler_pb2.Workflow]:
        """Returns the newest version of every workflow."""
        request = scheduler_pb2.ListWorkflowsRequest(page_size=PAGE_SIZE)
        return [workflow async for page in _pages(self._scheduler.ListWorkflows, request) for workflow in page.workflows]

    async def agent(self, name: str) -> agent_manager_pb2.Agent:
        """Returns one agent with its instances and functions.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = agent_manager_pb2.GetAgentRequest(name=name)
        return (await patiently(lambda: self._agent_manager.GetAgent(request))).agent

    async def agents(self) -> list[agent_manager_pb2.Agent]:
        """Returns every agent with its instances and functions."""
        request = agent_manager_pb2.ListAgentsRequest(page_size=PAGE_SIZE)
        return [agent async for page in _pages(self._agent_manager.ListAgents, request) for agent in page.agents]

    async def functions(self, agent: str = "") -> list[agent_manager_pb2.ListFunctionsResponse.Entry]:
        """Returns every function, or those of one agent."""
        request = agent_manager_pb2.ListFunctionsRequest(agent=agent, page_size=PAGE_SIZE)
        return [entry async for page in _pages(self._agent_manager.ListFunctions, request) for entry in page.functions]

    async def pause_agent(self, name: str) -> None:
        """Stops new calls to an agent; calls that run go on.

        Raises:
            ParadeError: NOT_FOUND.
        """
        await patiently(lambda: self._agent_manager.PauseAgent(agent_manager_pb2.PauseAgentRequest(name=name)))

    async def resume_agent(self, name: str) -> None:
        """Lets calls reach a paused agent again.

        Raises:
            ParadeError: NOT_FOUND.
        """
        await patiently(lambda: self._agent_manager.ResumeAgent(agent_manager_pb2.ResumeAgentRequest(name=name)))

    async def drain_instance(self, agent: str, instance_id: str) -> None:
        """Asks an instance to finish what it runs and leave; returns at once.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = agent_manager_pb2.DrainInstanceRequest(agent=agent, instance_id=instance_id)
        await patiently(lambda: self._agent_manager.DrainInstance(request))

    async def logs(self, log_filter: monitor_pb2.LogFilter | None = None, limit: int = 100) -> list[monitor_pb2.LogRecord]:
        """Returns the newest log records, newest first."""
        request = monitor_pb2.QueryLogsRequest(filter=log_filter, page_size=min(limit, PAGE_SIZE))
        return list((await patiently(lambda: self._monitor.QueryLogs(request))).records)

    async def tail_logs(self, log_filter: monitor_pb2.LogFilter | None = None, last: int = 10) -> AsyncIterator[monitor_pb2.LogRecord]:
        """Yields the newest log records, oldest first, then others as they arrive, without end."""
        async for response in self._monitor.TailLogs(monitor_pb2.TailLogsRequest(filter=log_filter, last=last)):
            yield response.record

    async def trace(self, trace_id: str) -> list[monitor_pb2.Span]:
        """Returns the spans of a trace, by start.

        Raises:
            ParadeError: NOT_FOUND: a trace is visible about two seconds after it happened.
        """
        return list((await patiently(lambda: self._monitor.GetTrace(monitor_pb2.GetTraceRequest(trace_id=trace_id)))).spans)

    def _span(self, name: str) -> Any:
        return self._telemetry.tracer.start_as_current_span(name, kind=SpanKind.CLIENT)


async def _pages(method: Any, request: Any) -> AsyncIterator[Any]:
    while True:
        page = await patiently(lambda: method(request))
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
