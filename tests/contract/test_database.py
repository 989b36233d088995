"""The ground of the stores is the same on both databases: schema up to date, transactions whole, no change lost."""

import asyncio

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text, update

from parade_chassis.store import Database
from parade_monitor.tables import METADATA

COUNTER = Table("counter", MetaData(), Column("id", Integer, primary_key=True), Column("value", Integer, nullable=False))
PACKAGE = "parade_monitor"


async def opened(url: str) -> Database:
    database = await Database.open(url, PACKAGE, METADATA)
    async with database.transaction() as connection:
        await connection.run_sync(COUNTER.create, checkfirst=True)
        await connection.execute(insert(COUNTER).values(id=1, value=0))
    return database


async def value_of(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(COUNTER.c.value))).scalar_one())


async def test_the_schema_is_brought_up_to_date_once(empty_database_url: str) -> None:
    first = await Database.open(empty_database_url, PACKAGE, METADATA)
    await first.close()

    second = await Database.open(empty_database_url, PACKAGE, METADATA)

    async with second.reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version_monitor"))).scalars().all()
    await second.close()


async def test_a_replica_of_the_version_before_goes_on_with_a_newer_schema(empty_database_url: str) -> None:
    newer = await Database.open(empty_database_url, PACKAGE, METADATA)
    async with newer.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version_monitor SET version_num = '9999'"))

    older = await Database.open(empty_database_url, PACKAGE, METADATA)

    async with older.reading() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version_monitor"))).scalar_one() == "9999"
    await older.close()
    await newer.close()


async def test_replicas_that_start_together_do_not_disturb_each_other(empty_database_url: str) -> None:
    replicas = await asyncio.gather(*(Database.open(empty_database_url, PACKAGE, METADATA) for _ in range(3)))

    for replica in replicas:
        await replica.close()


async def test_what_a_block_wrote_before_it_raised_is_gone(empty_database_url: str) -> None:
    database = await opened(empty_database_url)

    async def change_then_fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(update(COUNTER).values(value=7))
            raise LookupError

    with pytest.raises(LookupError):
        await change_then_fail()

    assert await value_of(database) == 0
    await database.close()


async def test_changes_made_at_once_are_all_kept(empty_database_url: str) -> None:
    database = await opened(empty_database_url)

    async def add_one() -> None:
        async with database.transaction() as connection:
            value = (await connection.execute(select(COUNTER.c.value).with_for_update())).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(update(COUNTER).values(value=value + 1))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(add_one())

    assert await value_of(database) == 20
    await database.close()


async def test_a_reader_holds_up_no_writer(empty_database_url: str) -> None:
    database = await opened(empty_database_url)

    async with database.reading() as reader:
        await reader.execute(select(COUNTER.c.value))
        async with asyncio.timeout(5), database.transaction() as writer:
            await writer.execute(update(COUNTER).values(value=3))

    assert await value_of(database) == 3
    await database.close()


async def test_sqlite_keeps_what_it_acknowledged(tmp_path: object) -> None:
    database = await Database.open(f"sqlite:///{tmp_path}/store.db", PACKAGE, METADATA)

    async with database.reading() as connection:
        journal = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
        synchronous = (await connection.execute(text("PRAGMA synchronous"))).scalar_one()

    assert (journal, synchronous) == ("wal", 2)
    await database.close()


async def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="mysql is not supported"):
        await Database.open("mysql://localhost/parade", PACKAGE, METADATA)
