"""The gateway from outside: HTTP on one side, real servers over mutual TLS on the other.

One file, though a long one: all of it stands on the one pair of servers that it starts.
"""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from google.protobuf.message import Message

from parade.v1 import (
    agent_manager_pb2,
    agent_manager_pb2_grpc,
    call_pb2,
    dispatcher_pb2,
    dispatcher_pb2_grpc,
    scheduler_pb2,
    scheduler_pb2_grpc,
    session_pb2,
    value_pb2,
)
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.status import to_record
from parade_chassis.clock import ManualClock
from parade_chassis.config import ServiceConfig
from parade_chassis.context import RequestContext, current
from parade_chassis.lifecycle import Process
from parade_chassis.server import running
from parade_gateway import __main__ as gateway
from parade_gateway import sse
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


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers calls as functions would that are named after what they do."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.acceptor = Acceptor(self)

    async def Session(
        self, request_iterator: AsyncIterator[session_pb2.SessionFrame], context: Any
    ) -> AsyncIterator[session_pb2.SessionFrame]:
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

    async def ListRuns(self, request: scheduler_pb2.ListRunsRequest, context: Any) -> scheduler_pb2.ListRunsResponse:
        self.seen.note(request, context)
        return scheduler_pb2.ListRunsResponse()

    async def WaitRun(self, request: scheduler_pb2.WaitRunRequest, context: Any) -> scheduler_pb2.WaitRunResponse:
        self.seen.note(request, context)
        return scheduler_pb2.WaitRunResponse(run=scheduler_pb2.Run(id=request.run_id))

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
    url: str
    seen: Seen
    process: Process[Config]
    served: asyncio.Task[None]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@asynccontextmanager
async def gateway_of(authority: Authority, folder: Path, unused_port: int, *, absent: str = "", **settings: Any) -> AsyncIterator[Edge]:
    seen = Seen()
    servicers = {
        "agent_manager": Agents(seen),  # type: ignore[abstract]
        "dispatcher": Dispatcher(seen),  # type: ignore[abstract]
        "scheduler": Scheduler(seen),  # type: ignore[abstract]
    }
    async with AsyncExitStack() as stack:
        addresses = {}
        for service, servicer in servicers.items():
            upstream = await stack.enter_async_context(process_of(service, UpstreamConfig, authority))
            addresses[service] = (await stack.enter_async_context(running(upstream, servicer))).address
        if absent:
            addresses["dispatcher"] = f"{absent},{addresses['dispatcher']}"
        key_file = folder / "api-key"
        listen = f"127.0.0.1:{unused_port}"
        process = await stack.enter_async_context(
            process_of(
                "gateway",
                Config,
                authority,
                rest_listen=listen,
                api_key_file=key_file,
                namespace="sales",
                artifacts=folder / "artifacts",
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
        client.headers["authorization"] = f"Bearer {key_file.read_text().strip()}"
        try:
            yield Edge(client, url, seen, process, served)
        finally:
            process.stop()
            await served


@pytest.fixture
async def edge(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    async with gateway_of(authority, tmp_path, unused_tcp_port) as started:
        yield started


def events(text: str) -> list[dict[str, str]]:
    """Reads a stream of events; comments are left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert error["code"] == response.status_code
    return error


async def test_a_call_reaches_the_dispatcher_for_the_holder_of_the_key(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.echo:call", json={"arguments": {"rows": [1, {"é": None}]}})

    assert response.status_code == 200
    assert response.json()["result"] == {"rows": [1, {"é": None}]}
    call = edge.seen.calls[0]
    assert response.json() == {
        "result": {"rows": [1, {"é": None}]},
        "callId": call.options.call_id,
        "instanceId": "instance-1",
        "timing": {"queued": "0.001500s", "transport": "0.000020s", "executing": "3s"},
    }
    assert (call.function, call.arguments) == ("a.echo", value_pb2.Value(data='{"rows":[1,{"é":null}]}'.encode()))
    assert call.origin == call_pb2.CallOrigin(namespace="sales", principal="spiffe://parade.local/ns/sales/client/api-key")
    assert call.timeout == pytest.approx(65, abs=2)


async def test_what_a_call_says_of_itself_reaches_the_dispatcher(edge: Edge) -> None:
    body = {"timeout": "3.5s", "options": {"priority": 7, "labels": {"zone": "b"}, "callId": "call-0001"}, "function": "a.echo"}

    response = await edge.client.post("/v1/functions/a.echo:call", json={**body, "arguments": {"n": 10**30}})

    call = edge.seen.calls[0]
    assert response.json()["callId"] == "call-0001"
    assert response.json()["result"] == {"n": 10**30}
    assert call.options == call_pb2.CallOptions(priority=7, labels={"zone": "b"}, call_id="call-0001")
    assert call.timeout == pytest.approx(3.5, abs=0.5)


async def test_nobody_out_here_may_say_for_which_step_a_call_is_made(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.echo:call", json={"step": {"runId": "r", "step": "s"}})

    assert (response.status_code, error_of(response)["details"][0]["reason"]) == (403, "PERMISSION_DENIED")
    assert edge.seen.calls == []


async def test_started_calls_are_asked_for_by_their_own_rpcs(edge: Edge) -> None:
    response = await edge.client.get("/v1/calls/call-7")

    assert (response.json()["call"]["id"], response.json()["call"]["state"]) == ("call-7", "CALL_STATE_RUNNING")


async def test_a_started_call_is_named_so_that_nothing_starts_twice(edge: Edge) -> None:
    named = await edge.client.post("/v1/functions/a.echo:start", json={"options": {"callId": "call-0001"}})
    unnamed = await edge.client.post("/v1/functions/a.echo:start", json={"arguments": {"a": 1}})

    assert named.json()["call"]["id"] == "call-0001"
    assert len(unnamed.json()["call"]["id"]) == 32


async def test_another_dispatcher_is_asked_where_one_is_away(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway_of(authority, tmp_path, unused_tcp_port, absent="127.0.0.1:1") as edge:
        called = await asyncio.gather(*(edge.client.post("/v1/functions/a.echo:call", json={}) for _ in range(20)))
        asked = [await edge.client.get("/v1/calls/call-7") for _ in range(3)]

    assert {response.status_code for response in (*called, *asked)} == {200}


async def test_a_gateway_without_a_dispatcher_says_so(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway_of(authority, tmp_path, unused_tcp_port, dispatcher="") as edge:
        response = await edge.client.post("/v1/functions/a.echo:call", json={})

    assert (response.status_code, error_of(response)["status"]) == (503, "UNAVAILABLE")


async def test_a_large_result_stands_in_the_answer_although_it_travelled_as_an_artifact(edge: Edge) -> None:
    content = json.dumps({"rows": list(range(200_000))}).encode()
    stored = (await edge.client.post("/v1/artifacts", content=content, headers={"content-type": "application/json"})).json()
    reference = value_pb2.ArtifactReference(digest=stored["digest"], size=len(content), media_type="application/json")
    unknown = value_pb2.ArtifactReference(digest=f"sha256:{'0' * 64}", size=5, media_type="application/json")
    edge.seen.results = {"a.large": value_pb2.Value(artifact=reference), "a.gone": value_pb2.Value(artifact=unknown)}

    large = await edge.client.post("/v1/functions/a.large:call", json={})
    streamed = await edge.client.post("/v1/functions/a.large:stream", json={})
    gone = await edge.client.post("/v1/functions/a.gone:call", json={})

    assert large.json()["result"] == json.loads(content) == json.loads(events(streamed.text)[-1]["data"])["result"]
    assert gone.json()["result"] == {"artifact": {"digest": unknown.digest, "size": "5", "mediaType": "application/json"}}


async def test_a_batch_is_started_together_and_answered_in_order(edge: Edge) -> None:
    calls: list[dict[str, Any]] = [{"function": "a.echo", "arguments": {"n": number}} for number in range(1000)]
    calls[500] = {"function": "a.fail"}
    calls[501] = {"function": "a.echo", "arguments": {"text": "é"}, "timeout": "2s", "options": {"priority": -3}}

    response = await edge.client.post("/v1/functions:batchCall", json={"calls": calls})

    outcomes = response.json()["outcomes"]
    assert response.status_code == 200
    assert [outcome["response"]["result"]["n"] for outcome in outcomes[:500]] == list(range(500))
    assert outcomes[500]["error"]["reason"] == "ERROR_REASON_AGENT_ERROR"
    assert outcomes[500]["error"]["metadata"] == {"exception_type": "ValueError"}
    assert outcomes[501]["response"]["result"] == {"text": "é"}
    assert edge.seen.calls[501].options.priority == -3
    assert edge.seen.calls[501].timeout == pytest.approx(2, abs=0.5)
    assert len(outcomes) == 1000


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"calls"}),
        ([], {"body"}),
        ({"calls": []}, {"calls"}),
        ({"calls": [{"function": "a.echo"}] * 1001}, {"calls"}),
        ({"calls": {}}, {"calls"}),
        ({"calls": [{"function": "a.echo"}], "call": 1}, {"call"}),
        ({"calls": [{"function": "a.echo"}, 5, {"argument": 1, "timeout": "soon"}]}, {"calls[1]", "calls[2].argument", "calls[2].timeout"}),
    ],
)
async def test_faults_of_a_batch_are_named_together_and_nothing_is_called(edge: Edge, body: Any, fields: set[str]) -> None:
    response = await edge.client.post("/v1/functions:batchCall", json=body)

    assert response.status_code == 400
    assert {fault["field"] for fault in error_of(response)["details"][1]["fieldViolations"]} == fields
    assert edge.seen.calls == []


async def test_a_client_that_leaves_cancels_its_batch(edge: Edge) -> None:
    async with asyncio.TaskGroup() as tasks:
        body = {"calls": [{"function": "a.hang"}] * 20}
        request = tasks.create_task(edge.client.post("/v1/functions:batchCall", json=body))
        await eventually(lambda: len(edge.seen.calls) == 20)
        request.cancel()

    await eventually(lambda: edge.seen.cancelled == 20)


async def test_a_slow_reader_holds_a_function_back(edge: Edge) -> None:
    async with edge.client.stream("POST", "/v1/functions/a.items:stream", json={}) as response:
        await anext(response.aiter_raw())
        pulled = -1

        async def settled() -> bool:
            nonlocal pulled
            before, pulled = pulled, edge.seen.pulled
            await asyncio.sleep(0.2)
            return before == edge.seen.pulled

        await eventually(settled)

    assert 0 < edge.seen.pulled < 3000
    await eventually(lambda: edge.seen.cancelled == 1)


async def test_a_reader_that_leaves_cancels_a_call_that_says_nothing(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "GRACE", 0.05)
    async with edge.client.stream("POST", "/v1/functions/a.endless:stream", json={}) as response:
        await anext(response.aiter_text())
        await eventually(lambda: bool(edge.seen.calls))

    await eventually(lambda: edge.seen.cancelled == 1)


async def test_query_parameters_reach_the_scheduler(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs", params={"states": ["RUNNING", "RUN_STATE_FAILED"], "page_size": 5})

    assert response.json() == {"runs": [], "nextPageToken": ""}
    assert edge.seen.requests == [
        scheduler_pb2.ListRunsRequest(states=[scheduler_pb2.RUN_STATE_RUNNING, scheduler_pb2.RUN_STATE_FAILED], page_size=5)
    ]


async def test_a_post_without_a_body_is_an_empty_request(edge: Edge) -> None:
    response = await edge.client.post("/v1/agents/ghost:pause")

    assert response.status_code == 404
    assert error_of(response)["message"] == "no agent ghost"


@pytest.mark.parametrize(
    ("function", "status", "reason"),
    [("a.fail", 500, "AGENT_ERROR"), ("a.full", 429, "NO_CAPACITY"), ("a.wrong", 400, "INVALID_ARGUMENTS"), ("a.crash", 500, "INTERNAL")],
)
async def test_a_failure_keeps_its_reason(edge: Edge, function: str, status: int, reason: str) -> None:
    response = await edge.client.post(f"/v1/functions/{function}:call", json={})

    assert response.status_code == status
    assert error_of(response)["details"][0]["reason"] == reason
    assert "secret" not in response.text
    if reason == "NO_CAPACITY":
        assert response.headers["retry-after"] == "3"
    if reason == "INVALID_ARGUMENTS":
        assert error_of(response)["details"][1]["fieldViolations"][0]["field"] == "arguments.x"


async def test_faults_of_a_request_are_named_together_and_nothing_is_called(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.echo:call", json={"function": "a.other", "argument": 1, "timeout": "soon"})

    violations = error_of(response)["details"][1]["fieldViolations"]
    assert response.status_code == 400
    assert {violation["field"] for violation in violations} == {"function", "argument", "timeout"}
    assert edge.seen.calls == []


@pytest.mark.parametrize(
    "body", [b'"x"', b"[1]", b"{", b'{"arguments":{"a":NaN}}', b'{"arguments":1e999}', b'{"arguments":"\\ud800"}', b"\xff"]
)
async def test_a_body_that_cannot_be_read_is_refused(edge: Edge, body: bytes) -> None:
    response = await edge.client.post("/v1/functions/a.echo:call", content=body)

    assert (response.status_code, error_of(response)["details"][0]["reason"]) == (400, "INVALID_ARGUMENTS")
    assert edge.seen.calls == []


async def test_a_result_that_is_no_json_is_a_fault_of_the_mesh(edge: Edge) -> None:
    edge.seen.results = {"a.odd": value_pb2.Value(data=b"{")}

    response = await edge.client.post("/v1/functions/a.odd:call", json={})

    assert (response.status_code, error_of(response)["details"][0]["reason"]) == (500, "INTERNAL")


async def test_unknown_paths_and_wrong_methods_answer_in_the_same_shape(edge: Edge) -> None:
    unknown, wrong = await edge.client.get("/v1/nothing"), await edge.client.delete("/v1/agents")

    assert (unknown.status_code, error_of(unknown)["status"]) == (404, "NOT_FOUND")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")


async def test_a_body_above_the_limit_is_refused(edge: Edge) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 1024 * 1024

    declared = await edge.client.post("/v1/functions/a.echo:call", content=b" " * (8 * 1024 * 1024 + 1))
    chunked = await edge.client.post("/v1/functions/a.echo:call", content=chunks())

    assert (declared.status_code, chunked.status_code) == (413, 413)
    assert error_of(declared)["details"][0]["reason"] == "INVALID_ARGUMENTS"


async def test_without_the_key_nothing_is_called(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as stranger:
        missing = await stranger.get("/v1/agents")
        wrong = await stranger.get("/v1/agents", headers={"x-api-key": "pk_wrong"})

    assert (missing.status_code, wrong.status_code) == (401, 401)
    assert missing.headers["www-authenticate"].startswith("Bearer")
    assert error_of(wrong)["status"] == "UNAUTHENTICATED"
    assert edge.seen.requests == []


async def test_the_key_is_never_logged(edge: Edge, capfd: pytest.CaptureFixture[str]) -> None:
    key = edge.client.headers["authorization"].removeprefix("Bearer ")

    await edge.client.post("/v1/functions/a.crash:call", json={})

    assert key not in capfd.readouterr().err


async def test_a_foreign_host_or_origin_is_refused(edge: Edge) -> None:
    rebound = await edge.client.get("/v1/agents", headers={"host": "evil.example"})
    foreign = await edge.client.get("/v1/agents", headers={"origin": "https://evil.example"})

    assert (rebound.status_code, foreign.status_code) == (403, 403)
    assert "access-control-allow-origin" not in foreign.headers
    assert edge.seen.requests == []


async def test_a_trace_goes_on_through_the_gateway(edge: Edge) -> None:
    response = await edge.client.get("/v1/agents", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    assert response.headers["traceparent"].split("-")[1] == TRACE
    assert edge.seen.metadata[0]["traceparent"] == response.headers["traceparent"]


async def test_a_request_may_take_as_long_as_it_says(edge: Edge) -> None:
    await edge.client.get("/v1/runs/r:wait", params={"timeout": "100s"})
    await edge.client.get("/v1/runs/r:wait")
    await edge.client.get("/v1/agents")
    late = await edge.client.post("/v1/functions/a.hang:call", json={}, headers={"x-request-timeout": "100ms"})

    assert edge.seen.remaining[:3] == pytest.approx([105, 65, 30], abs=2)
    assert edge.seen.calls[0].timeout <= 0.1
    assert (late.status_code, error_of(late)["details"][0]["reason"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_client_that_leaves_cancels_its_call(edge: Edge) -> None:
    async with asyncio.TaskGroup() as tasks:
        request = tasks.create_task(edge.client.post("/v1/functions/a.hang:call", json={}))
        await eventually(lambda: bool(edge.seen.calls))
        request.cancel()

    await eventually(lambda: edge.seen.cancelled == 1)


async def test_a_stream_is_sent_as_numbered_events(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs/r:watch")

    assert response.headers["content-type"].startswith("text/event-stream")
    assert [(event["id"], event["event"]) for event in events(response.text)] == [("1", "message"), ("2", "message"), ("3", "message")]
    assert json.loads(events(response.text)[0]["data"])["event"]["sequence"] == "1"


async def test_a_broken_stream_goes_on_after_the_last_event(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs/r:watch?after_sequence=1", headers={"last-event-id": "2"})

    assert [event["id"] for event in events(response.text)] == ["3"]


async def test_a_stream_with_nothing_more_to_say_tells_the_browser_not_to_come_back(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs/r:watch", headers={"last-event-id": "3"})

    assert response.status_code == 204


async def test_a_posted_stream_ends_with_the_result(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.echo:stream", json={"arguments": {"a": 1}})

    assigned, result = (json.loads(event["data"]) for event in events(response.text))
    assert assigned == {"assigned": {"callId": edge.seen.calls[0].options.call_id, "instanceId": "instance-1"}}
    assert result == {"result": {"a": 1}}


async def test_a_stream_refused_at_once_answers_with_its_status(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs/unknown:watch")

    assert (response.status_code, error_of(response)["status"]) == (404, "NOT_FOUND")


async def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.lost:stream", json={})

    last = events(response.text)[-1]
    assert response.status_code == 200
    assert last["event"] == "error"
    assert json.loads(last["data"])["error"]["details"][0]["reason"] == "AGENT_LOST"


async def test_a_silent_stream_is_opened_and_kept_alive(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "GRACE", 0.05)
    monkeypatch.setattr(sse, "KEEPALIVE", 0.05)

    async with edge.client.stream("GET", "/v1/runs/endless:watch?after_sequence=3") as response, asyncio.timeout(5):
        first = await anext(response.aiter_text())

    assert first == ": keepalive\n\n"


async def test_a_reader_that_leaves_cancels_the_stream(edge: Edge) -> None:
    async with edge.client.stream("GET", "/v1/runs/endless:watch") as response:
        await anext(response.aiter_text())

    await eventually(lambda: edge.seen.cancelled == 1)


async def test_a_slow_reader_holds_the_stream_back(edge: Edge) -> None:
    async with edge.client.stream("GET", "/v1/agents:watch") as response:
        await anext(response.aiter_raw())
        pulled = -1

        async def settled() -> bool:
            nonlocal pulled
            before, pulled = pulled, edge.seen.pulled
            await asyncio.sleep(0.2)
            return before == edge.seen.pulled

        await eventually(settled)

    assert edge.seen.pulled < 1000
    await eventually(lambda: edge.seen.cancelled == 1)


async def test_streams_end_at_once_and_calls_may_finish_when_the_process_ends(edge: Edge) -> None:
    async with edge.client.stream("GET", "/v1/runs/endless:watch") as response, asyncio.timeout(3):
        lines = response.aiter_lines()
        await anext(lines)
        edge.process.stop()
        async for _ in lines:
            pass

    await asyncio.wait_for(asyncio.shield(edge.served), 5)
    assert edge.seen.cancelled == 1


async def test_an_upstream_that_is_nowhere_is_unavailable(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway_of(authority, tmp_path, unused_tcp_port) as edge:
        response = await edge.client.get("/v1/logs")

    assert (response.status_code, error_of(response)["status"]) == (503, "UNAVAILABLE")


async def test_the_pages_need_no_key_and_load_nothing_from_elsewhere(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as visitor:
        root = await visitor.get("/")
        page = await visitor.get("/docs")
        script = await visitor.get("/docs/swagger-ui-bundle.js")
        start = await visitor.get("/docs/start.js")
        document = await visitor.get("/openapi.json")
        elsewhere = await visitor.get("/docs/..%2f__init__.py")
        posted = await visitor.post("/docs")

    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    assert "http" not in page.text
    assert "unsafe" not in page.headers["content-security-policy"]
    assert (script.status_code, start.status_code) == (200, 200)
    assert document.json()["paths"]
    assert (elsewhere.status_code, posted.status_code) == (404, 405)


async def test_listed_origins_may_call_and_ask_first(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    origin = "https://console.example.com"
    async with gateway_of(authority, tmp_path, unused_tcp_port, cors_origins=(origin,)) as edge:
        asked = await edge.client.options(
            "/v1/agents",
            headers={"origin": origin, "access-control-request-method": "GET", "access-control-request-headers": "authorization"},
        )
        called = await edge.client.get("/v1/agents", headers={"origin": origin, "sec-fetch-site": "cross-site"})
        refused = await edge.client.get("/v1/agents", headers={"origin": "https://evil.example"})

    assert asked.status_code == 200
    assert called.status_code == 200
    assert called.headers["access-control-allow-origin"] == origin
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


async def test_off_loopback_rest_is_served_over_tls_with_the_newest_certificate(
    authority: Authority, tmp_path: Path, unused_tcp_port: int
) -> None:
    identity = Identity.service("gateway")
    trust = ssl.create_default_context(cadata=authority.trust_bundle.decode())
    clock = ManualClock()

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", unused_tcp_port)) == 0

    async def shown() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port, ssl=trust, server_hostname=identity.server_name)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        serial = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return str(serial)

    async with process_of(
        "gateway", Config, authority, rest_listen=f"0.0.0.0:{unused_tcp_port}", api_key_file=tmp_path / "api-key"
    ) as process:
        process.clock = clock
        served = asyncio.create_task(gateway.serve(process))
        await eventually(lambda: served.done() or listening())
        first = await shown()
        authority.files(identity)
        await clock.advance(60)
        second = await shown()
        process.stop()
        await served

    assert first != second


async def test_artifacts_are_stored_and_fetched(edge: Edge) -> None:
    content = bytes(range(256)) * 4096

    stored = await edge.client.post("/v1/artifacts", content=content, headers={"content-type": "text/html; charset=utf-8"})
    fetched = await edge.client.get(f"/v1/artifacts/{stored.json()['digest']}")

    assert stored.json() == {
        "digest": f"sha256:{sha256(content).hexdigest()}",
        "size": str(len(content)),
        "mediaType": "text/html; charset=utf-8",
    }
    assert (fetched.status_code, fetched.content) == (200, content)
    assert fetched.headers["content-type"] == "text/html; charset=utf-8"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in fetched.headers["content-security-policy"]


async def test_memory_stays_flat_while_a_large_artifact_comes_and_goes(edge: Edge) -> None:
    process, block, highest = psutil.Process(), os.urandom(1024 * 1024), 0

    def measure() -> None:
        nonlocal highest
        highest = max(highest, process.memory_info().rss)

    async def content(mebibytes: int) -> AsyncIterator[bytes]:
        for number in range(mebibytes):
            measure()
            yield number.to_bytes(4) + block[4:]

    await edge.client.post("/v1/artifacts", content=content(16))
    before = process.memory_info().rss
    stored = (await edge.client.post("/v1/artifacts", content=content(256))).json()
    fetched = 0
    async with edge.client.stream("GET", f"/v1/artifacts/{stored['digest']}") as response:
        async for piece in response.aiter_raw():
            fetched += len(piece)
            measure()

    assert int(stored["size"]) == fetched == 256 * 1024 * 1024
    assert highest - before < 48 * 1024 * 1024


async def test_what_is_wrong_with_an_artifact_is_said_as_everything_else_is(edge: Edge) -> None:
    other = f"sha256:{'0' * 64}"

    wrong = await edge.client.post(f"/v1/artifacts?digest={other}", content=b"x")
    misspelt = await edge.client.post(f"/v1/artifacts?digests={other}", content=b"x")
    missing = await edge.client.get(f"/v1/artifacts/{other}")
    traversing = await edge.client.get("/v1/artifacts/..%2f..%2fapi-key")
    put = await edge.client.put("/v1/artifacts", content=b"x")
    async with httpx.AsyncClient(base_url=edge.url) as stranger:
        unknown = await stranger.post("/v1/artifacts", content=b"x")

    assert error_of(wrong)["details"][1]["fieldViolations"][0]["field"] == "artifact.digest"
    assert error_of(misspelt)["details"][1]["fieldViolations"][0]["field"] == "digests"
    assert [response.status_code for response in (wrong, misspelt, missing, traversing, put, unknown)] == [400, 400, 404, 400, 405, 401]
    assert put.headers["allow"] == "POST"


async def test_an_artifact_above_the_limit_is_refused(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500_000

    async with gateway_of(authority, tmp_path, unused_tcp_port, artifact_limit=1_000_000) as edge:
        declared = await edge.client.post("/v1/artifacts", content=b"x" * 1_000_001)
        chunked = await edge.client.post("/v1/artifacts", content=chunks())

        assert (declared.status_code, chunked.status_code) == (413, 413)
        await eventually(lambda: list((tmp_path / "artifacts" / "_uploads").iterdir()) == [])


async def test_an_upload_whose_client_leaves_leaves_nothing(edge: Edge, tmp_path: Path) -> None:
    uploads = tmp_path / "artifacts" / "_uploads"

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        request = tasks.create_task(edge.client.post("/v1/artifacts", content=endless()))
        await eventually(lambda: any(path.stat().st_size for path in uploads.iterdir()))
        request.cancel()

    await eventually(lambda: list(uploads.iterdir()) == [])


async def test_requests_at_once_do_not_mix(edge: Edge) -> None:
    async def call(number: int) -> Any:
        response = await edge.client.post("/v1/functions/a.echo:call", json={"arguments": {"n": number}})
        return response.json()["result"]["n"]

    assert await asyncio.gather(*(call(number) for number in range(40))) == list(range(40))
