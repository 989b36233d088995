"""The mesh as a client sees it: calls, workflows, runs, agents, logs."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from parade import values
from parade.artifact import BYTES, Artifact, Content
from parade.artifacts import Artifacts
from parade.audit_log import AuditLog
from parade.call_approvals import CallApprovals
from parade.call_options import CallOptions
from parade.calls import Caller, Progress
from parade.issued import Issued
from parade.outcome import Outcome
from parade.pages import PAGE_SIZE, first, pages
from parade.patience import patiently
from parade.permissions import Permissions
from parade.policies import Policies
from parade.runs import Runs
from parade.schedules import Schedules
from parade.started_call import CallState, StartedCall, start_request
from parade.v1 import agent_manager_pb2, call_pb2, dispatcher_pb2, monitor_pb2, scheduler_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.v1.dispatcher_pb2_grpc import DispatcherServiceStub
from parade.v1.key_pb2_grpc import KeyServiceStub
from parade.v1.monitor_pb2_grpc import MonitorServiceStub
from parade.v1.policy_pb2_grpc import PolicyServiceStub
from parade.v1.scheduler_pb2_grpc import SchedulerServiceStub
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.replicas import Replicas
from parade.wire.session.methods import SCHEDULER_SESSION
from parade.wire.session.requests import SessionReplicas
from parade.wire.telemetry import Collector, Telemetry
from parade.workflow_builder import Workflow

NEEDED = frozenset({"agent_manager", "dispatcher", "monitor", "scheduler"})
"""The services that a client cannot do without."""
BY_SESSION = frozenset({"PublishEvent", "StartRun"})
"""What is asked of the scheduler by the thousand, and answered with little."""


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
    services = {
        name: Replicas.at(addresses, certificates, Identity.service(name, found.domain).server_name, peer=name)
        for name, addresses in found.services.items()
    }
    with Telemetry("client", f"{os.uname().nodename}-{os.getpid()}", found.namespace, collector) as telemetry:
        artifacts = Artifacts(services.get("gateway"))
        try:
            async with (
                Caller.over(services["dispatcher"], artifacts, telemetry) as caller,
                SessionReplicas.over(services["scheduler"], SCHEDULER_SESSION, BY_SESSION) as scheduler,
            ):
                yield Mesh(found, services, scheduler, caller, artifacts, telemetry)
        finally:
            for replicas in services.values():
                await replicas.close()


class Mesh(Runs, Schedules, Permissions, Policies, Issued, CallApprovals):
    """A connection to a mesh. Lists come as the messages of `parade.v1`, whose comments say what they hold."""

    def __init__(
        self,
        file: MeshFile,
        services: Mapping[str, Replicas],
        scheduler: SessionReplicas,
        caller: Caller,
        artifacts: Artifacts,
        telemetry: Telemetry,
    ) -> None:
        """Takes the connections; see `connect`."""
        super().__init__(SchedulerServiceStub(scheduler.for_stubs()), telemetry)
        self.file = file
        self._services = services
        self._caller = caller
        self._artifacts = artifacts
        self._dispatcher = DispatcherServiceStub(services["dispatcher"].for_stubs())
        self._agent_manager = AgentManagerServiceStub(services["agent_manager"].for_stubs())
        self._permissions = KeyServiceStub(services["agent_manager"].for_stubs())
        self._policies = PolicyServiceStub(services["agent_manager"].for_stubs())
        self._monitor = MonitorServiceStub(services["monitor"].for_stubs())

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> Any:
        """Calls a function and returns its result. A task that is cancelled while it waits for the result cancels the call.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name; for names that are taken here, as `timeout`.
            timeout: Seconds to wait at most; 60 where not given.
            options: How the call is to be made: idempotency key, priority, affinity key, labels.
            named: More arguments.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        return await self._caller.call(function, {**arguments, **named} if arguments else named, timeout, options=options)

    async def outcome(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        progress: Callable[[Progress], object] | None = None,
        **named: Any,
    ) -> Outcome:
        """Calls a function and returns its result with the call's id, the instance that answered, and where the time went.

        Other arguments and errors are those of `call`; `progress` takes the function's progress notes as they come.
        """
        given = {**(arguments or {}), **named}
        return await self._caller.outcome(function, given, timeout, options=options, progress=progress)

    def stream(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> AsyncIterator[Any]:
        """Calls a streaming function and yields its items as they come. A reader that is slow holds the function back.

        A reader that leaves before the end cancels the call. Arguments and errors are those of `call`.
        """
        return self._caller.stream(function, {**(arguments or {}), **named}, timeout, options=options)

    def events(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> AsyncIterator[Any]:
        """Calls a function and yields its `Progress` notes and items, or its result. Arguments and errors are those of `call`."""
        return self._caller.events(function, {**(arguments or {}), **named}, timeout, options=options)

    async def start_call(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> StartedCall:
        """Starts a call that outlives this program and returns as soon as it is stored.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name; for names that are taken here, as `timeout`.
            timeout: Seconds that the call may take; as long as the function's own timeout where not given.
            options: How the call is to be made: idempotency key, priority, affinity key, labels.
            named: More arguments.

        Raises:
            ParadeError: UNKNOWN_FUNCTION; INVALID_ARGUMENTS.
        """
        data = values.dumps({**(arguments or {}), **named}, "arguments")
        request = start_request(function, await self._artifacts.shrink(data, "arguments"), timeout, options)
        with self._span(f"start {function}"):
            response = await patiently(lambda: self._dispatcher.StartCall(request))
        return self.started_call(response.call.id)

    def started_call(self, call_id: str) -> StartedCall:
        """Returns a handle of a call that was started, by whomever."""
        return StartedCall(self._dispatcher, self._artifacts, call_id)

    async def calls(self, *, function: str = "", states: Iterable[CallState] = (), limit: int = 100) -> list[call_pb2.Call]:
        """Returns the newest calls that were started, newest first.

        Args:
            function: Only those of this function, or of this agent where no function is named.
            states: Only those in one of these states.
            limit: How many at most.
        """
        wanted = [call_pb2.CallState.Value(f"CALL_STATE_{state.value}") for state in states]
        request = dispatcher_pb2.ListCallsRequest(function=function, states=wanted)
        return await first(self._dispatcher.ListCalls, request, "calls", limit)

    async def put_artifact(self, content: Content, *, media_type: str = BYTES) -> Artifact:
        """Stores up to 1 GiB of bytes under their hash, piece by piece, and returns what names them.

        Args:
            content: Bytes, the path of a file, or an asynchronous iterator of bytes.
            media_type: What the bytes are.

        Raises:
            ParadeError: INVALID_ARGUMENTS (more than 1 GiB); NO_CAPACITY (the gateway's disk is full).
            OSError: The file cannot be read.
        """
        return await self._artifacts.put(content, media_type)

    async def artifact(self, name: Any) -> Artifact:
        """Returns an artifact to be read from this mesh.

        Args:
            name: Its digest, or its JSON form, `{"artifact": {…}}`, as results hold it.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is neither; NOT_FOUND where no artifact has this digest.
        """
        return await self._artifacts.find(name) if isinstance(name, str) else self._artifacts.named(name)

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

    async def check_workflow(self, source: str | Workflow, *, allow_unregistered: bool = False) -> scheduler_pb2.CheckWorkflowResponse:
        """Returns every fault of a workflow definition with its line and, where it has none, its graph. Nothing is stored.

        Args:
            source: The definition: YAML, JSON, or what the builder made.
            allow_unregistered: Whether to accept functions that no agent has registered yet.
        """
        text = source if isinstance(source, str) else source.to_yaml()
        request = scheduler_pb2.CheckWorkflowRequest(source=text, allow_unregistered=allow_unregistered)
        return await patiently(lambda: self._scheduler.CheckWorkflow(request))

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
        return [workflow async for page in pages(self._scheduler.ListWorkflows, request) for workflow in page.workflows]

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
        return [agent async for page in pages(self._agent_manager.ListAgents, request) for agent in page.agents]

    async def functions(self, agent: str = "") -> list[agent_manager_pb2.ListFunctionsResponse.Entry]:
        """Returns every function, or those of one agent."""
        request = agent_manager_pb2.ListFunctionsRequest(agent=agent, page_size=PAGE_SIZE)
        return [entry async for page in pages(self._agent_manager.ListFunctions, request) for entry in page.functions]

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
        request = monitor_pb2.QueryLogsRequest(filter=log_filter)
        return await first(self._monitor.QueryLogs, request, "records", limit)

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


def audit_log(mesh: Mesh, service: str) -> AuditLog:
    """Returns the audit log of a service: `agent_manager`, `dispatcher`, `monitor` or `scheduler`."""
    # No method, for each of those has a blocking twin, and of the log's own there are none: the command line reads it.
    return AuditLog(service, mesh._services[service])  # noqa: SLF001  # its class stands above
