"""An empty database gets the tables as they are now, an older one is migrated: both end alike, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, text

from parade_chassis.store import Database
from tests.contract.tables import TABLES


@pytest.mark.parametrize("package", TABLES)
async def test_the_migrations_make_the_tables_that_the_service_knows(empty_database_url: str, package: str) -> None:
    version_table = f"alembic_version_{package.removeprefix('parade_')}"
    before = await Database.open(empty_database_url, package, MetaData())
    async with before.transaction() as connection:
        await connection.execute(text(f"DELETE FROM {version_table}"))  # noqa: S608  # as alembic leaves it before the first migration
    await before.close()

    migrated = await Database.open(empty_database_url, package, TABLES[package])

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"version_table": version_table}), TABLES[package]))

    async with migrated.reading() as connection:
        assert await connection.run_sync(differences) == []
    await migrated.close()


@pytest.mark.parametrize("package", TABLES)
async def test_an_index_of_some_rows_is_one_on_both_databases(empty_database_url: str, package: str) -> None:
    wanted = {
        index.name
        for table in TABLES[package].tables.values()
        for index in table.indexes
        if index.dialect_kwargs.get("sqlite_where") is not None
    }
    database = await Database.open(empty_database_url, package, TABLES[package])
    found = "SELECT name FROM sqlite_master WHERE sql LIKE '%INDEX%WHERE%'"
    if not database.is_sqlite:
        found = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%WHERE%'"
    async with database.reading() as connection:
        assert set((await connection.execute(text(found))).scalars()) == wanted
    await database.close()
