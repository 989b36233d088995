"""The benchmarks' count of commits: what a block committed that wrote something, whatever the database does with its log meanwhile."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest
from sqlalchemy import text

from benchmarks.commits import counted
from parade_chassis.store import Database
from parade_scheduler.storage.tables import METADATA

LONG = "x" * 60_000
"""Several pages, so that a hundred rows fill SQLite's log and more."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE notes (note TEXT)"))
    yield database
    await database.close()


async def note(database: Database, times: int, content: str = "") -> None:
    for _ in range(times):
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": content})


async def test_commits_of_the_block_count_and_reads_do_not(database: Database, database_url: str) -> None:
    await note(database, 3)
    async with counted(database_url) as commits:
        await note(database, 7)
        for _ in range(5):
            async with database.reading() as connection:
                await connection.execute(text("SELECT count(*) FROM notes"))
    await note(database, 2)

    assert commits.count == 7


async def test_one_commit_of_many_rows_is_one(database: Database, database_url: str) -> None:
    async with counted(database_url) as commits, database.transaction() as connection:
        for _ in range(50):
            await connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": LONG})

    assert commits.count == 1


async def test_nothing_is_zero(database: Database, database_url: str) -> None:
    async with counted(database_url) as commits:
        pass

    assert commits.count == 0


@pytest.mark.parametrize("before", [0, 10, 100])
async def test_every_commit_counts_of_a_block_that_fills_the_log_several_times(database: Database, database_url: str, before: int) -> None:
    await note(database, before, LONG)
    async with counted(database_url) as commits:
        await note(database, 150, LONG)

    assert commits.count == 150


async def test_a_log_that_begins_anew_in_the_block_is_counted_from_its_begin(database: Database, database_url: str) -> None:
    await note(database, 10)
    if database.is_sqlite:
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            busy, _pages, _done = connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            assert not busy
    async with counted(database_url) as commits:
        await note(database, 4)

    assert commits.count == 4
