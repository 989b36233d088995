"""What becomes of the scheduler's writes where its database fails, and what is said of it."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from parade.wire.errors import ParadeError, Reason
from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.storage import writer_postgres
from parade_scheduler.storage.store import Store, refusal
from parade_scheduler.storage.tables import METADATA
from parade_scheduler.storage.writer_sqlite import SqliteWriter
from tests.contract.scheduler_store import RUN, new, numbered, row_counts


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    store = Store(database)
    yield store
    await store.close()


async def set_most_pages(store: Store, pages: int) -> None:
    """Makes SQLite's file as good as full, or not."""
    writer = cast("SqliteWriter", store._writer)
    await store.write([], None)  # so that there is a connection
    connection = writer._connection
    assert connection is not None
    writer._thread.submit(connection.execute, f"PRAGMA max_page_count = {pages}").result()


async def test_a_full_disk_is_no_capacity_and_nothing_is_changed(store: Store, database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("a server's disk is not ours to fill")
    await store.write([new(RUN)], None)
    before = await row_counts(database)
    await set_most_pages(store, 1)  # means as many as there are

    with pytest.raises(sqlite3.OperationalError) as caught:
        await store.write([new(numbered(2)), new(replace(numbered(3), inputs=Document(b'"%s"' % (b"x" * 100_000))))], None)

    refused = refusal(caught.value)
    assert refused is not None
    assert (refused.reason, refused.metadata) == (Reason.NO_CAPACITY, {"retry_after": "5"})
    assert await row_counts(database) == before
    await set_most_pages(store, 1_000_000)
    await store.write([new(numbered(2))], None)


async def test_the_writer_goes_on_after_its_connection_was_lost(store: Store, database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("a file is not lost")
    await store.write([new(RUN)], None)
    everybody_else = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with database.transaction() as connection:
        await connection.execute(everybody_else)

    with pytest.raises(Exception, match=r"terminat|clos|another operation") as caught:
        await store.write([new(numbered(2))], None)

    refused = refusal(caught.value)
    assert refused is not None
    assert refused.reason is Reason.UNAVAILABLE
    assert not await store.was_written(new(numbered(2)))
    await store.write([new(numbered(2))], None)
    assert await store.was_written(new(numbered(2)))


async def test_a_write_that_gets_no_answer_is_given_up(store: Store, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.is_sqlite:
        pytest.skip("a file answers")
    await store.write([new(RUN)], None)
    monkeypatch.setattr(writer_postgres, "_TIMEOUT", 0.2)
    async with database.transaction() as connection:
        await connection.execute(text("LOCK TABLE entry"))
        with pytest.raises(TimeoutError) as caught:
            await store.write([new(numbered(2))], None)

    refused = refusal(caught.value)
    assert refused is not None
    assert refused.reason is Reason.UNAVAILABLE
    assert await store.load(["run-002-02"]) == []
    await store.write([new(numbered(2))], None)


async def test_a_server_that_cannot_be_reached_is_unavailable(store: Store, database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("a file needs no server")
    gone = Database(create_async_engine(database.engine.url.set(query={"host": "/nonexistent"})))
    unreachable = Store(gone)

    with pytest.raises(ParadeError, match="database cannot be used"):
        await unreachable.run("default", "run-1")
    with pytest.raises(Exception, match=r"(?i)no such file") as caught:
        await unreachable.write([new(RUN)], None)

    refused = refusal(caught.value)
    assert refused is not None
    assert refused.reason is Reason.UNAVAILABLE
    await gone.close()


async def test_what_is_wrong_itself_is_not_the_databases_failure(store: Store) -> None:
    await store.write([new(RUN)], None)

    with pytest.raises(Exception, match=r"(?i)unique") as caught:
        await store.write([replace(new(RUN), is_new=False)], None)

    assert refusal(caught.value) is None
    assert refusal(ValueError("no")) is None


async def test_what_is_looked_for_by_a_name_that_cannot_be_is_not_there_or_refused(store: Store, database: Database) -> None:
    if database.is_sqlite:
        assert await store.run("default", "run-\x00") is None
        return
    with pytest.raises(ParadeError) as caught:
        await store.run("default", "run-\x00")
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert "NUL" in caught.value.message
