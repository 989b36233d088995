import asyncio
from pathlib import Path

from parade_chassis.clock import ManualClock
from parade_chassis.store import Database
from parade_monitor.model import LogFilter
from parade_monitor.retention import INTERVAL, Retention
from parade_monitor.store import Store
from parade_monitor.tables import METADATA
from tests.support.waiting import eventually
from tests.unit.monitor.records import SECOND, START, TRACE, log, span
from tests.unit.monitor.test_intake import Said

DAY = 24 * 3600 * SECOND


async def test_every_minute_old_records_go_and_others_stay(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'monitor.db'}", "parade_monitor", METADATA)
    store, clock = Store(database), ManualClock()
    await store.append([log(time=START - 3 * DAY, event="old"), log(time=START - DAY, event="young"), span(start_time=START - 3 * DAY)])
    retention = Retention(store, clock, Said(), days=2, most_rows=1000)

    async with asyncio.TaskGroup() as tasks:
        sweeping = tasks.create_task(retention.run())
        await clock.advance(INTERVAL / 2)
        before = await _events(store)
        await clock.advance(INTERVAL)
        await eventually(lambda: _is_gone(store))
        sweeping.cancel()

    assert before == ["young", "old"]
    assert await _events(store) == ["young"]
    await database.close()


async def test_a_round_that_fails_is_said_and_the_next_one_comes(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'monitor.db'}", "parade_monitor", METADATA)
    clock, said = ManualClock(), Said()
    async with database.transaction() as connection:
        await connection.exec_driver_sql("DROP TABLE log")
    retention = Retention(Store(database), clock, said, days=2, most_rows=1000)

    async with asyncio.TaskGroup() as tasks:
        sweeping = tasks.create_task(retention.run())
        for rounds in (1, 2):
            await clock.advance(INTERVAL)
            await eventually(lambda rounds=rounds: len(said.records) == rounds)  # type: ignore[misc]
        sweeping.cancel()

    assert [event for event, _ in said.records] == ["old records not deleted"] * 2
    await database.close()


async def _events(store: Store) -> list[str]:
    return [record.event for _, record in await store.logs(LogFilter("default"), 10)]


async def _is_gone(store: Store) -> bool:
    return await _events(store) == ["young"] and not await store.trace("default", TRACE, 1000)
