"""What the scheduler's store promises of runs, on every database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from parade.wire.errors import Reason, Violation
from parade_chassis.store import Database
from parade_scheduler.decider import TaskProgressed
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Failure, Progress, RunEvent, RunState, Step, StepState, Task, TaskState
from parade_scheduler.storage.store import Change, RunFilter, Store, TakenError
from parade_scheduler.storage.tables import ENTRIES, METADATA
from tests.contract.scheduler_store import NOW, RUN, new, numbered, row_counts
from tests.support.stored_simulation import StoredSimulation, facts

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
async def store(database: Database) -> AsyncIterator[Store]:
    store = Store(database)
    yield store
    await store.close()


async def test_a_run_read_back_is_the_run_that_was_written_at_every_step_of_its_way(store: Store) -> None:
    run = StoredSimulation(FLOW)
    moves: list[Callable[[], object]] = [
        lambda: run.fail("a", Reason.AGENT_ERROR),
        lambda: run.succeed("each", {"x": "é\u0000"}, task=1),
        lambda: run.tell(TaskProgressed("each", 0, 1, Progress(0.25, "quarter"))),
        lambda: run.advance(1),
        lambda: run.fail("each", Reason.UNAVAILABLE, task=0),
        run.crash,
        lambda: run.succeed("a", None),
        lambda: run.succeed("each", [], task=2),
        lambda: run.advance(2),
        lambda: run.succeed("each", 1.5, task=0),
        lambda: run.succeed("last", "done"),
    ]
    await run.write(store)
    assert facts(await run.reread(store)) == facts(run.execution)

    for move in moves:
        move()
        await run.write(store)
        assert facts(await run.reread(store)) == facts(run.execution)

    assert run.execution.run.state is RunState.SUCCEEDED
    assert await store.run("default", "run-1") == run.execution.run
    assert await store.brief_run("default", "run-1") == replace(run.execution.run, inputs=Document(b"{}"), outputs=None)
    assert await store.steps("run-1") == list(run.execution.steps.values())


async def test_a_history_read_back_is_the_history_that_was_written_from_any_point(store: Store) -> None:
    run = StoredSimulation(FLOW)
    run.fail("a", Reason.AGENT_ERROR)
    run.advance(1)
    run.tell(TaskProgressed("each", 0, 1, Progress(0.25, "quarter")))
    run.succeed("a", {"big": 1})
    for task in (1, 0, 2):
        run.succeed("each", task, task=task)
    run.succeed("last", "done")

    await run.write(store)

    assert await store.events("run-1", 0, 1000) == run.events
    for after in range(len(run.events) + 1):
        assert await store.events("run-1", after, 3) == run.events[after : after + 3]
    assert {event.type for event in run.events} >= {EventType.TASK_RETRYING, EventType.TASK_PROGRESS, EventType.RUN_SUCCEEDED}


async def test_a_history_of_many_entries_is_read_to_its_end(store: Store) -> None:
    def progressed(number: int) -> RunEvent:
        return RunEvent(number, NOW, EventType.TASK_PROGRESS, "a", progress=Progress(0.5, str(number)))

    changes = [new(replace(RUN, last_sequence=1), events=[progressed(1)])]
    for number in range(2, 130):
        changes.append(Change(replace(RUN, last_sequence=number), 2 * number - 2, events=[progressed(number)]))
        changes.append(
            Change(replace(RUN, last_sequence=number), 2 * number - 1, tasks={("a", 0): Task("a", 0, TaskState.RUNNING, 1, NOW)})
        )
    for change in changes:
        await store.write([change], None)

    assert [event.sequence for event in await store.events("run-1", 0, 1000)] == list(range(1, 130))
    assert [event.sequence for event in await store.events("run-1", 100, 20)] == list(range(101, 121))
    run = await store.brief_run("default", "run-1")
    assert run is not None
    assert run.last_sequence == 129


async def test_failures_are_kept_whole(store: Store) -> None:
    failure = Failure(Reason.INVALID_ARGUMENTS, "no\u0000 ✓", (Violation("a.b", "wrong", 3),), {"step": "a"}, retryable=True)
    run = replace(
        RUN, state=RunState.FAILED, failure=failure, end_time=NOW, labels={"team": "blue"}, principal="spiffe://x", trace_parent="00-a"
    )

    await store.write([new(run)], None)

    assert await store.run("default", "run-1") == run
    assert await store.run("other", "run-1") is None


async def test_a_run_that_ends_keeps_what_it_began_with(store: Store) -> None:
    run = replace(RUN, labels={"team": "blue"}, request_id="r", deadline=NOW + timedelta(hours=1))
    ended = replace(run, state=RunState.SUCCEEDED, outputs=Document(b"[1.0]"), end_time=NOW, deadline=None, last_sequence=7)
    await store.write([new(run)], None)

    await store.write([Change(ended, 2, row_changed=True)], None)

    assert await store.run("default", "run-1") == ended


async def test_items_are_written_once_and_stay(store: Store, database: Database) -> None:
    items, output = Document(b'["many items"]'), Document(b'"an output"')
    step = Step("each", 0, "x.a", StepState.RUNNING, tasks=2, items=items)
    await store.write([new(RUN, steps={"each": step}, begun={"each"})], None)
    await store.write([Change(RUN, 2, steps={"each": replace(step, tasks_succeeded=1)})], None)
    ended = replace(step, tasks_succeeded=2, state=StepState.SUCCEEDED, output=output)
    await store.write([Change(RUN, 3, steps={"each": ended})], None)

    assert await store.steps("run-1") == [ended]
    assert sum([documents.count(items.data) for documents in await documents_of(database)]) == 1


async def test_an_entry_keeps_a_document_once_byte_for_byte(store: Store, database: Database) -> None:
    odd, empty = Document(b'{"b" : 1.50,"a":"\\u00e9"}'), Document(b"")
    task = Task("a", 0, TaskState.SUCCEEDED, 1, NOW, output=odd, arguments=empty)
    step = Step("a", 0, "x.a", StepState.SUCCEEDED, output=odd)
    events = [RunEvent(1, NOW, EventType.TASK_SUCCEEDED, "a", output=odd), RunEvent(2, NOW, EventType.STEP_SUCCEEDED, "a", output=odd)]

    await store.write([new(replace(RUN, last_sequence=2), steps={"a": step}, tasks={("a", 0): task}, events=events)], None)

    assert await documents_of(database) == [odd.data]
    [stored] = await store.load(["run-1"])
    assert (stored.steps, stored.tasks) == ([step], [task])
    assert await store.events("run-1", 0, 10) == events


async def documents_of(database: Database) -> list[bytes]:
    async with database.reading() as connection:
        return [row.documents for row in await connection.execute(select(ENTRIES.c.documents).order_by(ENTRIES.c.number))]


async def test_a_write_is_whole_or_not_at_all(store: Store, database: Database) -> None:
    await store.write([new(RUN)], None)
    before = await row_counts(database)

    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.write([new(numbered(2)), Change(RUN, 1, events=[])], None)  # an entry that there is
    with pytest.raises(RuntimeError, match="1 runs were to be written"):
        await store.write([new(numbered(2)), Change(numbered(3), 2, row_changed=True)], None)  # a run that there is not

    assert await row_counts(database) == before
    await store.write([new(numbered(2))], None)
    assert [stored.run.id for stored in await store.load(["run-1", "run-002-02", "run-none"])] == ["run-002-02", "run-1"]


async def test_whether_a_change_was_written_can_be_asked(store: Store) -> None:
    first, second = new(replace(RUN, last_sequence=3)), Change(replace(RUN, last_sequence=3), 2)
    await store.write([first], None)

    assert await store.was_written(first)
    assert not await store.was_written(second)
    await store.write([second], None)
    assert await store.was_written(second)


async def test_what_another_wrote_in_the_place_of_a_change_is_not_that_change(store: Store) -> None:
    mine, theirs = (
        new(replace(RUN, last_sequence=1), events=[RunEvent(1, NOW, type)]) for type in (EventType.RUN_PAUSED, EventType.RUN_RESUMED)
    )
    await store.write([theirs], None)

    assert await store.was_written(theirs)
    assert not await store.was_written(mine)


async def test_a_request_starts_one_run(store: Store, database: Database) -> None:
    await store.write([new(replace(RUN, request_id="r"))], None)
    before = await row_counts(database)
    again, other, elsewhere = (
        new(numbered(2, request_id="r")),
        new(numbered(3, request_id="s")),
        new(numbered(4, request_id="r", namespace="other")),
    )

    with pytest.raises(TakenError) as caught:
        await store.write([again, other, elsewhere, new(numbered(5)), new(numbered(6))], None)

    assert caught.value.runs == {"run-002-02"}
    assert await row_counts(database) == before
    await store.write([other, elsewhere], None)
    found = await store.run_of_request("default", "r")
    assert found is not None
    assert found.id == "run-1"


async def test_two_new_runs_of_one_request_in_one_write_are_one_too_many(store: Store) -> None:
    with pytest.raises(TakenError) as caught:
        await store.write([new(numbered(1, request_id="r")), new(numbered(2, request_id="r"))], None)

    assert caught.value.runs == {"run-002-02"}
    assert await store.load(["run-001-01"]) == []


async def test_a_run_whose_id_there_is_cannot_be_new(store: Store) -> None:
    await store.write([new(RUN)], None)

    with pytest.raises(TakenError) as caught:
        await store.write([new(RUN), new(numbered(2))], None)

    assert caught.value.runs == {"run-1"}


async def test_one_of_two_that_start_a_run_for_a_request_at_once_is_told(database_url: str, store: Store) -> None:
    other_database = await Database.open(database_url, "parade_scheduler", METADATA)
    other = Store(other_database)
    for number in range(0, 40, 4):
        ids = [f"r{number}", f"r{number + 1}"]
        mine = [new(numbered(number + place, request_id=id)) for place, id in enumerate(ids)]
        theirs = [new(numbered(number + 2 + place, request_id=id)) for place, id in enumerate(reversed(ids))]
        results = await asyncio.gather(store.write(mine, None), other.write(theirs, None), return_exceptions=True)
        assert sorted([type(result).__name__ for result in results]) == ["NoneType", "TakenError"]
    await other.close()
    await other_database.close()


async def test_more_runs_than_are_read_at_once_are_all_loaded(store: Store) -> None:
    made = [replace(RUN, id=f"run-{number:03}-05") for number in range(120)]
    await store.write([new(run) for run in made], None)

    found = await store.load(await store.unfinished([4, 5]))

    assert [stored.run for stored in found] == made


async def test_only_runs_that_go_on_in_these_shards_are_unfinished(store: Store) -> None:
    ended = numbered(3, state=RunState.FAILED, end_time=NOW)
    await store.write([new(numbered(1)), new(numbered(2)), new(ended), new(numbered(4), parked=True)], None)

    assert await store.unfinished([1, 3, 4]) == ["run-001-01"]
    assert (await store.active("default"), await store.active("other")) == (2, 0)


async def test_parked_runs_are_due_soonest_first(store: Store) -> None:
    def at(seconds: int) -> Any:
        return NOW + timedelta(seconds=seconds)

    changes = [new(numbered(number), parked=True, wake=at(-number)) for number in range(5)]
    await store.write([*changes, new(numbered(5), parked=True), new(numbered(6))], None)

    assert await store.due(range(64), at(-1), 10) == [("run-004-04", at(-4)), ("run-003-03", at(-3)), ("run-002-02", at(-2))]
    assert await store.due([2, 3], at(9), 1) == [("run-003-03", at(-3))]
    [parked] = await store.load(["run-004-04"])
    assert (parked.parked, parked.wake) == (True, at(-4))
    await store.write([Change(numbered(4), 2, row_changed=True)], None)
    assert [id for id, _ in await store.due(range(64), at(-1), 10)] == ["run-003-03", "run-002-02"]
    [awake] = await store.load(["run-004-04"])
    assert (awake.parked, awake.wake) == (False, None)


async def test_what_a_newer_replica_adds_is_passed_over(store: Store, database: Database) -> None:
    step = Step("a", 0, "x.a", StepState.RUNNING)
    await store.write([new(RUN, steps={"a": step})], None)
    async with database.transaction() as connection:
        for table in METADATA.sorted_tables:
            await connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN colour TEXT"))
        added = '{"steps":[{"id":"a","position":0,"call":"x.a","state":"RUNNING","tasks":3,"colour":{"red":1}}],"colours":[1]}'
        await connection.execute(insert(ENTRIES).values(run="run-1", last_sequence=1, number=2, facts=added, documents=b""))

    await store.write([Change(replace(RUN, last_sequence=2), 3, row_changed=True), new(numbered(2))], None)

    [_, stored] = await store.load(["run-1", "run-002-02"])
    assert (stored.steps, stored.entries) == ([replace(step, tasks=3)], 3)


async def test_forgotten_runs_leave_nothing(store: Store, database: Database) -> None:
    kept = numbered(9, labels={"team": "red"})
    await store.write([new(kept)], None)
    before = await row_counts(database)
    ended = [
        numbered(
            number,
            state=RunState.FAILED,
            end_time=NOW - timedelta(days=number),
            labels={"team": "red"},
            inputs=Document(b'{"n":1}'),
            request_id=f"r{number}",
        )
        for number in range(4)
    ]
    await store.write([new(run, steps={"a": Step("a", 0, "x.a")}) for run in ended], None)
    await store.write([Change(run, 2) for run in ended], None)

    assert await store.forget(NOW - timedelta(days=1), 1) == 1
    assert [run.id for run in await store.runs(RunFilter("default", labels=frozenset({("team", "red")})), "", 10)] == [
        "run-009-09",
        "run-002-02",
        "run-001-01",
        "run-000-00",
    ]
    assert await store.forget(NOW - timedelta(days=1), 10) == 1
    assert await store.forget(NOW + timedelta(days=1), 10) == 2
    assert await store.forget(NOW + timedelta(days=1), 10) == 0
    assert await row_counts(database) == before
