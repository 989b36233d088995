"""Calls over REST: one, many at once and streams, over a session with a dispatcher."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import (
    access_pb2,
    call_pb2,
    value_pb2,
)
from parade_chassis.policies import PolicyText
from parade_gateway import sse
from tests.integration.gateway_harness import TRACE, Edge, error_of, events, gateway_of
from tests.support.certificates import Authority
from tests.support.waiting import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def edge(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    async with gateway_of(authority, tmp_path, unused_tcp_port) as started:
        yield started


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
    assert call.origin == call_pb2.CallOrigin(namespace="sales", principal=f"key:{edge.key[7:17]}", role=access_pb2.ROLE_ADMIN)
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


async def test_a_large_result_stays_an_artifact_for_whom_a_policy_forbids_to_read_artifacts(edge: Edge) -> None:
    stored = (await edge.client.post("/v1/artifacts", content=b"[1]", headers={"content-type": "application/json"})).json()
    reference = value_pb2.ArtifactReference(digest=stored["digest"], size=3, media_type="application/json")
    edge.seen.results = {"a.large": value_pb2.Value(artifact=reference)}
    rule = 'forbid (principal is Parade::Key, action == Parade::Action::"read", resource);'
    before = await edge.client.post("/v1/functions/a.large:call", json={})
    edge.process.policies.put(PolicyText("sales", "rules", 1, rule))

    after = await edge.client.post("/v1/functions/a.large:call", json={})

    assert before.json()["result"] == [1]
    assert after.json()["result"] == {"artifact": {"digest": stored["digest"], "size": "3", "mediaType": "application/json"}}


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


@pytest.mark.parametrize(
    ("function", "status", "reason"),
    [("a.fail", 422, "AGENT_ERROR"), ("a.full", 429, "NO_CAPACITY"), ("a.wrong", 400, "INVALID_ARGUMENTS"), ("a.crash", 500, "INTERNAL")],
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


async def test_a_client_that_leaves_cancels_its_call(edge: Edge) -> None:
    async with asyncio.TaskGroup() as tasks:
        request = tasks.create_task(edge.client.post("/v1/functions/a.hang:call", json={}))
        await eventually(lambda: bool(edge.seen.calls))
        request.cancel()

    await eventually(lambda: edge.seen.cancelled == 1)


async def test_a_posted_stream_ends_with_the_result(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.echo:stream", json={"arguments": {"a": 1}})

    assigned, result = (json.loads(event["data"]) for event in events(response.text))
    assert assigned == {"assigned": {"callId": edge.seen.calls[0].options.call_id, "instanceId": "instance-1"}}
    assert result == {"result": {"a": 1}}


async def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(edge: Edge) -> None:
    response = await edge.client.post("/v1/functions/a.lost:stream", json={})

    last = events(response.text)[-1]
    assert response.status_code == 200
    assert last["event"] == "error"
    assert json.loads(last["data"])["error"]["details"][0]["reason"] == "AGENT_LOST"


async def test_requests_at_once_do_not_mix(edge: Edge) -> None:
    async def call(number: int) -> Any:
        response = await edge.client.post("/v1/functions/a.echo:call", json={"arguments": {"n": number}})
        return response.json()["result"]["n"]

    assert await asyncio.gather(*(call(number) for number in range(40))) == list(range(40))


async def test_a_trace_goes_on_through_a_call(edge: Edge) -> None:
    traced = await edge.client.post("/v1/functions/a.echo:call", json={}, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    await edge.client.post("/v1/functions/a.echo:call", json={}, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"})
    untraced = await edge.client.post("/v1/functions/a.echo:call", json={})

    recorded, unrecorded, none = (call.traceparent for call in edge.seen.calls)
    assert traced.headers["traceparent"] == recorded != f"00-{TRACE}-00f067aa0ba902b7-01"
    assert recorded.split("-")[1] == TRACE
    assert unrecorded == f"00-{TRACE}-00f067aa0ba902b7-00"
    assert none == ""
    assert "traceparent" not in untraced.headers


async def test_a_key_works_in_either_header_and_a_refusal_harms_no_other_request(edge: Edge) -> None:
    key = edge.client.headers.pop("authorization").removeprefix("Bearer ")
    shown = [{"x-api-key": key}, {}, {"authorization": f"bearer {key}"}, {"x-api-key": key, "connection": "close"}, {"x-api-key": key}]

    answers = [await edge.client.post("/v1/functions/a.echo:call", json={}, headers=headers) for headers in shown]

    assert [answer.status_code for answer in answers] == [200, 401, 200, 200, 200]
