"""Starts and events by session, at a scheduler in one piece: as by themselves, and each once, whatever becomes of the connection."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from tests.integration.scheduler_harness import CLIENT, Call, World, begin, ended, json, put, running_world, seconds
from tests.support.proxy import proxied
from tests.support.session_requests import SessionClient, session_client
from tests.support.waiting import eventually

ONE = {"a": {"call": "x.a"}}
INPUTS = {"n": {"type": "integer", "default": 1}}
AGENT = Identity.agent("analyst", "i-1")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[SessionClient]:
    async with session_client(world.authority, world.address) as client:
        yield client


@asynccontextmanager
async def database_held(world: World) -> AsyncIterator[None]:
    """Lets nobody else write for the block."""
    path = world.settings["database_url"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:

        def held() -> bool:
            # Who writes now may be in this loop, which must not be blocked meanwhile.
            with suppress(sqlite3.OperationalError):
                connection.execute("BEGIN IMMEDIATE")
            return connection.in_transaction

        await eventually(held)
        yield
        connection.execute("ROLLBACK")


def succeed(call: Call) -> None:
    call.succeed({"n": 7})


def port_of(world: World) -> int:
    return int(world.address.rpartition(":")[2])


def started(stub: Any, count: int) -> list[asyncio.Task[pb.Run]]:
    """Starts so many runs, each under a name of its own."""
    return [asyncio.create_task(begin(stub, request_id=f"request-{number}")) for number in range(count)]


async def ids_of(starts: list[asyncio.Task[pb.Run]]) -> list[str]:
    """Returns the runs that were started, once all are."""
    async with asyncio.timeout(30):
        return sorted([run.id for run in await asyncio.gather(*starts)])


async def stored(world: World) -> list[str]:
    """Returns all the runs there are."""
    return sorted([run.id for run in (await world.stub().ListRuns(pb.ListRunsRequest(page_size=1000))).runs])


async def refused(awaitable: Any) -> tuple[Any, ...]:
    """Returns what a refusal says."""
    with pytest.raises(ParadeError) as caught:
        await awaitable
    error = caught.value
    return error.reason, error.message, error.violations, dict(error.metadata), error.retryable


async def test_starts_and_events_go_by_session(world: World, client: SessionClient) -> None:
    await put(client.stub, ONE, on={"event": {"type": "order.paid"}})

    run = await begin(client.stub, labels={"team": "blue"})
    published = await client.stub.PublishEvent(pb.PublishEventRequest(type="order.paid", value=json({}), event_id="payment-1"))

    assert published.event_id == "payment-1"
    first, second = await world.dispatcher.call("a"), await world.dispatcher.call("a", 1)
    assert {first.run_id, second.run_id} > {run.id}
    assert dict((await client.stub.GetRun(pb.GetRunRequest(run_id=run.id))).run.labels) == {"team": "blue"}
    assert client.alone == ["PutWorkflow", "GetRun"]


async def test_the_same_request_gives_the_same_run_by_session_too(world: World, client: SessionClient) -> None:
    await put(client.stub, ONE)

    runs = await asyncio.gather(*(begin(client.stub, request_id="order-7") for _ in range(20)), begin(world.stub(), request_id="order-7"))

    assert len({run.id for run in runs}) == 1
    assert await stored(world) == [runs[0].id]


async def test_what_is_refused_says_by_session_what_it_says_by_itself(world: World, client: SessionClient) -> None:
    await put(client.stub, ONE, inputs=INPUTS)

    unknown = await refused(client.stub.StartRun(pb.StartRunRequest(workflow="nope")))
    wrong = await refused(begin(client.stub, {"n": "seven", "m": 1}))

    assert unknown[0] is Reason.NOT_FOUND
    assert "nope" in unknown[1]
    assert wrong[0] is Reason.INVALID_ARGUMENTS
    assert sorted(one.field for one in wrong[2]) == ["inputs.m", "inputs.n"]
    stub = world.stub()
    assert unknown == await refused(stub.StartRun(pb.StartRunRequest(workflow="nope")))
    assert wrong == await refused(begin(stub, {"n": "seven", "m": 1}))


@pytest.mark.parametrize("caller", [CLIENT, AGENT], ids=["client", "agent"])
async def test_a_run_is_of_who_opened_the_session(world: World, caller: Identity) -> None:
    await put(world.stub(), ONE)

    async with session_client(world.authority, world.address, caller) as client:
        run = await begin(client.stub)

    assert run.principal == caller.uri
    assert (await world.dispatcher.call("a")).request.origin.principal == caller.uri


@pytest.mark.parametrize("caller", ["monitor", "gateway"])
async def test_who_may_open_no_session_is_refused(world: World, caller: str) -> None:
    async with session_client(world.authority, world.address, Identity.service(caller)) as client:
        with pytest.raises(ParadeError, match=r"may not call /parade\.v1\.SchedulerService/Session") as error:
            await begin(client.stub)

        assert error.value.reason is Reason.PERMISSION_DENIED
        assert not client.alone


async def test_starts_under_way_when_the_connection_breaks_are_answered_and_each_runs_once(world: World) -> None:
    await put(world.stub(), ONE)
    async with proxied(port_of(world)) as proxy, session_client(world.authority, f"127.0.0.1:{proxy.port}") as client:
        async with database_held(world):
            starts = started(client.stub, 300)
            await eventually(lambda: client.out == 300)
            proxy.reset()
        done = 0
        while done < 250:  # and again while the answers come
            await asyncio.wait([start for start in starts if not start.done()], return_when=asyncio.FIRST_COMPLETED)
            done = sum(start.done() for start in starts)
            proxy.reset()

        ids = await ids_of(starts)
        assert not client.alone

    assert len(set(ids)) == 300
    assert await stored(world) == ids
    await eventually(lambda: len(world.dispatcher.calls) == 300)
    assert sorted(call.run_id for call in world.dispatcher.calls) == ids


async def test_starts_of_a_session_that_is_lost_are_asked_again_and_each_runs_once(world: World) -> None:
    await put(world.stub(), ONE)
    async with proxied(port_of(world)) as proxy, session_client(world.authority, f"127.0.0.1:{proxy.port}") as client:
        async with database_held(world):
            starts = started(client.stub, 50)
            await eventually(lambda: client.out == 50)
            proxy.target = 1  # nobody listens there
            proxy.reset()
            await eventually(lambda: client.session is None)
        proxy.target = port_of(world)

        ids = await ids_of(starts)

    assert len(set(ids)) == 50
    assert await stored(world) == ids


async def test_a_scheduler_that_ends_answers_the_starts_under_way(tmp_path: Path) -> None:
    async with running_world(tmp_path, drain_timeout=8.0) as world, session_client(world.authority, world.address) as client:
        world.dispatcher.auto = succeed
        await put(world.stub(), ONE)
        async with database_held(world):
            starts = started(client.stub, 50)
            await eventually(lambda: client.out == 50)
            stopping = asyncio.create_task(world.stop())
            await eventually(lambda: client.session is None)  # it was told to go elsewhere
            assert not stopping.done()

        ids = await ids_of(starts)
        await stopping

        assert not client.alone
        await world.start()
        assert await stored(world) == ids


async def test_a_start_that_waits_returns_the_run_with_its_end(world: World, client: SessionClient) -> None:
    world.dispatcher.auto = succeed
    await put(client.stub, ONE, outputs={"n": "${{ steps.a.output.n }}"})

    run = await begin(client.stub, wait=seconds(30))

    assert run.state == pb.RUN_STATE_SUCCEEDED
    assert orjson.loads(run.outputs.data) == {"n": 7}
    assert client.alone == ["PutWorkflow"]


async def test_a_start_that_nobody_waits_for_any_more_leaves_its_run_going(world: World, client: SessionClient) -> None:
    await put(client.stub, ONE)
    waiting = asyncio.create_task(begin(client.stub, wait=seconds(30)))
    call = await world.dispatcher.call("a")

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await eventually(lambda: client.out == 0)

    assert not call.cancelled
    call.succeed(7)
    assert (await ended(client.stub, call.run_id)).state == pb.RUN_STATE_SUCCEEDED


async def test_starts_that_wait_at_a_scheduler_that_ends_may_be_asked_again(world: World, client: SessionClient) -> None:
    await put(world.stub(), ONE)
    waiting = asyncio.create_task(begin(client.stub, wait=seconds(30), request_id="order-7"))
    call = await world.dispatcher.call("a")

    await world.stop()

    assert (await refused(waiting))[0] is Reason.UNAVAILABLE
    await world.start()
    assert (await begin(client.stub, request_id="order-7")).id == call.run_id
