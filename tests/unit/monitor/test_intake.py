import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import ManualClock
from parade_chassis.store import Database
from parade_monitor.intake import MAX_SHARE_BYTES, RETRY_PAUSES, WRITE_INTERVAL, Intake
from parade_monitor.model import LogFilter, Source
from parade_monitor.store import Store
from parade_monitor.tables import METADATA
from parade_monitor.tail import Tail
from tests.support.waiting import eventually
from tests.unit.monitor.records import log, point, span

EVERYTHING = LogFilter("default")


class Said(Log):
    """A log that remembers."""

    def __init__(self) -> None:
        super().__init__(self)
        self.records: list[tuple[str, dict[str, Any]]] = []

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        self.records.append((event, fields))


class Bench:
    """An intake over a real database, with a clock that a test moves."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = Store(database)
        self.clock = ManualClock()
        self.tail = Tail(newest=0)
        self.said = Said()
        self.dropped = 0
        self.intake = Intake(self.store, self.tail, self.clock, self.said, self._count)

    async def stored(self) -> list[str]:
        return [record.event for _, record in await self.store.logs(EVERYTHING, 100)]

    async def forget_tables(self) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text("DROP TABLE log"))

    def _count(self, number: int) -> None:
        self.dropped += number


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = await Database.open(f"sqlite:///{tmp_path / 'monitor.db'}", "parade_monitor", METADATA)
    yield Bench(database)
    await database.close()


async def test_what_has_queued_is_written_together_and_then_told_to_readers(bench: Bench) -> None:
    bench.intake.put([log(event="first"), span(), point()])
    bench.intake.put([log(event="second")])

    with bench.tail.reader(EVERYTHING) as reader:
        await bench.intake.flush()
        records = reader.records()
        told = [(await anext(records)).event for _ in range(2)]

    assert told == ["first", "second"]
    assert await bench.stored() == ["second", "first"]


async def test_the_writer_writes_at_once_and_then_at_most_every_interval(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(bench.intake.run())
        bench.intake.put([log(event="first")])
        await eventually(lambda: _holds(bench, ["first"]))

        bench.intake.put([log(event="second")])
        await bench.clock.advance(WRITE_INTERVAL / 2)
        early = await bench.stored()
        await bench.clock.advance(WRITE_INTERVAL)
        await eventually(lambda: _holds(bench, ["second", "first"]))
        writer.cancel()

    assert early == ["first"]


async def test_a_full_queue_refuses_a_whole_request_counts_it_and_says_so_once(bench: Bench) -> None:
    large = log(fields='"' + "x" * 1_000_000 + '"')
    room = MAX_SHARE_BYTES // large.size
    bench.intake.put([large] * room)
    bench.intake.put([log(source=Source("other", "analyst", "a-1"), fields=large.fields)] * room)

    for _ in range(3):
        with pytest.raises(ParadeError) as raised:
            bench.intake.put([log(source=Source("third", "analyst", "a-1"), fields=large.fields)] * 3)
        assert raised.value.reason is Reason.NO_CAPACITY

    assert bench.dropped == 9
    assert [event for event, _ in bench.said.records] == ["records dropped"]


async def test_a_namespace_that_sends_too_much_leaves_room_to_others(bench: Bench) -> None:
    large = log(fields='"' + "x" * 1_000_000 + '"')
    bench.intake.put([large] * (MAX_SHARE_BYTES // large.size))

    with pytest.raises(ParadeError) as raised:
        bench.intake.put([large])
    bench.intake.put([log(source=Source("other", "analyst", "a-1"))])

    assert raised.value.reason is Reason.NO_CAPACITY
    assert bench.dropped == 1


async def test_room_comes_back_with_writing(bench: Bench) -> None:
    large = log(fields='"' + "x" * 1_000_000 + '"')
    bench.intake.put([large] * (MAX_SHARE_BYTES // large.size))

    await bench.intake.flush()
    bench.intake.put([large] * (MAX_SHARE_BYTES // large.size))

    assert bench.dropped == 0


async def test_records_that_cannot_be_written_are_tried_again_then_dropped(bench: Bench) -> None:
    await bench.forget_tables()
    bench.intake.put([log(), log()])

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(bench.intake.flush())
        for tried, pause in enumerate(RETRY_PAUSES, start=1):
            await eventually(lambda tried=tried: len(bench.said.records) == tried)  # type: ignore[misc]
            await bench.clock.advance(pause)
        await eventually(writing.done)

    assert bench.dropped == 2
    assert [event for event, _ in bench.said.records] == ["records not written"] * len(RETRY_PAUSES) + ["records dropped"]


async def test_the_last_write_does_not_hold_up_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parade_monitor.intake.FINISH_TIMEOUT", 0.05)
    await bench.forget_tables()
    bench.intake.put([log()])

    await bench.intake.finish()

    assert bench.said.records[-1][0] == "records lost at the end"


async def _holds(bench: Bench, events: list[str]) -> bool:
    return await bench.stored() == events
