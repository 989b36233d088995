"""What people ask about runs: one run, lists of them, their steps and histories. Any replica can answer, whoever leads the run."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Run, RunEvent, RunState, Step
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.entries import Entry, Fold, events_of
from parade_scheduler.storage.records import micros_of
from parade_scheduler.storage.rows import input_term, label_term, run_of
from parade_scheduler.storage.tables import ENTRIES, RUNS, TERMS

_PAGE: Final = 50
"""How many entries of a history are read at once, at most."""
_LAST_SEQUENCE: Final = func.coalesce(
    select(func.max(ENTRIES.c.last_sequence)).where(ENTRIES.c.run == RUNS.c.id).scalar_subquery(), RUNS.c.last_sequence
).label("last_sequence")
BRIEF: Final = [column for column in RUNS.c if column.name not in ("inputs", "outputs", "last_sequence")] + [_LAST_SEQUENCE]
WHOLE: Final = [*BRIEF, RUNS.c.inputs, RUNS.c.outputs]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted: those that are all of it."""

    namespace: str
    workflow: str = ""
    states: frozenset[RunState] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    since: datetime | None = None
    before: datetime | None = None
    inputs: frozenset[tuple[str, str]] = frozenset()
    """Names of inputs and their values: a text as it is, a number or a truth value as in JSON."""


class Runs(Connected):
    """The runs, for reading."""

    async def run(self, namespace: str, id: str) -> Run | None:
        """Returns a run with its inputs and outputs."""
        return await self._one_run(WHOLE, RUNS.c.namespace == namespace, RUNS.c.id == id)

    async def brief_run(self, namespace: str, id: str) -> Run | None:
        """Returns a run without its inputs and outputs."""
        return await self._one_run(BRIEF, RUNS.c.namespace == namespace, RUNS.c.id == id)

    async def run_of_request(self, namespace: str, request_id: str) -> Run | None:
        """Returns the run that a request has started."""
        return await self._one_run(WHOLE, RUNS.c.namespace == namespace, RUNS.c.request_id == request_id)

    async def runs(self, wanted: RunFilter, before_id: str, limit: int) -> list[Run]:
        """Returns runs, newest first, from the one before `before_id` on where that is given, without inputs and outputs."""
        states: list[RunState | None] = [*sorted(wanted.states)] or [None]
        queries = [_listed(wanted, state).limit(limit) for state in states]
        if before_id:
            queries = [query.where(RUNS.c.id < before_id) for query in queries]
        async with self._reading() as connection:
            found = [run_of(row) for query in queries for row in await connection.execute(query)]
        return sorted(found, key=lambda run: run.id, reverse=True)[:limit]

    async def steps(self, run: str) -> list[Step]:
        """Returns a run's steps in the order of the definition."""
        async with self._reading() as connection:
            return (await folds(connection, [run]))[run].steps()

    async def events(self, run: str, after: int, limit: int) -> list[RunEvent]:
        """Returns a run's history from after a sequence number on, with the outputs that it tells of."""
        events: list[RunEvent] = []
        page = min(limit, _PAGE)
        async with self._reading() as connection:
            outputs: Document | None = None
            reached, more = after, True
            while more and len(events) < limit:
                query = select(ENTRIES.c.last_sequence, ENTRIES.c.facts, ENTRIES.c.documents)
                query = query.where(ENTRIES.c.run == run, ENTRIES.c.last_sequence > reached)
                rows = list(await connection.execute(query.order_by(ENTRIES.c.last_sequence, ENTRIES.c.number).limit(page)))
                for row in rows:
                    events += [event for event in events_of(row.facts, row.documents) if event.sequence > after]
                    reached = row.last_sequence
                more = len(rows) == page
            events = events[:limit]
            if any(event.type is EventType.RUN_SUCCEEDED for event in events):
                data = (await connection.execute(select(RUNS.c.outputs).where(RUNS.c.id == run))).scalar_one()
                outputs = None if data is None else Document(data)
        return [replace(event, output=outputs) if event.type is EventType.RUN_SUCCEEDED else event for event in events]

    async def _one_run(self, columns: list[Any], *conditions: Any) -> Run | None:
        async with self._reading() as connection:
            row = (await connection.execute(select(*columns).where(*conditions))).one_or_none()
            return None if row is None else run_of(row)


def _listed(wanted: RunFilter, state: RunState | None) -> Any:
    """Returns what asks for runs, newest first. One state at a time, so that an index gives the runs of each in this order."""
    terms = [label_term(key, value) for key, value in sorted(wanted.labels)]
    terms += [input_term(name, value) for name, value in sorted(wanted.inputs)]
    query: Any = select(*BRIEF)
    order: Any = RUNS.c.id
    for term in terms:
        found = TERMS.alias()
        query = query.join(found, found.c.run == RUNS.c.id).where(found.c.namespace == wanted.namespace, found.c.term == term)
        order = found.c.run
    if not terms:  # those of a term are of its namespace, and SQLite is not to look through the others
        query = query.where(RUNS.c.namespace == wanted.namespace)
    if wanted.workflow:
        query = query.where(RUNS.c.workflow == wanted.workflow)
    if state is not None:
        query = query.where(RUNS.c.state == state.value)
    if wanted.since is not None:
        query = query.where(RUNS.c.created >= micros_of(wanted.since))
    if wanted.before is not None:
        query = query.where(RUNS.c.created < micros_of(wanted.before))
    return query.order_by(order.desc())


async def folds(connection: AsyncConnection, runs: list[str]) -> dict[str, Fold]:
    """Puts runs together from their entries."""
    result = {run: Fold() for run in runs}
    if not runs:
        return result
    query = select(ENTRIES).where(ENTRIES.c.run.in_(runs)).order_by(ENTRIES.c.run, ENTRIES.c.last_sequence, ENTRIES.c.number)
    for row in await connection.execute(query):
        result[row.run].add(_entry(row))
    return result


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.number, row.last_sequence, row.facts, row.documents)
