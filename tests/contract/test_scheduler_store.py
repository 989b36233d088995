"""What the scheduler's store promises, on every database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from parade.wire.errors import Reason, Violation
from parade.wire.log import Log
from parade_chassis.clock import SystemClock
from parade_chassis.ownership import Ownership
from parade_chassis.store import Database
from parade_scheduler.decider import Decisions, Execution, Recovered, TaskProgressed
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Failure, Progress, Run, RunState, Workflow
from parade_scheduler.store import Changes, RunFilter, Store
from parade_scheduler.tables import METADATA
from tests.unit.scheduler.simulation import Simulation

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
WORKFLOW = Workflow("default", "report", 0, "a" * 64, "described", "name: report\n# größe ✓\n", NOW)
RUN = Run("run-1", "default", "report", 1, Document(b'{"a": "\\u0000"}'), NOW)
LOG = Log()

FLOW = {
    "name": "flow",
    "timeout": "1h",
    "steps": {
        "a": {"call": "x.a", "retry": {"attempts": 2, "delay": "1s"}},
        "each": {"call": "x.b", "for-each": [1, 2, 3], "max-parallel": 2},
        "last": {"call": "x.c", "needs": ["a", "each"]},
    },
    "outputs": {"all": "${{ steps.each.output }}"},
}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    yield database
    await database.close()


@pytest.fixture
async def ownership(database: Database, database_url: str) -> AsyncIterator[Ownership]:
    ownership = await Ownership.acquire(database, "scheduler", SystemClock(), LOG)
    yield ownership
    await ownership.release()


@pytest.fixture
async def store(database: Database, ownership: Ownership) -> Store:
    return Store(database, ownership)


def changes_of(run: Run, decisions: Decisions, *, new: bool = False) -> Changes:
    """Returns what the journal would write."""
    return Changes(
        new_runs={run.id: run} if new else {},
        runs={} if new or decisions.run is None else {run.id: run},
        steps={(run.id, step.id): step for step in decisions.steps},
        tasks={(run.id, task.step, task.index): task for task in decisions.tasks},
        events=[(run.id, event) for event in decisions.events],
    )


class Stored(Simulation):
    """A simulated run that remembers what is to be written."""

    def __init__(self, flow: dict[str, Any]) -> None:
        self.unwritten: list[Decisions] = []
        super().__init__(flow)

    def tell(self, occurrence: Any) -> Decisions:
        decisions = super().tell(occurrence)
        self.unwritten.append(decisions)
        return decisions

    async def write(self, store: Store) -> None:
        for decisions in self.unwritten:
            await store.write(changes_of(self.run_row, decisions, new=EventType.RUN_STARTED in [event.type for event in decisions.events]))
        self.unwritten.clear()


def facts(execution: Execution) -> dict[str, Any]:
    return {name: value for name, value in vars(execution).items() if name != "definition"}


async def reread(store: Store, run: Stored) -> Execution:
    rows = [found async for found in store.unfinished()]
    assert [row.id for row, _, _ in rows] == ["run-1"]
    return Execution(run.definition, *rows[0])


async def test_a_run_read_back_is_the_run_that_was_written_at_every_step_of_its_way(store: Store) -> None:
    run = Stored(FLOW)
    moves: list[Callable[[], object]] = [
        lambda: run.fail("a", Reason.AGENT_ERROR),
        lambda: run.succeed("each", {"x": "é\u0000"}, task=1),
        lambda: run.tell(TaskProgressed("each", 0, 1, Progress(0.25, "quarter"))),
        lambda: run.advance(1),
        lambda: run.fail("each", Reason.UNAVAILABLE, task=0),
        lambda: run.tell(Recovered()),
        lambda: run.succeed("a", None),
        lambda: run.succeed("each", [], task=2),
        lambda: run.advance(2),
        lambda: run.succeed("each", 1.5, task=0),
    ]
    await run.write(store)
    assert facts(await reread(store, run)) == facts(run.execution)

    for move in moves:
        move()
        await run.write(store)
        assert facts(await reread(store, run)) == facts(run.execution)
    run.succeed("last", "done")
    await run.write(store)

    assert [found async for found in store.unfinished()] == []
    assert await store.run("default", "run-1") == run.execution.run
    assert await store.brief_run("default", "run-1") == replace(run.execution.run, inputs=Document(b"{}"), outputs=None)
    assert await store.steps("run-1") == list(run.execution.steps.values())
    assert run.execution.run.state is RunState.SUCCEEDED


async def test_a_history_read_back_is_the_history_that_was_written_from_any_point(store: Store) -> None:
    run = Stored(FLOW)
    run.fail("a", Reason.AGENT_ERROR)
    run.advance(1)
    run.tell(TaskProgressed("each", 0, 1, Progress(0.25, "quarter")))
    run.succeed("a", {"big": 1})
    for task in (1, 0, 2):
        run.succeed("each", task, task=task)
    run.succeed("last", "done")

    await run.write(store)

    assert await store.events("run-1", 0, 1000) == run.events
    assert await store.events("run-1", 5, 3) == run.events[5:8]
    assert await store.events("run-1", len(run.events), 10) == []
    assert {event.type for event in run.events} >= {EventType.TASK_RETRYING, EventType.TASK_PROGRESS, EventType.RUN_SUCCEEDED}


async def test_failures_are_kept_whole(store: Store) -> None:
    failure = Failure(Reason.INVALID_ARGUMENTS, "no\u0000 ✓", (Violation("a.b", "wrong", 3),), {"step": "a"}, retryable=True)
    run = replace(
        RUN, state=RunState.FAILED, failure=failure, end_time=NOW, labels={"team": "blue"}, principal="spiffe://x", trace_parent="00-a"
    )

    await store.write(Changes(new_runs={run.id: run}))

    assert await store.run("default", "run-1") == run
    assert await store.run("other", "run-1") is None


async def test_a_write_is_whole_or_not_at_all(store: Store) -> None:
    run = Stored(FLOW)
    await run.write(store)
    run.succeed("a", 1)
    changes = changes_of(run.run_row, run.unwritten[0])
    changes.events.append(("run-1", run.events[0]))  # a sequence number that is taken

    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write(changes)

    assert len(await store.events("run-1", 0, 100)) == run.events[-1].sequence - len(run.unwritten[0].events)
    assert (await store.steps("run-1"))[0].output is None


async def test_a_workflow_gets_a_version_for_every_change(store: Store) -> None:
    first = await store.put_workflow(WORKFLOW)
    same = await store.put_workflow(replace(WORKFLOW, source="name: report  # other comment", create_time=NOW + timedelta(days=1)))
    second = await store.put_workflow(replace(WORKFLOW, hash="b" * 64))
    back = await store.put_workflow(WORKFLOW)
    elsewhere = await store.put_workflow(replace(WORKFLOW, namespace="other"))

    assert first == replace(WORKFLOW, version=1)
    assert same == first
    assert (second.version, back.version, elsewhere.version) == (2, 3, 1)
    assert await store.workflow("default", "report") == back
    assert await store.workflow("default", "report", 1) == first
    assert await store.workflow("default", "report", 9) is None
    assert await store.workflow("nowhere", "report") is None


async def test_workflows_are_listed_by_name_in_their_newest_version(store: Store) -> None:
    for name in ("b", "a", "c", "a"):
        await store.put_workflow(replace(WORKFLOW, name=name, hash=f"{name}{await count(store)}"))

    listed = await store.workflows("default", "", 10)

    assert [(workflow.name, workflow.version, workflow.source) for workflow in listed] == [("a", 2, ""), ("b", 1, ""), ("c", 1, "")]
    assert [workflow.name for workflow in await store.workflows("default", "a", 1)] == ["b"]
    assert await store.workflows("other", "", 10) == []


async def count(store: Store) -> int:
    return sum([workflow.version for workflow in await store.workflows("default", "", 100)])


async def test_runs_are_found_by_what_they_are(store: Store) -> None:
    made = [
        replace(
            RUN,
            id=f"run-{number}",
            workflow=("report", "other")[number % 2],
            state=(RunState.RUNNING, RunState.FAILED, RunState.SUCCEEDED)[number % 3],
            labels={"team": ("red", "blue")[number % 2], "number": str(number)},
            create_time=NOW + timedelta(seconds=number),
            request_id=f"request-{number}",
        )
        for number in range(6)
    ]
    await store.write(Changes(new_runs={run.id: run for run in made}))
    await store.write(Changes(new_runs={"run-x": replace(RUN, id="run-x", namespace="other")}))

    async def found(before: str = "", limit: int = 100, **wanted: Any) -> list[int]:
        return [int(run.id[4:]) for run in await store.runs(RunFilter("default", **wanted), before, limit)]

    assert await found() == [5, 4, 3, 2, 1, 0]
    assert await found("run-3", 2) == [2, 1]
    assert await found(workflow="other") == [5, 3, 1]
    assert await found(states=frozenset({RunState.RUNNING, RunState.FAILED})) == [4, 3, 1, 0]
    assert await found(labels=frozenset({("team", "red")})) == [4, 2, 0]
    assert await found(labels=frozenset({("team", "red"), ("number", "2")})) == [2]
    assert await found(labels=frozenset({("team", "re_")})) == []
    assert await store.run_of_request("default", "request-3") == made[3]
    assert await store.run_of_request("other", "request-3") is None


async def test_runs_are_found_by_when_they_were_started(store: Store) -> None:
    made = [replace(RUN, id=f"run-{number}", create_time=NOW + timedelta(seconds=number)) for number in range(4)]
    await store.write(Changes(new_runs={run.id: run for run in made}))

    found = await store.runs(RunFilter("default", since=NOW + timedelta(seconds=1), before=NOW + timedelta(seconds=3)), "", 10)

    assert [run.id for run in found] == ["run-2", "run-1"]


async def test_more_unfinished_runs_than_are_read_at_once_are_all_found(store: Store) -> None:
    made = [replace(RUN, id=f"run-{number:03}") for number in range(120)]
    await store.write(Changes(new_runs={run.id: run for run in made}))

    assert [run async for run, _, _ in store.unfinished()] == made


async def test_a_second_owner_waits_until_the_first_gives_up(database_url: str, ownership: Ownership) -> None:
    other = await Database.open(database_url, "parade_scheduler", METADATA)
    waiting = asyncio.create_task(Ownership.acquire(other, "scheduler", SystemClock(), LOG))

    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await ownership.release()

    async with asyncio.timeout(5):
        second = await waiting
    async with second.transaction() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await second.release()
    await other.close()


async def test_an_owner_that_lost_its_session_can_write_no_more(database: Database, store: Store, ownership: Ownership) -> None:
    if database.is_sqlite:
        pytest.skip("a file's lock is lost with the process only")
    everybody_else = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with database.transaction() as connection:
        await connection.execute(everybody_else)

    with pytest.raises(SQLAlchemyError):
        await store.write(Changes(new_runs={"run-1": RUN}))

    other = await Ownership.acquire(database, "scheduler", SystemClock(), LOG)
    await other.release()
