"""Artifacts over gRPC and mutual TLS, as agents and clients store and fetch them."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from parade.v1 import gateway_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_chassis.clock import ManualClock
from parade_chassis.policies import PolicyText
from parade_gateway.artifact_rights import LENGTH
from parade_gateway.quotas import GatewayLimits
from tests.integration.artifact_harness import DAY, PIECE, Store, announced, data, digest_of, get, put, requests, store_of
from tests.support.certificates import Authority
from tests.support.waiting import eventually


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
async def store(authority: Authority, tmp_path: Path) -> AsyncIterator[Store]:
    async with store_of(authority, tmp_path) as started:
        yield started


async def test_what_is_stored_comes_back_in_pieces(store: Store) -> None:
    client, content = await store.client(), os.urandom(3 * PIECE + 17)

    stored = await put(client, content, digest=digest_of(content), size=len(content), media_type="text/csv")
    reference, fetched, sizes = await get(client, stored.digest)

    assert stored == value_pb2.ArtifactReference(digest=digest_of(content), size=len(content), media_type="text/csv") == reference
    assert fetched == content
    assert max(sizes) <= PIECE


async def test_nothing_need_be_said_of_an_artifact_and_it_may_be_empty(store: Store) -> None:
    client = await store.client()

    stored = await put(client, b"")

    assert stored == value_pb2.ArtifactReference(digest=digest_of(b""), size=0, media_type="application/octet-stream")
    assert await get(client, stored.digest) == (stored, b"", [0])


async def test_fetching_goes_on_where_it_broke(store: Store) -> None:
    client, content = await store.client(), os.urandom(PIECE + 10)
    stored = await put(client, content)

    assert (await get(client, stored.digest, PIECE))[1] == content[PIECE:]
    assert (await get(client, stored.digest, len(content)))[1] == b""
    with pytest.raises(ParadeError) as caught:
        await get(client, stored.digest, len(content) + 1)
    assert caught.value.violations[0].field == "offset"


async def test_the_same_bytes_are_stored_once_and_need_not_come_again(store: Store) -> None:
    client, content = await store.client(), b"x" * PIECE
    first = await put(client, content, media_type="text/plain")

    again = await put(client, content, media_type="text/plain")
    unsent = (await client.PutArtifact(requests(announced(digest=first.digest, size=len(content))))).artifact

    assert first == again == unsent
    assert len(store.kept) == 1


async def test_namespaces_never_see_each_others_artifacts(store: Store) -> None:
    content = b"secret"
    stored = await put(await store.client("sales"), content)
    other = await store.client("support")

    with pytest.raises(ParadeError) as unknown:
        await get(other, stored.digest)
    with pytest.raises(ParadeError) as unsent:
        await other.PutArtifact(requests(announced(digest=stored.digest, size=len(content))))

    assert unknown.value.reason is Reason.NOT_FOUND
    assert unsent.value.reason is Reason.INVALID_ARGUMENTS
    assert len(store.kept) == 1


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "../../../api-key", "sha256:../../api-key", f"sha256:{'A' * 64}", f"md5:{'a' * 64}", f"sha256:{'a' * 64}\n"]
)
async def test_only_a_digest_names_an_artifact(store: Store, digest: str) -> None:
    with pytest.raises(ParadeError) as caught:
        await get(await store.client(), digest)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"digest": digest_of(b"other")}, "artifact.digest"),
        ({"size": 7}, "artifact.size"),
        ({"size": 5}, "artifact.size"),
        ({"digest": "../x"}, "digest"),
        ({"media_type": "text/html\r\nset-cookie: a"}, "artifact.media_type"),
    ],
)
async def test_what_is_said_of_an_artifact_is_checked_and_nothing_is_left(store: Store, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ParadeError) as caught:
        await put(await store.client(), b"content"[:6], **fields)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert caught.value.violations[0].field == field
    await eventually(lambda: store.files() == [])


@pytest.mark.parametrize("said", [{}, {"size": 2001}])
async def test_more_than_the_limit_is_refused_and_nothing_is_left(authority: Authority, tmp_path: Path, said: dict[str, int]) -> None:
    async with store_of(authority, tmp_path, limit=2000) as store:
        with pytest.raises(ParadeError) as caught:
            await put(await store.client(), b"x" * 2001, **said)

        assert caught.value.reason is Reason.INVALID_ARGUMENTS
        await eventually(lambda: store.files() == [])


async def refused(storing: Awaitable[Any]) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await storing
    return caught.value


async def test_a_namespace_stores_so_many_bytes_and_another_its_own(authority: Authority, tmp_path: Path) -> None:
    async with store_of(authority, tmp_path, quotas={"sales": GatewayLimits(artifact_bytes=2 * PIECE)}) as store:
        sales, support = await store.client("sales"), await store.client("support")
        first = await put(sales, b"a" * PIECE)

        announced = await refused(put(sales, b"b" * (PIECE + 1), size=PIECE + 1))
        unannounced = await refused(put(sales, b"b" * (2 * PIECE)))
        await put(support, b"b" * (3 * PIECE))
        await put(sales, b"b" * PIECE)  # nothing is left of what was refused
        full = await refused(put(sales, b"c"))
        again = await put(sales, b"a" * PIECE, digest=first.digest)

    assert {error.reason for error in (announced, unannounced, full)} == {Reason.NO_CAPACITY}
    assert full.metadata["quota"] == "artifact_bytes"
    assert "PARADE_GATEWAY_QUOTAS" in full.message
    assert again == first


async def test_a_namespace_stores_so_many_artifacts(authority: Authority, tmp_path: Path) -> None:
    async with store_of(authority, tmp_path, quotas={"*": GatewayLimits(artifacts=2)}) as store:
        client = await store.client()
        for content in (b"a", b"b"):
            await put(client, content)

        error = await refused(put(client, b"c"))

    assert (error.reason, error.metadata["quota"], error.retryable) == (Reason.NO_CAPACITY, "artifacts", False)


async def test_messages_out_of_order_are_refused(store: Store) -> None:
    client = await store.client()

    for messages in ([], [data(b"x")], [announced(), data(b"x"), announced()]):
        with pytest.raises(ParadeError) as caught:
            await client.PutArtifact(requests(*messages))
        assert caught.value.reason is Reason.INVALID_ARGUMENTS

    await eventually(lambda: store.files() == [])


async def test_an_upload_that_breaks_leaves_nothing(store: Store) -> None:
    client = await store.client()
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
        yield announced()
        for _ in range(4):
            yield data(b"x" * PIECE)
        sent.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(client.PutArtifact(endless()))
    await sent.wait()
    await eventually(lambda: any(path.stat().st_size for path in store.files()))
    task.cancel()

    await eventually(lambda: store.files() == [])


async def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(authority: Authority, tmp_path: Path) -> None:
    uploads = tmp_path / "artifacts" / "_uploads"
    async with store_of(authority, tmp_path) as store:
        (uploads / "left").write_bytes(b"half")
        client, first, go_on = await store.client(), asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
            yield announced()
            yield data(b"x" * PIECE)
            first.set()
            await go_on.wait()

        task = asyncio.create_task(client.PutArtifact(slow()))
        await first.wait()
        await eventually(lambda: len(list(uploads.iterdir())) == 2)
        async with store_of(authority, tmp_path):
            assert len(list(uploads.iterdir())) == 1
            go_on.set()
            await task

        assert len(store.kept) == 1


@pytest.fixture
def small_files() -> Iterator[None]:
    """Has the operating system refuse to make files of more than 1 MiB, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_said_by_type_and_nothing_is_left(store: Store, small_files: None) -> None:
    client = await store.client()

    with pytest.raises(ParadeError) as caught:
        await put(client, b"x" * 2 * 1024 * 1024)
    with pytest.raises(ParadeError) as hopeless:
        await client.PutArtifact(requests(announced(size=1024**3), data(b"x" * 2 * 1024 * 1024)))

    assert caught.value.reason is hopeless.value.reason is Reason.NO_CAPACITY
    await eventually(lambda: store.files() == [])


async def test_artifacts_are_removed_after_their_time_unless_they_are_stored_again(authority: Authority, tmp_path: Path) -> None:
    clock = ManualClock(datetime.now(UTC))
    async with store_of(authority, tmp_path, retention=100 * DAY, clock=clock) as store:
        client = await store.client()
        old, again = await put(client, b"old"), await put(client, b"again")
        await clock.advance(DAY)
        assert len(store.kept) == 2
        for path in store.kept:
            os.utime(path, (0, 0))
        await put(client, b"again", digest=again.digest)

        async def swept() -> bool:
            await clock.advance(3600)
            return len(store.kept) == 1

        await eventually(swept)

        assert (await get(client, again.digest))[1] == b"again"
        with pytest.raises(ParadeError) as caught:
            await get(client, old.digest)
        assert caught.value.reason is Reason.NOT_FOUND
        assert len(store.files()) == 2


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mebibytes", [256, pytest.param(1024, marks=pytest.mark.full)])
async def test_memory_stays_flat_however_large_an_artifact_is(store: Store, mebibytes: int) -> None:
    client, process = await store.client(), psutil.Process()
    block = os.urandom(PIECE)
    highest = 0

    def measure() -> None:
        nonlocal highest
        highest = max(highest, process.memory_info().rss)

    async def content() -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
        yield announced(size=mebibytes * 1024 * 1024)
        for number in range(mebibytes * 4):
            measure()
            yield data(number.to_bytes(4) + block[4:])

    await put(client, block * 32)
    before = process.memory_info().rss
    stored = (await client.PutArtifact(content())).artifact
    fetched = 0
    async for message in client.GetArtifact(gateway_pb2.GetArtifactRequest(digest=stored.digest)):
        fetched += len(message.data)
        measure()

    assert stored.size == fetched == mebibytes * 1024 * 1024
    assert highest - before < 48 * 1024 * 1024


async def test_policies_forbid_to_store_and_to_read_to_whom_they_name(store: Store) -> None:
    client, agent = await store.client(), await store.client(identity=Identity.agent("cleaner", "i-1", "sales"))
    kept = await put(client, b"words")
    store.policies.put(
        PolicyText(
            "sales",
            "rules",
            1,
            '@id("stored") forbid (principal is Parade::Client, action == Parade::Action::"write", resource);'
            '@id("read") forbid (principal == Parade::Agent::"cleaner", action == Parade::Action::"read", resource);',
        )
    )
    before = store.files()

    with pytest.raises(ParadeError) as stored:
        await put(client, b"more words")
    with pytest.raises(ParadeError) as read:
        await get(agent, kept.digest)

    assert [error.value.reason for error in (stored, read)] == [Reason.PERMISSION_DENIED] * 2
    assert ("rules@1#stored" in stored.value.message, "rules@1#read" in read.value.message) == (True, True)
    assert store.files() == before
    assert (await get(client, kept.digest))[1] == b"words"
    await put(agent, b"words of an agent")
    await put(await store.client("research"), b"words elsewhere")


async def test_a_digest_that_is_too_long_to_be_one_is_not_kept(store: Store) -> None:
    client = await store.client()
    store.policies.put(PolicyText("sales", "rules", 1, 'forbid (principal, action == Parade::Action::"write", resource);'))

    with pytest.raises(ParadeError) as caught:
        await get(client, "sha256:" + "a" * 100_000)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert [len(asked[3].name) for asked in store.policies._places["sales"]._decided] == [LENGTH]
