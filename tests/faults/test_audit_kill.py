"""A scheduler's store that is killed while it writes: no change without its audit entry, no entry without its change, no gap."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from parade_chassis.audit_log import AuditLog
from parade_chassis.store import Database
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.tables import METADATA, RUNS
from tests.support.mesh import ROOT
from tests.support.postgres import PostgresServer

KILLS = 6
WRITER = """
import asyncio, itertools, sys
from dataclasses import replace
from parade_chassis.store import Database
from parade_scheduler.storage.store import Store
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import RUN, new

async def main(url, life):
    store = Store(await Database.open(url, "parade_scheduler", METADATA))
    for number in itertools.count():
        ids = [f"run-{life}-{number:06}-{one}-{one:02}" for one in range(3)]
        await store.write([new(replace(RUN, id=id, request_id=id, principal="ana")) for id in ids], None)
        print(number, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of each kind, one after the other."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    async with server.database() as made:
        yield made


@pytest.mark.timeout(120)
async def test_what_is_killed_while_it_writes_leaves_change_and_entry_or_neither(url: str) -> None:
    chance = random.Random(5)  # noqa: S311  # the same pauses every time
    for life in range(KILLS):
        await asyncio.to_thread(_write_and_die, url, life, chance.uniform(0.0, 0.3))

    database = await Database.open(url, "parade_scheduler", METADATA)
    log = AuditLog(database, AUDIT)
    count, faults, heads = await log.verify()
    recorded = [orjson.loads(entry.facts)["runs"] async for page in log.everything(heads) for entry in page]
    async with database.reading() as connection:
        runs = set((await connection.execute(select(RUNS.c.id))).scalars())
    await database.close()

    assert faults == []
    assert count == len(recorded) >= KILLS
    assert all(len(batch) == 3 for batch in recorded)
    assert sorted(run for batch in recorded for run in batch) == sorted(runs)


def _write_and_die(url: str, life: int, seconds: float) -> None:
    """Lets a process write for a while after its first write, then kills it."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url, str(life)], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline()
    time.sleep(seconds)
    writer.kill()
    writer.wait()
    writer.stdout.close()
