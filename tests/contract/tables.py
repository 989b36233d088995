"""The tables of every service that has a database."""

import parade_agent_manager.tables
import parade_dispatcher.tables
import parade_monitor.tables
import parade_scheduler.storage.tables
from parade_chassis.store import Database

TABLES = {
    "parade_agent_manager": parade_agent_manager.tables.METADATA,
    "parade_dispatcher": parade_dispatcher.tables.METADATA,
    "parade_monitor": parade_monitor.tables.METADATA,
    "parade_scheduler": parade_scheduler.storage.tables.METADATA,
}
"""The tables of each service, by its package."""


async def lay_out(url: str) -> None:
    """Makes the tables of every service in an empty database."""
    for package, tables in TABLES.items():
        await (await Database.open(url, package, tables)).close()
