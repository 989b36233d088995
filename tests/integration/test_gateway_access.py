"""Who is let in at the gateway: keys and their roles, and what is under way when they are taken back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from parade.wire.roles import Role
from parade_chassis.api_key import new_key
from parade_gateway import api, authentication
from tests.integration.gateway_harness import Edge, error_of, gateway_of
from tests.support.certificates import Authority
from tests.support.waiting import eventually


@pytest.fixture
async def edge(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    async with gateway_of(Authority(tmp_path / "certificates"), tmp_path, unused_tcp_port) as started:
        yield started


def with_key(edge: Edge, role: Role) -> dict[str, str]:
    """Makes a key and returns the header that shows it."""
    key = new_key()
    edge.seen.keys[key] = role
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("verb", "path", "needed"),
    [
        ("GET", "/v1/agents", Role.VIEWER),
        ("POST", "/v1/functions/a.echo:call", Role.DEVELOPER),
        ("POST", "/v1/functions:batchCall", Role.DEVELOPER),
        ("POST", "/v1/artifacts", Role.DEVELOPER),
        ("GET", "/v1/artifacts/sha256:none", Role.VIEWER),
        ("POST", "/v1/agents/a:pause", Role.OPERATOR),
    ],
)
@pytest.mark.parametrize("role", Role)
async def test_a_key_reaches_what_its_role_allows(edge: Edge, verb: str, path: str, needed: Role, role: Role) -> None:
    response = await edge.client.request(verb, path, headers=with_key(edge, role), json={"x": 1} if verb == "POST" else None)

    if role >= needed:
        assert response.status_code not in (401, 403)
        return
    error = error_of(response)
    assert response.status_code == 403
    assert error["details"][0]["metadata"] == {"held": role.label, "retryable": "false", "role": needed.label}
    assert [*edge.seen.requests, *edge.seen.calls] == []


async def test_upstream_hears_for_whom_and_with_which_role(edge: Edge) -> None:
    headers = with_key(edge, Role.VIEWER)

    await edge.client.get("/v1/agents", headers=headers)

    seen = edge.seen.contexts[-1]
    assert (seen.namespace, seen.principal, seen.role) == ("sales", f"key:{headers['authorization'][14:24]}", Role.VIEWER)


@pytest.mark.parametrize("header", ["parade-role", "parade-principal", "parade-namespace"])
async def test_nobody_says_by_a_header_who_they_are(edge: Edge, header: str) -> None:
    headers = {**with_key(edge, Role.VIEWER), header: "admin", f"grpc-metadata-{header}": "admin"}

    read = await edge.client.get("/v1/agents", headers=headers)
    paused = await edge.client.post("/v1/agents/a:pause", headers=headers, json={})

    assert (read.status_code, paused.status_code) == (200, 403)
    seen = edge.seen.contexts[-1]
    assert (seen.namespace, seen.role) == ("sales", Role.VIEWER)
    assert seen.principal.startswith("key:")


async def test_many_requests_ask_once_whose_the_key_is(edge: Edge) -> None:
    headers = with_key(edge, Role.VIEWER)

    answers = await asyncio.gather(*(edge.client.get("/v1/agents", headers=headers) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert edge.seen.authenticated <= 2


@pytest.mark.parametrize("left", [None, Role.NONE])
async def test_what_is_under_way_ends_when_the_key_is_taken_back(edge: Edge, monkeypatch: pytest.MonkeyPatch, left: Role | None) -> None:
    monkeypatch.setattr(api, "REVOCATION_CHECK", 0.05)
    monkeypatch.setattr(authentication, "FRESH", 0.05)
    lost, kept = with_key(edge, Role.DEVELOPER), with_key(edge, Role.DEVELOPER)
    # The first look at the old interval is still ahead; streams end after it at the latest.
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(edge.client.post("/v1/functions/a.hang:call", headers=lost, json={}, timeout=25))
        watching = tasks.create_task(read_all(edge, lost))
        other = tasks.create_task(edge.client.post("/v1/functions/a.hang:call", headers=kept, json={}, timeout=25))
        await eventually(lambda: len(edge.seen.calls) == 2 and edge.seen.pulled > 0)

        key = lost["authorization"].removeprefix("Bearer ")
        if left is None:
            del edge.seen.keys[key]
        else:
            edge.seen.keys[key] = left
        refused = await calling
        await watching
        assert not other.done()
        other.cancel()

    assert refused.status_code == (401 if left is None else 403)
    await eventually(lambda: edge.seen.cancelled >= 2)


async def read_all(edge: Edge, headers: dict[str, str]) -> None:
    """Reads a stream until it breaks off."""
    async with edge.client.stream("GET", "/v1/agents:watch", headers=headers, timeout=25) as response:
        with pytest.raises(httpx.RemoteProtocolError):
            await drained(response)


async def drained(response: httpx.Response) -> None:
    async for _ in response.aiter_bytes():
        await asyncio.sleep(0.01)
