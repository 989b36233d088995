"""Which replica may write which runs, on every database: leases, epochs, and commands for the runs of others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import pytest

from parade_chassis.store import Database
from parade_scheduler.storage.store import SHARD_COUNT, Change, Command, LostError, Store, shard_of
from parade_scheduler.storage.tables import METADATA
from parade_scheduler.storage.writer_postgres import PostgresWriter
from tests.contract.scheduler_store import NOW, new, numbered, row_counts
from tests.support.waiting import eventually

LONG = 60.0
SHORT = 0.3


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[list[Store]]:
    """Two replicas' views of one database."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(2):
            database = await Database.open(database_url, "parade_scheduler", METADATA)
            stack.push_async_callback(database.close)
            stores.append(Store(database))
            stack.push_async_callback(stores[-1].close)
        yield stores


@pytest.fixture
def store(stores: list[Store]) -> Store:
    return stores[0]


@pytest.fixture
async def on_postgres(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("a file has one replica, which nothing needs to fence")


async def test_a_replica_takes_as_many_shards_as_it_wants_and_renews_them(store: Store) -> None:
    assert await store.claim("a", "host:1", 0, LONG) == {}
    first = await store.claim("a", "host:1", 40, LONG)
    assert len(first) == 40
    assert set(first.values()) == {1}
    assert await store.claim("a", "host:1", 40, LONG) == first
    assert await store.claim("a", "host:1", 10, LONG) == first
    assert len(await store.claim("a", "host:1", 100, LONG)) == SHARD_COUNT


async def test_two_replicas_own_no_shard_together(stores: list[Store]) -> None:
    mine, theirs = await asyncio.gather(stores[0].claim("a", "host:1", 32, LONG), stores[1].claim("b", "host:2", 32, LONG))
    mine |= await stores[0].claim("a", "host:1", 32, LONG)
    theirs |= await stores[1].claim("b", "host:2", 32, LONG)

    assert len(mine) == len(theirs) == 32
    assert not mine.keys() & theirs.keys()
    assert await stores[0].replicas() == 2
    assert await stores[1].claim("b", "host:2", SHARD_COUNT, LONG) == theirs


async def test_what_is_released_is_anybodys_under_a_new_epoch(stores: list[Store]) -> None:
    await stores[0].claim("a", "host:1", SHARD_COUNT, LONG)
    await stores[1].release("b", [6])  # not its own

    await stores[0].release("a", [5, 7])

    assert await stores[1].claim("b", "host:2", 10, LONG) == {5: 2, 7: 2}
    assert len(await stores[0].claim("a", "host:1", SHARD_COUNT, LONG)) == SHARD_COUNT - 2


async def test_shards_of_a_lease_that_has_ended_are_taken_over_and_those_of_one_that_holds_are_not(stores: list[Store]) -> None:
    await stores[0].claim("a", "host:1", SHARD_COUNT, SHORT)
    taken: dict[int, int] = {}

    async def all_taken() -> bool:
        taken.update(await stores[1].claim("b", "host:2", SHARD_COUNT, LONG))
        return len(taken) == SHARD_COUNT

    assert await stores[1].claim("b", "host:2", SHARD_COUNT, LONG) == {}
    await eventually(all_taken)

    assert set(taken.values()) == {2}
    assert await stores[1].replicas() == 1
    assert await stores[0].claim("a", "host:1", SHARD_COUNT, LONG) == {}


async def test_a_lease_that_has_ended_and_of_which_nobody_took_anything_goes_on(store: Store) -> None:
    owned = await store.claim("a", "host:1", 3, 0.0)
    assert await store.replicas() == 0

    assert await store.claim("a", "host:1", 3, LONG) == owned


async def test_who_leaves_owns_nothing_and_does_not_count(stores: list[Store]) -> None:
    await stores[0].claim("a", "host:1", SHARD_COUNT, LONG)

    await stores[0].leave("a")

    assert await stores[1].replicas() == 0
    assert len(await stores[1].claim("b", "host:2", SHARD_COUNT, LONG)) == SHARD_COUNT


@pytest.mark.usefixtures("on_postgres")
async def test_who_lost_a_shard_can_write_none_of_its_runs(stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    await stores[0].write([new(numbered(1)), new(numbered(2))], epochs)
    assert set((await stores[1].claim("b", "host:2", 2, LONG)).items()) == {(0, 2), (1, 2)}
    database = stores[0]._database
    before = await row_counts(database)

    with pytest.raises(LostError) as caught:
        await stores[0].write([Change(numbered(1), 2), Change(numbered(2), 2), new(numbered(3))], {1: 1, 2: 1, 3: 1})

    assert caught.value.shards == {1}
    assert await row_counts(database) == before
    await stores[0].write([Change(numbered(2), 2)], {2: 1})
    await stores[1].write([Change(numbered(1), 2)], {1: 2})


async def test_a_run_whose_shard_has_no_epoch_is_not_written(store: Store) -> None:
    await store.claim("a", "host:1", SHARD_COUNT, LONG)

    with pytest.raises(LostError) as caught:
        await store.write([new(numbered(1)), new(numbered(2))], {1: 1})

    assert caught.value.shards == {2}
    assert await store.load(["run-001-01"]) == []


@pytest.mark.usefixtures("on_postgres")
async def test_a_write_under_way_is_over_before_its_shard_is_anothers(stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    driver = await writer_of(stores[0])._connected()
    async with driver.transaction():
        await driver.fetch("SELECT id FROM shard WHERE id = 7 FOR KEY SHARE")  # as a write begins
        await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)  # renewing waits for no write

        taken = await stores[1].claim("b", "host:2", SHARD_COUNT, LONG)
        assert taken.keys() == epochs.keys() - {7}

    assert (await stores[1].claim("b", "host:2", SHARD_COUNT, LONG)).keys() == epochs.keys()


@pytest.mark.usefixtures("on_postgres")
async def test_whether_a_change_was_written_is_answered_after_a_commit_that_is_under_way(stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, LONG)
    await stores[0].write([new(numbered(1))], epochs)
    driver = await writer_of(stores[0])._connected()
    async with driver.transaction():
        await driver.fetch("SELECT id FROM shard WHERE id = 1 FOR KEY SHARE")
        await driver.execute("INSERT INTO entry VALUES ('run-001-01', 0, 2, '{}', '')")
        asking = asyncio.create_task(stores[1].was_written(Change(numbered(1), 2)))
        done, _ = await asyncio.wait([asking], timeout=0.3)
        assert not done

    assert await asking


@pytest.mark.usefixtures("on_postgres")
async def test_a_write_that_is_frozen_in_its_middle_holds_nobody_up_for_long(stores: list[Store]) -> None:
    epochs = await stores[0].claim("a", "host:1", SHARD_COUNT, 0.0)
    driver = await writer_of(stores[0])._connected()
    await driver.execute("BEGIN")
    await driver.fetch("SELECT id FROM shard FOR KEY SHARE")

    async def all_taken() -> bool:
        return len(await stores[1].claim("b", "host:2", SHARD_COUNT, LONG)) == SHARD_COUNT

    await eventually(all_taken, within=10)
    await eventually(driver.is_closed)

    with pytest.raises(Exception, match=r"connection|terminat"):
        await stores[0].write([new(numbered(1))], epochs)
    with pytest.raises(LostError):
        await stores[0].write([new(numbered(1))], epochs)


def writer_of(store: Store) -> PostgresWriter:
    return cast("PostgresWriter", store._writer)


async def test_a_command_waits_for_its_shard_until_a_write_settles_it(stores: list[Store]) -> None:
    made = [Command(f"command-{number}", number % 2, f"run-{number}", "cancel", b"\x00why", NOW) for number in range(4)]
    for command in reversed(made):
        await stores[0].add_command(command)

    assert await stores[1].commands([0], 10) == [made[0], made[2]]
    assert await stores[1].commands([0, 1], 3) == made[:3]
    assert await stores[1].commands([2], 3) == []
    assert not await stores[0].command_settled("command-2")
    await stores[1].write([new(numbered(1), commands=["command-2", "command-0"])], None)

    assert await stores[0].command_settled("command-2")
    assert await stores[1].commands([0, 1], 10) == [made[1], made[3]]


@pytest.mark.usefixtures("on_postgres")
async def test_a_command_is_announced(stores: list[Store]) -> None:
    heard: list[str] = []
    connection = await writer_of(stores[1])._connected()
    await connection.add_listener("parade_scheduler", lambda *message: heard.append(message[-1]))

    await stores[0].add_command(Command("command-1", 9, "run-1", "cancel", b"", NOW))

    await eventually(lambda: heard == ["9"])


@pytest.mark.parametrize(("run", "shard"), [("run-01k9-00", 0), ("run-01k9-63", 63), ("run-x-07", 7)])
def test_a_run_lies_in_the_shard_that_its_id_says(run: str, shard: int) -> None:
    assert shard_of(run) == shard


@pytest.mark.parametrize("run", ["run-1", "run-01k9aaaaaaaaaaaaaaaaaaaaaa", "run-01k9-64", "run-01k9-²²", "", "-1"])
def test_a_run_whose_id_says_none_lies_in_some_shard_for_good(run: str) -> None:
    assert shard_of(run) == shard_of(run)
    assert 0 <= shard_of(run) < SHARD_COUNT
