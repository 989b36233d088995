"""Schedulers of two versions share one database while runs go on, as in every rolling upgrade: nothing is lost, and nothing happens twice.

The newer version is this one with a migration more, and with a field more in everything that it writes.
"""

import asyncio
import random
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import parade_scheduler
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from tests.faults.scheduler_load import Load, answering
from tests.integration.scheduler_harness import World, begin, ended, put, running_world
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

PEOPLE = 4
MIGRATION = '''
"""Runs have a region."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("run", sa.Column("region", sa.Text, nullable=False, server_default="north"))
    op.create_index("ix_run_region", "run", ["namespace", "region", "id"])
    op.create_table("region", sa.Column("name", sa.Text, primary_key=True), sa.Column("created", sa.BigInteger, nullable=False))
    op.execute("INSERT INTO region SELECT namespace, min(created) FROM run GROUP BY namespace")
'''
TABLES = """
RUNS.append_column(Column("region", Text, nullable=False, server_default="north"))
Index("ix_run_region", RUNS.c.namespace, RUNS.c.region, RUNS.c.id)
Table("region", METADATA, Column("name", Text, primary_key=True), Column("created", BigInteger, nullable=False))
"""
MODEL = """
def _with_region(kind):
    def __post_init__(self):
        self.region = self.region or "north"

    body = {"__annotations__": {"region": str}, "region": "", "__post_init__": __post_init__, "__module__": __name__}
    return dataclass(slots=True)(type(kind.__name__, (kind,), body))


Run, Step, Task, RunEvent = map(_with_region, (Run, Step, Task, RunEvent))
"""


def next_version(folder: Path) -> Path:
    """Makes the scheduler's next version and returns the folder to import it from."""
    package = folder / "parade_scheduler"
    shutil.copytree(Path(parade_scheduler.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    versions = package / "migrations" / "versions"
    before = max(found[1] for path in versions.iterdir() if (found := re.match(r"(\d{4})_", path.name)))
    revision = f"{int(before) + 1:04}"
    (versions / f"{revision}_regions.py").write_text(MIGRATION.format(revision=revision, before=before))
    for name, more in (("tables.py", TABLES), ("model.py", MODEL)):
        with (package / name).open("a") as file:
            file.write(more)
    return folder


class Upgrade:
    """Schedulers of two versions, and people who use whichever of them serve."""

    def __init__(self, first: World, newer: Path, database: Any) -> None:
        self.older = [first, first.replica()]
        self.newer = [first.replica(), first.replica()]
        self.load = Load(lambda: random.choice(self._serving))  # noqa: S311
        self._stubs = {world.address: world.stub() for world in self.worlds}
        self._serving: list[Any] = []
        self._environment = {"PYTHONPATH": str(newer)}
        self._database = database

    @property
    def worlds(self) -> list[World]:
        return [*self.older, *self.newer]

    async def start(self, world: World) -> Any:
        """Starts a replica, of the newer version where it is one of those, and returns the way to it."""
        await world.start_process(**(self._environment if world in self.newer else {}))
        stub = self._stubs[world.address]
        self._serving.append(stub)
        return stub

    async def end(self, world: World) -> None:
        """Ends a replica as an upgrade does."""
        self._serving.remove(self._stubs[world.address])
        assert await world.terminate() == 0, world.words()

    async def kill(self, world: World) -> None:
        self._serving.remove(self._stubs[world.address])
        await world.kill()

    async def go_on(self) -> None:
        """Waits until everybody who uses the schedulers has had some runs more."""
        enough = len(self.load.done) + 2 * PEOPLE
        await eventually(lambda: len(self.load.done) >= enough, within=40)

    async def shared_out(self, count: int) -> None:
        """Waits until so many replicas have about as many shards each."""

        async def even() -> bool:
            held = await self._database.fetch("SELECT count(*) AS held FROM shard WHERE owner <> '' GROUP BY owner")
            return len(held) == count and min(row["held"] for row in held) >= 64 // count - 2

        await eventually(even, within=20)

    async def version(self) -> str:
        """Returns which migration the database has."""
        return str(await self._database.fetchval("SELECT version_num FROM alembic_version_scheduler"))

    async def leave_unknown_commands(self) -> None:
        """Leaves, in every shard, a command of a kind that neither version knows."""
        await self._database.execute(
            "INSERT INTO command (id, shard, run, kind, data, created)"
            " SELECT 'command-' || shard, shard, 'run-x-' || lpad(shard::text, 2, '0'), 'Relocated', '', 0"
            " FROM generate_series(0, 63) AS shard"
        )

    async def unknown_commands(self) -> int:
        return int(await self._database.fetchval("SELECT count(*) FROM command WHERE kind = 'Relocated'"))

    async def versions_of_runs(self) -> list[list[bool]]:
        """Returns, for every run, by its entries in their order, whether the newer version wrote them."""
        rows = await self._database.fetch("SELECT array_agg(facts LIKE '%\"region\"%' ORDER BY number) AS newer FROM entry GROUP BY run")
        return [row["newer"] for row in rows]


@pytest.fixture
async def upgrade(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Upgrade]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_server.database())
        first = await stack.enter_async_context(running_world(tmp_path, database_url=url))
        await first.stop()
        database = await asyncpg.connect(url)
        stack.push_async_callback(database.close)
        upgrade = Upgrade(first, next_version(tmp_path / "newer"), database)
        for world in upgrade.worlds[1:]:
            stack.push_async_callback(world.close)
        answering(first.dispatcher)
        yield upgrade


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_runs_go_on_while_schedulers_are_replaced_by_newer_ones_one_after_the_other(upgrade: Upgrade) -> None:
    load = upgrade.load
    [first, second], [third, fourth] = upgrade.older, upgrade.newer
    older = await upgrade.start(first)
    await upgrade.start(second)
    await load.put()
    await older.StartRun(pb.StartRunRequest(workflow="flow", request_id="begun by the older"))

    async def upgrading() -> None:
        await upgrade.go_on()
        before = await upgrade.version()
        newer = await upgrade.start(third)
        assert await upgrade.version() > before
        await upgrade.shared_out(3)
        await upgrade.leave_unknown_commands()
        await upgrade.go_on()
        await newer.StartRun(pb.StartRunRequest(workflow="flow", request_id="begun by the newer"))

        # One of the version before comes back, and then takes over what the newer one has begun.
        await upgrade.end(first)
        await upgrade.start(first)
        await upgrade.go_on()
        await upgrade.kill(third)
        await upgrade.go_on()
        await load.run("begun by the newer")

        await upgrade.start(third)
        await upgrade.end(first)
        await upgrade.start(fourth)
        await upgrade.end(second)
        await upgrade.go_on()
        await load.run("begun by the older")

    done = asyncio.create_task(upgrading())
    await asyncio.gather(*(load.go_on(f"person-{number}", done.done) for number in range(PEOPLE)))
    await done

    await load.check()
    assert await upgrade.unknown_commands() == 64
    written = await upgrade.versions_of_runs()
    assert any(newer[0] and not newer[-1] for newer in written), "the older version took over nothing"
    assert any(newer[-1] and not newer[0] for newer in written), "the newer version took over nothing"


def store_state(database: Path, run: str, state: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE run SET state = ? WHERE id = ?", (state, run))
        connection.commit()


async def test_a_run_that_only_a_newer_version_can_read_holds_up_no_other_and_goes_on_there(tmp_path: Path) -> None:
    async with running_world(tmp_path) as world:
        stub = world.stub()
        await put(stub, {"a": {"call": "x.a"}})
        begun = [(await begin(stub)).id for _ in range(3)]
        await eventually(lambda: len(world.dispatcher.calls) == 3)
        await world.stop()
        store_state(tmp_path / "scheduler.db", begun[1], "FROZEN")

        world.dispatcher.auto = lambda call: call.succeed(1)
        await world.start()
        others = [await ended(stub, id) for id in (begun[0], begun[2])]
        for asked in (stub.CancelRun(pb.CancelRunRequest(run_id=begun[1])), stub.GetRun(pb.GetRunRequest(run_id=begun[1]))):
            with pytest.raises(ParadeError, match="a newer scheduler has written this") as caught:
                await asked
            assert caught.value.reason is Reason.UNAVAILABLE
        await world.stop()
        store_state(tmp_path / "scheduler.db", begun[1], "RUNNING")
        await world.start()

        assert [run.state for run in others] == [pb.RUN_STATE_SUCCEEDED] * 2
        assert (await ended(stub, begun[1])).state == pb.RUN_STATE_SUCCEEDED
