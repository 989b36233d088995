"""What survives a restart: workflows, runs and their histories. Each method is one transaction; none decides anything."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Table, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade_chassis.ownership import Ownership
from parade_chassis.store import Database
from parade_scheduler import records
from parade_scheduler.document import Document
from parade_scheduler.model import RUN_ENDED, EventType, Run, RunEvent, RunState, Step, Task, TaskState, Workflow
from parade_scheduler.tables import EVENTS, LABELS, RUNS, STEPS, TASKS, WORKFLOWS

_CHUNK: Final = 50
"""How many unfinished runs are read at once."""
_UNFINISHED: Final = sorted(state.value for state in RunState if state not in RUN_ENDED)
_BRIEF: Final = [column for column in RUNS.c if column.name not in ("inputs", "outputs")]
_RUN_CHANGES: Final = ("state", "outputs", "failure", "deadline", "ended", "last_sequence")
_STEP_CHANGES: Final = ("state", "tasks", "tasks_succeeded", "tasks_failed", "attempts", "failure", "started", "ended")


@dataclass(slots=True)
class Changes:
    """What one transaction writes: for each row the newest form."""

    new_runs: dict[str, Run] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    """Runs that changed and are not new."""
    steps: dict[tuple[str, str], Step] = field(default_factory=dict)
    """By run and id."""
    tasks: dict[tuple[str, str, int], Task] = field(default_factory=dict)
    """By run, step and index."""
    events: list[tuple[str, RunEvent]] = field(default_factory=list)
    """With their runs."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted."""

    namespace: str
    workflow: str = ""
    states: frozenset[RunState] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    since: datetime | None = None
    before: datetime | None = None


class Store:
    """The scheduler's database. One that cannot be reached is UNAVAILABLE to those who ask; to the journal it is the end of the process."""

    def __init__(self, database: Database, ownership: Ownership) -> None:
        """Takes the database, and the right to write runs into it."""
        self._database = database
        self._ownership = ownership
        self._upsert_task = _upsert(database, TASKS)

    async def put_workflow(self, workflow: Workflow) -> Workflow:
        """Stores a definition as the next version of its name, whatever version it says, or returns the newest where that is the same."""
        async with self._reachable(), self._database.transaction() as connection:
            newest = _newest(workflow.namespace, workflow.name).with_for_update()
            row = (await connection.execute(newest)).one_or_none()
            if row is not None and row.hash == workflow.hash:
                return records.workflow_of(row)
            stored = replace(workflow, version=1 if row is None else row.version + 1)
            await connection.execute(insert(WORKFLOWS).values(records.workflow_row(stored)))
            return stored

    async def workflow(self, namespace: str, name: str, version: int = 0) -> Workflow | None:
        """Returns a version of a workflow, the newest where 0."""
        query = _newest(namespace, name)
        async with self._reading() as connection:
            row = (await connection.execute(query.where(WORKFLOWS.c.version == version) if version else query)).one_or_none()
            return None if row is None else records.workflow_of(row)

    async def workflows(self, namespace: str, after: str, limit: int) -> list[Workflow]:
        """Returns the newest versions by name, from the one after `after` on, without their sources."""
        newest = (
            select(WORKFLOWS.c.name, func.max(WORKFLOWS.c.version).label("version"))
            .where(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name > after)
            .group_by(WORKFLOWS.c.name)
            .order_by(WORKFLOWS.c.name)
            .limit(limit)
            .subquery()
        )
        matches = and_(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name == newest.c.name, WORKFLOWS.c.version == newest.c.version)
        query = select(WORKFLOWS).join(newest, matches).order_by(WORKFLOWS.c.name)
        async with self._reading() as connection:
            return [replace(records.workflow_of(row), source="") for row in await connection.execute(query)]

    async def write(self, changes: Changes) -> None:
        """Writes everything or nothing. What goes wrong is raised as it is: nobody knows then what was written."""
        async with self._ownership.transaction() as connection:
            if changes.new_runs:
                await connection.execute(insert(RUNS), [records.run_row(run) for run in changes.new_runs.values()])
                labels = [
                    {"run": run.id, "label": f"{key}={value}"} for run in changes.new_runs.values() for key, value in run.labels.items()
                ]
                if labels:
                    await connection.execute(insert(LABELS), labels)
            await _update(connection, RUNS, [RUNS.c.id], [records.run_row(run) for run in changes.runs.values()], _RUN_CHANGES)
            await self._write_steps(connection, changes)
            if changes.tasks:
                await connection.execute(self._upsert_task, [records.task_row(run, task) for (run, _, _), task in changes.tasks.items()])
            if changes.events:
                await connection.execute(insert(EVENTS), [records.event_row(run, event) for run, event in changes.events])

    async def _write_steps(self, connection: AsyncConnection, changes: Changes) -> None:
        rows = {key: records.step_row(key[0], step) for key, step in changes.steps.items()}
        new = [row for (run, _), row in rows.items() if run in changes.new_runs]
        if new:
            await connection.execute(insert(STEPS), new)
        known = {key: row for key, row in rows.items() if key[0] not in changes.new_runs}
        await _update(connection, STEPS, [STEPS.c.run, STEPS.c.id], list(known.values()), _STEP_CHANGES)
        # Items are written once: rewriting a long list with every task that ends would cost its square.
        begun = {(run, event.step) for run, event in changes.events if event.type is EventType.STEP_STARTED}
        with_items = [row for key, row in known.items() if key in begun and row["items"] is not None]
        await _update(connection, STEPS, [STEPS.c.run, STEPS.c.id], with_items, ("items",))

    async def run(self, namespace: str, id: str) -> Run | None:
        """Returns a run with its inputs and outputs."""
        return await self._one_run(RUNS.c.namespace == namespace, RUNS.c.id == id)

    async def brief_run(self, namespace: str, id: str) -> Run | None:
        """Returns a run without its inputs and outputs."""
        async with self._reading() as connection:
            row = (await connection.execute(select(*_BRIEF).where(RUNS.c.namespace == namespace, RUNS.c.id == id))).one_or_none()
            return None if row is None else records.run_of(row)

    async def run_of_request(self, namespace: str, request_id: str) -> Run | None:
        """Returns the run that a request has started."""
        return await self._one_run(RUNS.c.namespace == namespace, RUNS.c.request_id == request_id)

    async def runs(self, wanted: RunFilter, before_id: str, limit: int) -> list[Run]:
        """Returns runs, newest first, from the one before `before_id` on where that is given, without inputs and outputs."""
        query = select(*_BRIEF).where(RUNS.c.namespace == wanted.namespace)
        if wanted.workflow:
            query = query.where(RUNS.c.workflow == wanted.workflow)
        if wanted.states:
            query = query.where(RUNS.c.state.in_(sorted(wanted.states)))
        for key, value in sorted(wanted.labels):
            query = query.where(exists().where(LABELS.c.run == RUNS.c.id, LABELS.c.label == f"{key}={value}"))
        if wanted.since is not None:
            query = query.where(RUNS.c.created >= records.to_micros(wanted.since))
        if wanted.before is not None:
            query = query.where(RUNS.c.created < records.to_micros(wanted.before))
        if before_id:
            query = query.where(RUNS.c.id < before_id)
        async with self._reading() as connection:
            return [records.run_of(row) for row in await connection.execute(query.order_by(RUNS.c.id.desc()).limit(limit))]

    async def steps(self, run: str) -> list[Step]:
        """Returns a run's steps in the order of the definition."""
        async with self._reading() as connection:
            return (await _steps(connection, [run])).get(run, [])

    async def unfinished(self) -> AsyncIterator[tuple[Run, list[Step], list[Task]]]:
        """Yields every run that has not ended, with all that it is made of."""
        after = ""
        while True:
            async with self._reading() as connection:
                query = select(RUNS).where(RUNS.c.state.in_(_UNFINISHED), RUNS.c.id > after).order_by(RUNS.c.id).limit(_CHUNK)
                runs = [records.run_of(row) for row in await connection.execute(query)]
                ids = [run.id for run in runs]
                steps = await _steps(connection, ids)
                tasks: dict[str, list[Task]] = {id: [] for id in ids}
                for row in await connection.execute(select(TASKS).where(TASKS.c.run.in_(ids))):
                    tasks[row.run].append(records.task_of(row))
            for run in runs:
                yield run, steps[run.id], tasks[run.id]
            if len(runs) < _CHUNK:
                return
            after = ids[-1]

    async def events(self, run: str, after: int, limit: int) -> list[RunEvent]:
        """Returns a run's history from after a sequence number on, with the outputs that it tells of."""
        query = select(EVENTS).where(EVENTS.c.run == run, EVENTS.c.sequence > after).order_by(EVENTS.c.sequence).limit(limit)
        async with self._reading() as connection:
            rows = list(await connection.execute(query))
            of_tasks = {(row.step, row.task) for row in rows if row.type == EventType.TASK_SUCCEEDED}
            of_steps = sorted({row.step for row in rows if row.type == EventType.STEP_SUCCEEDED})
            outputs = await _task_outputs(connection, run, of_tasks)
            steps = {step.id: step.output for step in (await _steps(connection, [run], of_steps)).get(run, [])} if of_steps else {}
            run_outputs = None
            if any(row.type == EventType.RUN_SUCCEEDED for row in rows):
                data = (await connection.execute(select(RUNS.c.outputs).where(RUNS.c.id == run))).scalar_one()
                run_outputs = None if data is None else Document(data)
        result: list[RunEvent] = []
        for row in rows:
            match row.type:
                case EventType.TASK_SUCCEEDED:
                    output = outputs.get((row.step, row.task))
                case EventType.STEP_SUCCEEDED:
                    output = steps.get(row.step)
                case EventType.RUN_SUCCEEDED:
                    output = run_outputs
                case _:
                    output = None
            result.append(records.event_of(row, output))
        return result

    async def _one_run(self, *conditions: Any) -> Run | None:
        async with self._reading() as connection:
            row = (await connection.execute(select(RUNS).where(*conditions))).one_or_none()
            return None if row is None else records.run_of(row)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._reachable(), self._database.reading() as connection:
            yield connection

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
            raise ParadeError(Reason.UNAVAILABLE, "the scheduler's database cannot be reached") from error


def _newest(namespace: str, name: str) -> Any:
    query = select(WORKFLOWS).where(WORKFLOWS.c.namespace == namespace, WORKFLOWS.c.name == name)
    return query.order_by(WORKFLOWS.c.version.desc()).limit(1)


def _upsert(database: Database, table: Table) -> Any:
    dialect = sqlite if database.is_sqlite else postgresql
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changes = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


async def _update(
    connection: AsyncConnection, table: Table, keys: Sequence[Column[Any]], rows: list[dict[str, Any]], names: Iterable[str]
) -> None:
    if not rows:
        return
    statement = (
        update(table)
        .where(*(key == bindparam(f"key_{key.name}") for key in keys))
        .values({name: bindparam(f"new_{name}") for name in names})
    )
    parameters = [{**{f"key_{key.name}": row[key.name] for key in keys}, **{f"new_{name}": row[name] for name in names}} for row in rows]
    await connection.execute(statement, parameters)


async def _steps(connection: AsyncConnection, runs: Sequence[str], only: Sequence[str] | None = None) -> dict[str, list[Step]]:
    """Returns the steps of runs, with their outputs put together from their tasks."""
    query: Any = select(STEPS).where(STEPS.c.run.in_(runs)).order_by(STEPS.c.position)
    tasks: Any = select(TASKS.c.run, TASKS.c.step, TASKS.c.output).where(TASKS.c.run.in_(runs), TASKS.c.state == TaskState.SUCCEEDED.value)
    if only is not None:
        query, tasks = query.where(STEPS.c.id.in_(only)), tasks.where(TASKS.c.step.in_(only))
    outputs: dict[tuple[str, str], list[Document]] = {}
    for row in await connection.execute(tasks.order_by(TASKS.c.index)):
        outputs.setdefault((row.run, row.step), []).append(Document(row.output))
    result: dict[str, list[Step]] = {run: [] for run in runs}
    for row in await connection.execute(query):
        result[row.run].append(records.step_of(row, outputs.get((row.run, row.id), [])))
    return result


async def _task_outputs(connection: AsyncConnection, run: str, tasks: set[tuple[str, int]]) -> dict[tuple[str, int], Document]:
    """Returns the outputs of tasks; those of whole steps are read elsewhere."""
    if not tasks:
        return {}
    by_step: dict[str, list[int]] = {}
    for step, index in sorted(tasks):
        by_step.setdefault(step, []).append(index)
    wanted = or_(*(and_(TASKS.c.step == step, TASKS.c.index.in_(indexes)) for step, indexes in by_step.items()))
    query = select(TASKS.c.step, TASKS.c.index, TASKS.c.output).where(TASKS.c.run == run, wanted)
    return {(step, index): Document(output) for step, index, output in await connection.execute(query) if output is not None}
