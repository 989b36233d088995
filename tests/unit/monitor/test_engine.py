import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import ManualClock
from parade_chassis.quotas import Quotas
from parade_chassis.store import Database
from parade_monitor.engine import MAX_ANSWER_BYTES, Engine
from parade_monitor.intake import Intake
from parade_monitor.model import LogFilter, Source
from parade_monitor.rates import BURST, Rates, Rows
from parade_monitor.store import Store
from parade_monitor.tables import METADATA
from parade_monitor.tail import Tail
from tests.unit.monitor.records import START, TRACE, log, span
from tests.unit.monitor.test_intake import Said

EVERYTHING = LogFilter("default")


class Bench:
    """An engine over a real database."""

    def __init__(self, database: Database) -> None:
        self.store = Store(database)
        self.tail = Tail(newest=0)
        self.intake = Intake(self.store, self.tail, ManualClock(), Said(), lambda _: None)
        quotas = Quotas("monitor", {"narrow": Rows(rows_per_second=1)}, Rows())
        self.engine = Engine(self.store, self.intake, self.tail, Rates(quotas, ManualClock()))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    database = await Database.open(f"sqlite:///{tmp_path / 'monitor.db'}", "parade_monitor", METADATA)
    yield Bench(database)
    await database.close()


async def test_a_tail_gives_the_newest_oldest_first_and_then_what_arrives(bench: Bench) -> None:
    bench.engine.take([log(time=START + number, event=f"{number}") for number in range(5)])
    await bench.intake.flush()

    async with aclosing(bench.engine.tail_logs(EVERYTHING, 2)) as records, asyncio.timeout(5):
        history = [(await anext(records)).event for _ in range(2)]
        bench.engine.take([log(event="arrived")])
        await bench.intake.flush()
        arrived = (await anext(records)).event

    assert (history, arrived) == (["3", "4"], "arrived")


async def test_a_record_that_is_stored_but_not_yet_told_comes_to_a_new_reader_once(bench: Bench) -> None:
    newest = await bench.store.append([log(event="old")])
    bench.tail.publish([], newest)
    in_between = log(event="stored, not told")
    newest = await bench.store.append([in_between])

    async with aclosing(bench.engine.tail_logs(EVERYTHING, 10)) as records, asyncio.timeout(5):
        seen = [(await anext(records)).event]
        bench.tail.publish([in_between, log(event="end")], newest)
        seen += [(await anext(records)).event for _ in range(2)]

    assert seen == ["old", "stored, not told", "end"]


async def test_a_page_of_large_records_is_shorter_and_goes_on(bench: Bench) -> None:
    large = log(fields='"' + "x" * (MAX_ANSWER_BYTES // 4) + '"')
    await bench.store.append([large] * 5)

    first = await bench.engine.query_logs(EVERYTHING, 10, None)
    second = await bench.engine.query_logs(EVERYTHING, 10, first.next)

    assert (len(first.records), len(second.records), second.next) == (3, 2, None)


async def test_a_page_that_holds_exactly_what_there_is_is_the_last(bench: Bench) -> None:
    await bench.store.append([log(), log()])

    assert (await bench.engine.query_logs(EVERYTHING, 2, None)).next is None


async def test_a_trace_that_is_not_there_may_yet_come(bench: Bench) -> None:
    with pytest.raises(ParadeError) as raised:
        await bench.engine.trace("default", TRACE)

    assert (raised.value.reason, raised.value.retryable) == (Reason.NOT_FOUND, True)


async def test_a_trace_too_large_for_one_answer_is_refused_by_name(bench: Bench) -> None:
    large = '"' + "x" * (MAX_ANSWER_BYTES // 4) + '"'
    await bench.store.append([span(span_id=f"{number:016x}", attributes=large) for number in range(1, 6)])

    with pytest.raises(ParadeError) as raised:
        await bench.engine.trace("default", TRACE)

    assert raised.value.reason is Reason.FAILED_PRECONDITION


async def test_what_is_beyond_a_namespaces_quota_is_dropped_and_others_records_are_kept(bench: Bench) -> None:
    narrow = Source("narrow", "chatter", "c-1")

    refused = bench.engine.take([log(source=narrow, event=f"{number}") for number in range(int(BURST) + 2)] + [log(event="other's")])

    await bench.intake.flush()
    assert dict(refused) == {"more than 1 records a second of namespace narrow": 2}
    assert len(await bench.store.logs(LogFilter("narrow"), 100)) == int(BURST)
    assert [record.event for _, record in await bench.store.logs(EVERYTHING, 100)] == ["other's"]
