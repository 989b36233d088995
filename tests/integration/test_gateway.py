"""The gateway from outside: HTTP on one side, real servers over mutual TLS on the other."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from parade.v1 import approval_pb2, scheduler_pb2
from parade.v1.value_pb2 import Value
from parade.wire.identity import Identity
from parade_chassis.clock import ManualClock
from parade_gateway import __main__ as gateway
from parade_gateway import connection, sse
from parade_gateway.config import Config
from parade_gateway.quotas import GatewayLimits
from tests.integration.gateway_harness import TRACE, Edge, error_of, events, gateway_of
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def edge(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    async with gateway_of(authority, tmp_path, unused_tcp_port) as started:
        yield started


async def test_query_parameters_reach_the_scheduler(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs", params={"states": ["RUNNING", "RUN_STATE_FAILED"], "page_size": 5})

    assert response.json() == {"runs": [], "nextPageToken": ""}
    assert edge.seen.requests == [
        scheduler_pb2.ListRunsRequest(states=[scheduler_pb2.RUN_STATE_RUNNING, scheduler_pb2.RUN_STATE_FAILED], page_size=5)
    ]


async def test_a_signal_and_an_approval_are_plain_json(edge: Edge) -> None:
    signalled = await edge.client.post("/v1/runs/run-1:signal", json={"name": "go", "value": {"n": 1}, "requestId": "once"})
    listed = await edge.client.get("/v1/approvals", params={"mine": "true", "states": ["PENDING"]})
    resolved = await edge.client.post("/v1/runs/run-1/approvals/pay:resolve", json={"approved": True, "note": "fine"})

    assert signalled.json()["run"]["id"] == "run-1"
    assert [(one["step"], one["state"]) for one in listed.json()["approvals"]] == [("pay", "APPROVAL_STATE_PENDING")]
    assert resolved.status_code == 403
    value = Value(data=b'{"n":1}')
    assert edge.seen.requests == [
        scheduler_pb2.SignalRunRequest(run_id="run-1", name="go", value=value, request_id="once"),
        scheduler_pb2.ListApprovalsRequest(mine=True, states=[approval_pb2.APPROVAL_STATE_PENDING]),
        scheduler_pb2.ResolveApprovalRequest(run_id="run-1", step="pay", approved=True, note="fine"),
    ]


async def test_a_definition_with_faults_is_an_ordinary_answer(edge: Edge) -> None:
    response = await edge.client.post("/v1/workflows:check", json={"source": "name: a", "allowUnregistered": True})

    assert response.status_code == 200
    assert response.json() == {
        "faults": [{"field": "steps.a.cal", "line": 3, "description": "there is no word `cal` here", "hint": "did you mean `call`?"}],
        "faultCount": 1,
    }
    assert edge.seen.requests == [scheduler_pb2.CheckWorkflowRequest(source="name: a", allow_unregistered=True)]


async def test_a_post_without_a_body_is_an_empty_request(edge: Edge) -> None:
    response = await edge.client.post("/v1/agents/ghost:pause")

    assert response.status_code == 404
    assert error_of(response)["message"] == "no agent ghost"


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


async def test_without_the_key_nobody_learns_which_routes_there_are(edge: Edge) -> None:
    async with httpx.AsyncClient(base_url=edge.url) as stranger:
        statuses = [(await stranger.request(verb, path)).status_code for verb, path in (("GET", "/v1/nothing"), ("DELETE", "/v1/agents"))]

    assert statuses == [401, 401]


@pytest.mark.parametrize("said", [b"", b"GET /v1/agents HTTP/1.1\r\nHost:", b"\r\n"])
async def test_who_does_not_say_what_they_want_is_not_waited_for(edge: Edge, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)
    reader, writer = await _connected(edge)

    writer.write(said)

    async with asyncio.timeout(10):  # which is less than a connection is kept for its next request
        while await reader.read(65536):
            pass
    writer.close()


async def test_who_says_nothing_of_a_next_request_is_not_waited_for_either(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.1)
    reader, writer = await _connected(edge)
    writer.write(b"GET /v1/agents HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.read(65536)

    writer.write(b"\r\n")

    async with asyncio.timeout(10):
        assert await reader.read(65536) == b""
    assert answer.startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_head_without_end_is_refused(edge: Edge) -> None:
    reader, writer = await _connected(edge)

    answering = asyncio.create_task(reader.read(65536))
    writer.write(b"GET /v1/agents HTTP/1.1\r\n")
    async with asyncio.timeout(10):
        while not answering.done():
            writer.write(b"x: " + b"v" * 1000 + b"\r\n")
            await asyncio.sleep(0)
        answer = await answering

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert (await edge.client.get("/v1/agents")).status_code == 200
    writer.close()


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


async def test_a_stream_refused_at_once_answers_with_its_status(edge: Edge) -> None:
    response = await edge.client.get("/v1/runs/unknown:watch")

    assert (response.status_code, error_of(response)["status"]) == (404, "NOT_FOUND")


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
    await eventually(lambda: edge.seen.cancelled == 1)  # the news of it travels for a moment


async def test_a_namespace_has_so_many_requests_under_way(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> None:
    async with gateway_of(authority, tmp_path, unused_tcp_port, quotas={"*": GatewayLimits(requests=1)}) as edge:
        async with edge.client.stream("GET", "/v1/runs/endless:watch") as response, asyncio.timeout(5):
            await anext(response.aiter_lines())
            refused = await edge.client.get("/v1/runs")

        async def let_in() -> bool:
            return (await edge.client.get("/v1/runs")).status_code == 200

        await eventually(let_in)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert error_of(refused)["status"] == "RESOURCE_EXHAUSTED"


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
    assert (elsewhere.status_code, posted.status_code) == (401, 405)  # what is no page is the API's


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

    async with process_of("gateway", Config, authority, rest_listen=f"0.0.0.0:{unused_tcp_port}") as process:
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


async def _connected(edge: Edge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(edge.url)
    return await asyncio.open_connection(url.hostname, url.port)
