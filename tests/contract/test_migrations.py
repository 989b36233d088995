"""An empty database gets the tables as they are now, an older one is migrated: both end alike, on both databases."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, text

import parade_agent_manager.store
import parade_dispatcher.tables
import parade_monitor.tables
import parade_scheduler.tables
from parade_chassis.store import Database

SERVICES = {
    "parade_agent_manager": parade_agent_manager.store.METADATA,
    "parade_dispatcher": parade_dispatcher.tables.METADATA,
    "parade_monitor": parade_monitor.tables.METADATA,
    "parade_scheduler": parade_scheduler.tables.METADATA,
}


@pytest.mark.parametrize("package", SERVICES)
async def test_the_migrations_make_the_tables_that_the_service_knows(database_url: str, package: str) -> None:
    version_table = f"alembic_version_{package.removeprefix('parade_')}"
    before = await Database.open(database_url, package, MetaData())
    async with before.transaction() as connection:
        await connection.execute(text(f"DELETE FROM {version_table}"))  # noqa: S608  # as alembic leaves it before the first migration
    await before.close()

    migrated = await Database.open(database_url, package, SERVICES[package])

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"version_table": version_table}), SERVICES[package]))

    async with migrated.reading() as connection:
        assert await connection.run_sync(differences) == []
    await migrated.close()
