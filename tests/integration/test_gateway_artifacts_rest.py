"""Artifacts over REST."""

import asyncio
import os
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import psutil
import pytest

from parade_chassis.policies import PolicyText
from tests.integration.gateway_harness import Edge, error_of, gateway_of
from tests.support.certificates import Authority
from tests.support.waiting import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def edge(authority: Authority, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Edge]:
    async with gateway_of(authority, tmp_path, unused_tcp_port) as started:
        yield started


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


async def test_policies_forbid_to_store_and_to_read(edge: Edge) -> None:
    stored = (await edge.client.post("/v1/artifacts", content=b"words")).json()
    rules = (
        '@id("write") forbid (principal is Parade::Key, action == Parade::Action::"write", resource);'
        '@id("read") forbid (principal is Parade::Key, action == Parade::Action::"read", resource);'
    )
    edge.process.policies.put(PolicyText("sales", "rules", 1, rules))

    put = await edge.client.post("/v1/artifacts", content=b"more words")
    got = await edge.client.get(f"/v1/artifacts/{stored['digest']}")

    assert (put.status_code, got.status_code) == (403, 403)
    assert "rules@1#write" in error_of(put)["message"]
    assert "rules@1#read" in error_of(got)["message"]
