"""The queries over the monitor's tables; each method is one transaction."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, delete, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import EVERYWHERE
from parade_chassis.store import Database, insert_into
from parade_monitor.model import LogFilter, LogRecord, Point, Position, Record, Severity, Source, Span, SpanStatus
from parade_monitor.tables import LOG, METRIC, SPAN

QUESTIONS_AT_ONCE = 2
"""Queries at once. The rest wait, so that connections are left for writing and deleting."""
QUESTION_WAIT = 10.0
"""Seconds that a query waits for its turn."""

AGES: dict[Table, ColumnElement[int]] = {LOG: LOG.c.time, SPAN: SPAN.c.start_time, METRIC: METRIC.c.time}
"""The column of each table that says how old a row is."""


class Store:
    """Log records, spans and metric points in a database.

    Every method raises UNAVAILABLE where the database does not do what it should, and a query NO_CAPACITY where too many are under way.
    """

    def __init__(self, database: Database) -> None:
        """Takes the database."""
        self._database = database
        self._new_spans = insert_into(SPAN, database.engine).on_conflict_do_nothing()
        self._position_of = func.instr if database.is_sqlite else func.strpos
        self._turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def append(self, records: Sequence[Record]) -> int:
        """Adds records, in one transaction; a span that is there already is left as it is.

        Returns:
            The id of the newest log record; 0 where there is none.
        """
        logs = [_log_row(record) for record in records if isinstance(record, LogRecord)]
        spans = [_span_row(record) for record in records if isinstance(record, Span)]
        points = [_point_row(record) for record in records if isinstance(record, Point)]
        with _faults():
            async with self._database.transaction() as connection:
                if logs:
                    await connection.execute(LOG.insert(), logs)
                if spans:
                    await connection.execute(self._new_spans, spans)
                if points:
                    await connection.execute(METRIC.insert(), points)
                return await _newest(connection, LOG)

    async def newest_log(self) -> int:
        """Returns the id of the newest log record; 0 where there is none."""
        async with self._question() as connection:
            return await _newest(connection, LOG)

    async def logs(
        self, wanted: LogFilter, limit: int, *, before: Position | None = None, up_to: int | None = None
    ) -> list[tuple[Position, LogRecord]]:
        """Returns log records with their places, newest first.

        Args:
            wanted: Which.
            limit: How many at most.
            before: Only those that come after this place, that is, older ones.
            up_to: Only those with this id or a lower one: those that had arrived by then.
        """
        statement = select(LOG).where(*self._conditions(wanted)).order_by(LOG.c.time.desc(), LOG.c.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(tuple_(LOG.c.time, LOG.c.id) < tuple_(before.time, before.id))
        if up_to is not None:
            statement = statement.where(LOG.c.id <= up_to)
        async with self._question() as connection:
            return [(Position(row.time, row.id), _log(row)) for row in await connection.execute(statement)]

    async def trace(self, namespace: str, trace_id: str, most_bytes: int) -> list[Span]:
        """Returns the spans of a trace by start; it stops with the first one beyond `most_bytes` altogether.

        Args:
            namespace: Whose spans; `EVERYWHERE` for those of all namespaces, and of none.
            trace_id: The trace.
            most_bytes: Where it stops.
        """
        statement: Select[Any] = select(SPAN).where(SPAN.c.trace_id == trace_id).order_by(SPAN.c.start_time, SPAN.c.id)
        if namespace != EVERYWHERE:
            statement = statement.where(SPAN.c.namespace == namespace)
        spans: list[Span] = []
        size = 0
        async with self._question() as connection, connection.stream(statement) as rows:
            async for row in rows:
                spans.append(_span(row))
                size += spans[-1].size
                if size > most_bytes:
                    break
        return spans

    async def delete_old(self, table: Table, before: int, most_rows: int, limit: int) -> int:
        """Deletes rows that are older than a time, and the oldest ones beyond a number of rows.

        Args:
            table: Which of `AGES`.
            before: The time.
            most_rows: How many of the newest ids are kept. Ids have few gaps, so nothing needs to be counted.
            limit: How many rows to delete at most, for each of the two causes.

        Returns:
            How many were deleted.
        """
        with _faults():
            async with self._database.transaction() as connection:
                newest = await _newest(connection, table)
                aged = select(table.c.id).where(AGES[table] < before).limit(limit)
                surplus = select(table.c.id).where(table.c.id <= newest - most_rows).order_by(table.c.id).limit(limit)
                counts = [(await connection.execute(delete(table).where(table.c.id.in_(found)))).rowcount for found in (aged, surplus)]
        return sum(counts)

    def _conditions(self, wanted: LogFilter) -> Iterator[ColumnElement[bool]]:
        if wanted.namespace != EVERYWHERE:
            yield LOG.c.namespace == wanted.namespace
        if wanted.service:
            yield LOG.c.service == wanted.service
        if wanted.instance_id:
            yield LOG.c.instance_id == wanted.instance_id
        if wanted.severity > Severity.DEBUG:
            yield LOG.c.severity >= int(wanted.severity)
        if wanted.trace_id:
            yield LOG.c.trace_id == wanted.trace_id
        if wanted.run_id:
            yield LOG.c.run_id == wanted.run_id
        if wanted.contains:
            yield self._position_of(LOG.c.event, wanted.contains) > 0
        if wanted.start_time is not None:
            yield LOG.c.time >= wanted.start_time
        if wanted.end_time is not None:
            yield LOG.c.time < wanted.end_time

    @asynccontextmanager
    async def _question(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(QUESTION_WAIT):
                await self._turns.acquire()
        except TimeoutError as error:
            raise ParadeError(Reason.NO_CAPACITY, "too many questions to the monitor are under way; ask again") from error
        try:
            with _faults():
                async with self._database.reading() as connection:
                    yield connection
        finally:
            self._turns.release()


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise ParadeError(Reason.UNAVAILABLE, f"the monitor's database fails: {type(error).__name__}") from error


async def _newest(connection: AsyncConnection, table: Table) -> int:
    return (await connection.execute(select(func.max(table.c.id)))).scalar() or 0


def _source_row(source: Source) -> dict[str, Any]:
    return {"namespace": source.namespace, "service": source.service, "instance_id": source.instance_id}


def _log_row(record: LogRecord) -> dict[str, Any]:
    return {
        **_source_row(record.source),
        "time": record.time,
        "severity": int(record.severity),
        "event": record.event,
        "fields": record.fields,
        "trace_id": record.trace_id or None,
        "span_id": record.span_id or None,
        "run_id": record.run_id or None,
    }


def _span_row(span: Span) -> dict[str, Any]:
    return {
        **_source_row(span.source),
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "status": int(span.status),
        "status_message": span.status_message,
        "attributes": span.attributes,
    }


def _point_row(point: Point) -> dict[str, Any]:
    return {
        **_source_row(point.source),
        "time": point.time,
        "start_time": point.start_time,
        "name": point.name,
        "unit": point.unit,
        "kind": point.kind.value,
        "temporality": int(point.temporality),
        "attributes": point.attributes,
        "value": point.value,
        "count": point.count,
        "sum": point.sum,
        "min": point.min,
        "max": point.max,
        "buckets": point.buckets,
    }


def _log(row: Row[Any]) -> LogRecord:
    return LogRecord(
        time=row.time,
        severity=Severity(row.severity),
        source=Source(row.namespace, row.service, row.instance_id),
        event=row.event,
        fields=row.fields,
        trace_id=row.trace_id or "",
        span_id=row.span_id or "",
        run_id=row.run_id or "",
    )


def _span(row: Row[Any]) -> Span:
    return Span(
        trace_id=row.trace_id,
        span_id=row.span_id,
        parent_span_id=row.parent_span_id,
        source=Source(row.namespace, row.service, row.instance_id),
        name=row.name,
        start_time=row.start_time,
        end_time=row.end_time,
        status=SpanStatus(row.status),
        status_message=row.status_message,
        attributes=row.attributes,
    )
