"""A running gateway between HTTP on one side and real servers over mutual TLS on the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from google.protobuf.message import Message

from parade.v1 import (
    agent_manager_pb2,
    agent_manager_pb2_grpc,
    approval_pb2,
    call_pb2,
    dispatcher_pb2,
    dispatcher_pb2_grpc,
    key_pb2,
    key_pb2_grpc,
    scheduler_pb2,
    scheduler_pb2_grpc,
    session_pb2,
    value_pb2,
)
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.role_numbers import number_of
from parade.wire.roles import Role
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.status import to_record
from parade_chassis.api_key import KeyMark, mark_of, new_key
from parade_chassis.config import ServiceConfig
from parade_chassis.context import RequestContext, current
from parade_chassis.grants import Grants
from parade_chassis.lifecycle import Process
from parade_chassis.server import running
from parade_gateway import __main__ as gateway
from parade_gateway.config import Config
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class UpstreamConfig(ServiceConfig):
    """What an upstream server of these tests is told."""


@dataclass
class Seen:
    """What reached the servers."""

    requests: list[Message] = field(default_factory=list)
    calls: list[session_pb2.SessionCall] = field(default_factory=list)
    results: dict[str, value_pb2.Value] = field(default_factory=dict)
    """What functions return that do not return their arguments."""
    contexts: list[RequestContext] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    remaining: list[float] = field(default_factory=list)
    """Seconds of the deadline that were left."""
    keys: dict[str, Role] = field(default_factory=dict)
    """The API keys that there are."""
    authenticated: int = 0
    """How often it was asked whose a key is."""
    pulled: int = 0
    cancelled: int = 0

    def note(self, request: Message, context: Any) -> None:
        self.requests.append(request)
        self.contexts.append(current())
        self.metadata.append(dict(context.invocation_metadata()))
        self.remaining.append(context.time_remaining() or 0.0)


class Agents(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def ListAgents(self, request: agent_manager_pb2.ListAgentsRequest, context: Any) -> agent_manager_pb2.ListAgentsResponse:
        self.seen.note(request, context)
        return agent_manager_pb2.ListAgentsResponse(agents=[agent_manager_pb2.Agent(name="analyst")])

    async def PauseAgent(self, request: agent_manager_pb2.PauseAgentRequest, context: Any) -> agent_manager_pb2.PauseAgentResponse:
        self.seen.note(request, context)
        raise ParadeError(Reason.NOT_FOUND, f"no agent {request.name}")

    async def WatchAgents(
        self, request: agent_manager_pb2.WatchAgentsRequest, context: Any
    ) -> AsyncIterator[agent_manager_pb2.WatchAgentsResponse]:
        self.seen.note(request, context)
        try:
            yield agent_manager_pb2.WatchAgentsResponse(agent=agent_manager_pb2.Agent(name="x" * 100_000))
            while True:
                self.seen.pulled += 1
                yield agent_manager_pb2.WatchAgentsResponse(agent=agent_manager_pb2.Agent(name="x" * 100_000))
        finally:
            self.seen.cancelled += 1


class KeyService(key_pb2_grpc.KeyServiceServicer):
    """Knows the keys that a test has made."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def AuthenticateKey(self, request: key_pb2.AuthenticateKeyRequest, context: Any) -> key_pb2.AuthenticateKeyResponse:
        self.seen.authenticated += 1
        for key, role in self.seen.keys.items():
            if mark_of(key) == KeyMark(request.id, request.digest):
                response = key_pb2.AuthenticateKeyResponse(subject=f"key:{request.id}", namespace="sales", role=number_of(role))
                response.expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
                return response
        raise ParadeError(Reason.UNAUTHENTICATED, "not known")


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers calls as functions would that are named after what they do."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.acceptor = Acceptor(self)

    async def Session(self, request_iterator: AsyncIterator[session_pb2.SessionFrame], context: Any) -> AsyncIterator[Any]:
        async for frame in self.acceptor.serve(request_iterator, current().caller, lambda: None):
            yield frame

    async def StartCall(self, request: dispatcher_pb2.StartCallRequest, context: Any) -> dispatcher_pb2.StartCallResponse:
        self.seen.note(request, context)
        return dispatcher_pb2.StartCallResponse(call=call_pb2.Call(id=request.options.call_id))

    async def GetCall(self, request: dispatcher_pb2.GetCallRequest, context: Any) -> dispatcher_pb2.GetCallResponse:
        self.seen.note(request, context)
        return dispatcher_pb2.GetCallResponse(call=call_pb2.Call(id=request.call_id, state=call_pb2.CALL_STATE_RUNNING))

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.seen.calls.append(call)
        exchange.cancelled = lambda gone: self.cancel(exchange)
        function = call.function.removeprefix("a.")
        failures = {
            "fail": ParadeError(Reason.AGENT_ERROR, "it raised", metadata={"exception_type": "ValueError"}),
            "full": ParadeError(Reason.NO_CAPACITY, "all are busy", metadata={"retry_after": "2.5s"}),
            "wrong": invalid([Violation("arguments.x", "is missing")]),
            "lost": ParadeError(Reason.AGENT_LOST, "the instance went away"),
        }
        if call.window:
            exchange.tell(session_pb2.SessionEvent(instance_id="instance-1"))
        if function in failures:
            exchange.answer(session_pb2.SessionResult(error=to_record(failures[function])))
        elif function == "crash":
            raise RuntimeError("secret")
        elif function == "items":
            exchange.credited = lambda: self.give(exchange)
            self.give(exchange)
        elif function not in ("hang", "endless"):
            exchange.answer(self.result(call))

    def give(self, exchange: Exchange) -> None:
        while exchange.window > 0:
            self.seen.pulled += 1
            exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=b'"%s"' % (b"x" * 10_000))))

    def cancel(self, exchange: Exchange) -> None:
        self.seen.cancelled += 1
        exchange.answer(session_pb2.SessionResult(error=to_record(ParadeError(Reason.CANCELLED, "cancelled"))))

    def result(self, call: session_pb2.SessionCall) -> session_pb2.SessionResult:
        value = self.seen.results.get(call.function, call.arguments)
        return session_pb2.SessionResult(result=value, instance_id="instance-1", queued_us=1500, transport_us=20, executing_us=3_000_000)


class Scheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def CheckWorkflow(self, request: scheduler_pb2.CheckWorkflowRequest, context: Any) -> scheduler_pb2.CheckWorkflowResponse:
        self.seen.note(request, context)
        fault = scheduler_pb2.WorkflowFault(
            field="steps.a.cal", line=3, description="there is no word `cal` here", hint="did you mean `call`?"
        )
        return scheduler_pb2.CheckWorkflowResponse(faults=[fault], fault_count=1)

    async def ListRuns(self, request: scheduler_pb2.ListRunsRequest, context: Any) -> scheduler_pb2.ListRunsResponse:
        self.seen.note(request, context)
        return scheduler_pb2.ListRunsResponse()

    async def WaitRun(self, request: scheduler_pb2.WaitRunRequest, context: Any) -> scheduler_pb2.WaitRunResponse:
        self.seen.note(request, context)
        return scheduler_pb2.WaitRunResponse(run=scheduler_pb2.Run(id=request.run_id))

    async def SignalRun(self, request: scheduler_pb2.SignalRunRequest, context: Any) -> scheduler_pb2.SignalRunResponse:
        self.seen.note(request, context)
        return scheduler_pb2.SignalRunResponse(run=scheduler_pb2.Run(id=request.run_id))

    async def ListApprovals(self, request: scheduler_pb2.ListApprovalsRequest, context: Any) -> scheduler_pb2.ListApprovalsResponse:
        self.seen.note(request, context)
        waiting = approval_pb2.Approval(run_id="run-1", step="pay", state=approval_pb2.APPROVAL_STATE_PENDING)
        return scheduler_pb2.ListApprovalsResponse(approvals=[waiting])

    async def ResolveApproval(self, request: scheduler_pb2.ResolveApprovalRequest, context: Any) -> scheduler_pb2.ResolveApprovalResponse:
        self.seen.note(request, context)
        raise ParadeError(Reason.PERMISSION_DENIED, "you are none of the approvers")

    async def WatchRun(self, request: scheduler_pb2.WatchRunRequest, context: Any) -> AsyncIterator[scheduler_pb2.WatchRunResponse]:
        self.seen.note(request, context)
        if request.run_id == "unknown":
            raise ParadeError(Reason.NOT_FOUND, "no run unknown")
        for sequence in range(request.after_sequence + 1, 4):
            yield scheduler_pb2.WatchRunResponse(event=scheduler_pb2.RunEvent(sequence=sequence))
        if request.run_id == "endless":
            try:
                await asyncio.Event().wait()
            finally:
                self.seen.cancelled += 1


@dataclass
class Edge:
    """A running gateway and what stands behind it."""

    client: httpx.AsyncClient
    """A client with the key."""
    key: str
    """The API key of an admin."""
    url: str
    seen: Seen
    process: Process[Config]
    served: asyncio.Task[None]


@asynccontextmanager
async def gateway_of(
    authority: Authority, folder: Path, unused_port: int, *, absent: str = "", grants: Grants | None = None, **settings: Any
) -> AsyncIterator[Edge]:
    seen, key = Seen(), new_key()
    seen.keys[key] = Role.ADMIN
    servicers: dict[str, list[object]] = {
        "agent_manager": [Agents(seen), KeyService(seen)],  # type: ignore[abstract]
        "dispatcher": [Dispatcher(seen)],  # type: ignore[abstract]
        "scheduler": [Scheduler(seen)],  # type: ignore[abstract]
    }
    async with AsyncExitStack() as stack:
        addresses = {}
        for service, served_there in servicers.items():
            upstream = await stack.enter_async_context(process_of(service, UpstreamConfig, authority))
            addresses[service] = (await stack.enter_async_context(running(upstream, *served_there))).address
        if absent:
            addresses["dispatcher"] = f"{absent},{addresses['dispatcher']}"
        listen = f"127.0.0.1:{unused_port}"
        process = await stack.enter_async_context(
            process_of(
                "gateway",
                Config,
                authority,
                rest_listen=listen,
                artifacts=folder / "artifacts",
                grants=grants,
                **{**addresses, **settings},
            )
        )
        served = asyncio.create_task(gateway.serve(process))
        url = f"http://{listen}"
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=10))

        async def healthy() -> bool:
            try:
                return (await client.get("/healthz")).status_code == 200
            except httpx.ConnectError:
                return False

        await eventually(lambda: served.done() or healthy())
        client.headers["authorization"] = f"Bearer {key}"
        try:
            yield Edge(client, key, url, seen, process, served)
        finally:
            process.stop()
            await served


def events(text: str) -> list[dict[str, str]]:
    """Reads a stream of events; comments are left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == response.status_code
    return error
