import asyncio
from contextlib import ExitStack

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_monitor.model import LogFilter, Source
from parade_monitor.tail import MAX_QUEUED_BYTES, MAX_READERS, Tail
from tests.unit.monitor.records import ANALYST, NOBODYS, SCHEDULER, log

EVERYTHING = LogFilter("default")


async def test_a_reader_gets_what_it_wants_in_the_order_of_arrival() -> None:
    tail = Tail(newest=0)
    with tail.reader(LogFilter("default", service="analyst")) as reader:
        tail.publish([log(event="first"), log(source=SCHEDULER), log(event="second")], newest=3)

        records = reader.records()

        assert [(await anext(records)).event for _ in range(2)] == ["first", "second"]


async def test_a_reader_knows_up_to_where_the_store_had_come_when_it_joined() -> None:
    tail = Tail(newest=5)
    tail.publish([log()], newest=8)

    with tail.reader(EVERYTHING) as reader:
        assert reader.since == 8


async def test_a_reader_that_reads_too_slowly_is_told_so_and_its_queue_let_go() -> None:
    tail = Tail(newest=0)
    large = log(event="x" * 100_000)
    with tail.reader(EVERYTHING) as reader:
        tail.publish([large] * (MAX_QUEUED_BYTES // large.size + 1), newest=1)

        with pytest.raises(ParadeError) as raised:
            await anext(reader.records())

        assert raised.value.reason is Reason.NO_CAPACITY


async def test_readers_beyond_the_bound_are_refused_until_one_leaves() -> None:
    tail = Tail(newest=0)
    with ExitStack() as stack:
        for _ in range(MAX_READERS):
            stack.enter_context(tail.reader(EVERYTHING))
        with pytest.raises(ParadeError) as raised, tail.reader(EVERYTHING):
            pass
        assert raised.value.reason is Reason.NO_CAPACITY

    with tail.reader(EVERYTHING):
        pass


async def test_a_waiting_reader_ends_when_the_monitor_stops() -> None:
    tail = Tail(newest=0)
    with tail.reader(EVERYTHING) as reader:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(_failure(reader.records().__anext__()))
            await asyncio.sleep(0)
            tail.close()

        assert waiting.result() is Reason.UNAVAILABLE


async def test_a_reader_gets_its_namespaces_records_and_no_others() -> None:
    tail = Tail(newest=0)
    with tail.reader(EVERYTHING) as reader:
        tail.publish([log(source=Source("other", "spy", "s-1")), log(source=ANALYST), log(source=NOBODYS), log(source=SCHEDULER)], newest=4)

        records = reader.records()

        assert [(await anext(records)).source for _ in range(2)] == [ANALYST, SCHEDULER]


async def _failure(awaitable: object) -> Reason:
    with pytest.raises(ParadeError) as raised:
        await awaitable  # type: ignore[misc]
    return raised.value.reason
