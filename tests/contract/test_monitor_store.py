from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select, text

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import EVERYWHERE
from parade_chassis.store import Database
from parade_monitor.model import LogFilter, LogRecord, MetricKind, Position, Severity, Source, Span
from parade_monitor.store import AGES, Store
from parade_monitor.tables import LOG, METADATA, METRIC, SPAN
from tests.unit.monitor.records import NOBODYS, SCHEDULER, SECOND, START, TRACE, log, point, span

EVERYTHING = LogFilter("default")
OTHER = Source("other", "analyst", "a-1")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(database_url, "parade_monitor", METADATA)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


async def rows(database: Database, table: Table) -> int:
    async with database.reading() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


def records(found: Iterable[tuple[Position, LogRecord]]) -> list[LogRecord]:
    return [record for _, record in found]


async def test_log_records_come_back_as_they_were_the_newest_first(store: Store) -> None:
    whole = log(trace_id=TRACE, span_id="b7ad6b7169203331", run_id="run-1", event="gelesen: ä€😀", fields='{"a":"\\u0000"}')
    older, newer = log(time=START - 1), log(time=START + 1)

    await store.append([older, whole, newer])

    assert records(await store.logs(EVERYTHING, 10)) == [newer, whole, older]


async def test_records_of_one_time_are_in_the_order_of_their_arrival(store: Store) -> None:
    await store.append([log(event=f"{number}") for number in range(5)])

    assert [record.event for record in records(await store.logs(EVERYTHING, 3))] == ["4", "3", "2"]


LOGS = [
    log(time=START + 1, event="lease lost", source=SCHEDULER, severity=Severity.WARNING),
    log(time=START + 2, event="lease found", trace_id=TRACE, severity=Severity.DEBUG),
    log(time=START + 3, event="LEASE 100%_", run_id="run-1", severity=Severity.ERROR, source=Source("default", "analyst", "a-2")),
    log(time=START + 4, event="other's", source=OTHER, trace_id=TRACE, run_id="run-1"),
    log(time=START + 5, event="replica's", source=NOBODYS),
]
FILTERS: dict[str, tuple[LogFilter, list[int]]] = {
    "nothing": (LogFilter("default"), [2, 1, 0]),
    "another namespace": (LogFilter("other"), [3]),
    "all namespaces": (LogFilter(EVERYWHERE), [4, 3, 2, 1, 0]),
    "no namespace": (LogFilter(""), [4]),
    "service": (LogFilter("default", service="analyst"), [2, 1]),
    "instance": (LogFilter("default", instance_id="a-2"), [2]),
    "severity": (LogFilter("default", severity=Severity.WARNING), [2, 0]),
    "trace": (LogFilter("default", trace_id=TRACE), [1]),
    "run": (LogFilter("default", run_id="run-1"), [2]),
    "text": (LogFilter("default", contains="lease"), [1, 0]),
    "text with wildcards": (LogFilter("default", contains="%_"), [2]),
    "absent text": (LogFilter("default", contains="l%t"), []),
    "start": (LogFilter("default", start_time=START + 2), [2, 1]),
    "end": (LogFilter("default", end_time=START + 2), [0]),
    "several": (LogFilter("default", service="analyst", severity=Severity.INFO, start_time=START, end_time=START + 9), [2]),
}


@pytest.mark.parametrize(("wanted", "expected"), FILTERS.values(), ids=FILTERS.keys())
async def test_a_query_finds_what_the_filter_means_and_a_reader_would_get(store: Store, wanted: LogFilter, expected: list[int]) -> None:
    await store.append(LOGS)

    found = records(await store.logs(wanted, 10))

    assert found == [LOGS[number] for number in expected]
    assert found == [record for record in reversed(LOGS) if wanted.matches(record)]


async def test_pages_neither_repeat_nor_leave_out_while_records_arrive(store: Store) -> None:
    await store.append([log(time=START + number // 3, event=f"{number}") for number in range(10)])

    first = await store.logs(EVERYTHING, 4)
    await store.append([log(time=START + 100, event="arrived in between"), log(time=START + 3, event="late, but of the first page's time")])
    second = await store.logs(EVERYTHING, 4, before=first[-1][0])
    third = await store.logs(EVERYTHING, 4, before=second[-1][0])

    assert [record.event for record in records([*first, *second, *third])] == [f"{number}" for number in range(9, -1, -1)]


async def test_history_ends_where_the_reader_began(store: Store) -> None:
    since = await store.append([log(event="before")])
    await store.append([log(event="after")])

    assert [record.event for record in records(await store.logs(EVERYTHING, 10, up_to=since))] == ["before"]
    assert await store.newest_log() > since


async def test_an_empty_store_has_no_newest_record(store: Store) -> None:
    assert await store.newest_log() == 0
    assert await store.append([span()]) == 0


async def test_an_id_is_never_given_twice_even_where_every_record_was_deleted(store: Store) -> None:
    newest = await store.append([log(), log()])

    await store.delete_old(LOG, START + SECOND, 1000, 10)

    assert await store.append([log()]) > newest


async def test_a_trace_is_by_start_and_without_the_spans_of_other_namespaces(store: Store) -> None:
    child = span(span_id="02" * 8, parent_span_id="01" * 8, start_time=START + 2, status_message="ä")
    parent = span(span_id="01" * 8, source=SCHEDULER, start_time=START + 1, attributes='{"a":1}')
    foreign = span(span_id="03" * 8, source=OTHER, start_time=START + 3)
    nobodys = span(span_id="04" * 8, source=NOBODYS, start_time=START + 4)
    elsewhere = span(trace_id="f" * 32)

    await store.append([child, foreign, nobodys, elsewhere, parent])

    assert await store.trace("default", TRACE, 10_000) == [parent, child]
    assert await store.trace("other", TRACE, 10_000) == [foreign]
    assert await store.trace(EVERYWHERE, TRACE, 10_000) == [parent, child, foreign, nobodys]


async def test_a_trace_stops_with_the_first_span_beyond_the_bound(store: Store) -> None:
    spans = [span(span_id=f"{number:016x}", start_time=START + number) for number in range(1, 6)]
    await store.append(spans)

    assert await store.trace("default", TRACE, spans[0].size * 2) == spans[:3]


async def test_a_span_that_is_sent_again_is_kept_once(database: Database, store: Store) -> None:
    await store.append([span(), span()])
    await store.append([span(), span(source=OTHER)])

    assert await rows(database, SPAN) == 2


async def test_metric_points_are_kept(database: Database, store: Store) -> None:
    histogram = point(kind=MetricKind.HISTOGRAM, value=None, count=3, sum=6.0, min=1.0, max=3.0, buckets='{"bounds":[2],"counts":[1,2]}')

    await store.append([point(value=float("inf")), histogram])

    async with database.reading() as connection:
        columns = (METRIC.c.kind, METRIC.c.value, METRIC.c.count, METRIC.c.sum, METRIC.c.min, METRIC.c.max, METRIC.c.buckets)
        gauge, kept = map(tuple, await connection.execute(select(*columns).order_by(METRIC.c.id)))
    assert gauge == ("gauge", float("inf"), None, None, None, None, None)
    assert kept == ("histogram", None, 3, 6.0, 1.0, 3.0, histogram.buckets)


@pytest.mark.parametrize("table", AGES, ids=lambda table: table.name)
async def test_rows_that_are_old_are_deleted_a_batch_at_a_time(database: Database, store: Store, table: Table) -> None:
    for number in range(5):
        time = START - SECOND if number < 4 else START
        await store.append([log(time=time), span(span_id=f"{number + 1:016x}", start_time=time), point(time=time)])

    deleted = [await store.delete_old(table, START, 1000, 3) for _ in range(3)]

    assert deleted == [3, 1, 0]
    assert await rows(database, table) == 1


@pytest.mark.parametrize("table", AGES, ids=lambda table: table.name)
async def test_of_too_many_rows_the_oldest_are_deleted(database: Database, store: Store, table: Table) -> None:
    for number in range(6):
        await store.append([log(), span(span_id=f"{number + 1:016x}"), point()])

    deleted = [await store.delete_old(table, 0, 2, 3) for _ in range(3)]

    assert deleted == [3, 1, 0]
    assert await rows(database, table) == 2


async def test_nothing_of_a_batch_stays_where_a_part_of_it_cannot_be_written(database: Database, store: Store) -> None:
    bad: Span = span(start_time=2**70)

    with pytest.raises((ParadeError, OverflowError)):
        await store.append([log(), bad])

    assert await rows(database, LOG) == 0


async def test_a_database_that_fails_is_said_to_be_unavailable(database: Database, store: Store) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE log"))

    for attempt in (store.append([log()]), store.logs(EVERYTHING, 1), store.delete_old(LOG, START, 1, 1)):
        with pytest.raises(ParadeError) as raised:
            await attempt
        assert raised.value.reason is Reason.UNAVAILABLE


async def test_queries_use_the_indexes_that_are_there_for_them(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"  # PostgreSQL chooses by what the tables hold
    database = await Database.open(url, "parade_monitor", METADATA)
    expected = {
        LogFilter("default"): "log_by_time",
        LogFilter("default", service="analyst"): "log_by_service",
        LogFilter("default", trace_id=TRACE): "log_by_trace",
        LogFilter("default", run_id="run-1"): "log_by_run",
    }
    for wanted, index in expected.items():
        statement = select(LOG).where(*Store(database)._conditions(wanted)).order_by(LOG.c.time.desc(), LOG.c.id.desc()).limit(1)
        compiled = statement.compile(dialect=database.engine.dialect, compile_kwargs={"render_postcompile": True})
        parameters = tuple(compiled.params[name] for name in compiled.positiontup or ())
        async with database.reading() as connection:
            steps = [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", parameters)]
        assert len(steps) == 1, steps  # a second step would sort
        assert index in steps[0]
    await database.close()
