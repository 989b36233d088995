"""What the stores of schedules and events promise, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.store import Database
from parade_scheduler.document import Document
from parade_scheduler.model import Kind, Task, TaskState, Workflow
from parade_scheduler.published_event import EventTrigger, PublishedEvent
from parade_scheduler.schedule import CatchUp, Schedule
from parade_scheduler.storage.commands import Command
from parade_scheduler.storage.events_store import EventStore, place_of
from parade_scheduler.storage.schedules_store import Change, ScheduleStore, defined_name
from parade_scheduler.storage.store import Change as RunChange
from parade_scheduler.storage.store import Store, shard_of
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, RUN, new

ALL = frozenset(range(64))
FLOW = Workflow("default", "flow", 0, "a" * 64, "", "name: flow", NOW)
PAID = PublishedEvent("default", "e-1", "order.paid", Document(b'{"amount":9}'), NOW, "00-trace-01")


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


@pytest.fixture
def schedules(database: Database) -> ScheduleStore:
    return ScheduleStore(database)


@pytest.fixture
def events(database: Database) -> EventStore:
    return EventStore(database)


def schedule(name: str = "nightly", **changes: Any) -> Schedule:
    full = Schedule(
        name,
        "flow",
        "30 2 * * *",
        "Europe/Berlin",
        CatchUp.ALL,
        Document(b'{"who":"\xc3\xa9"}'),
        next_time=NOW,
        namespace="default",
        principal="spiffe://ada",
    )
    return replace(full, **changes)


async def put(store: ScheduleStore, one: Schedule) -> Schedule:
    return await store.put(one.namespace, one.name, lambda _: one, 100)


def told_of(run: str, event: PublishedEvent) -> Command:
    return Command(f"command-{run}-{event.id}", shard_of(run), run, "EventReceived", event.id.encode(), NOW)


# ------------------------------------------------------------------------------------------------------------ schedules


async def test_a_schedule_read_back_is_the_one_that_was_put(schedules: ScheduleStore) -> None:
    for one in (schedule(), schedule("other", paused=True, next_time=None, last_time=NOW, last_run_id="run-1", defined=True)):
        await put(schedules, one)

        assert await schedules.schedule("default", one.name) == one
    assert await schedules.schedule("elsewhere", "nightly") is None


async def test_a_schedule_is_made_of_the_one_that_there_is(schedules: ScheduleStore) -> None:
    seen: list[Schedule | None] = []

    def change(before: Schedule | None) -> Schedule:
        seen.append(before)
        return schedule(last_run_id=f"run-{len(seen)}")

    await schedules.put("default", "nightly", change, 100)
    await schedules.put("default", "nightly", change, 100)

    assert seen == [None, schedule(last_run_id="run-1")]


async def test_two_who_put_the_same_new_schedule_at_once_both_succeed(schedules: ScheduleStore) -> None:
    await asyncio.gather(*(put(schedules, schedule(last_run_id=f"run-{number}")) for number in range(5)))

    assert len(await schedules.schedules("default", "", "", 10)) == 1


async def test_schedules_are_due_from_their_time_on_the_longest_first_in_pages_without_gaps(schedules: ScheduleStore) -> None:
    for number in range(5):
        await put(schedules, schedule(f"s{number}", next_time=NOW - timedelta(seconds=number // 2)))
    await put(schedules, schedule("later", next_time=NOW + timedelta(seconds=1)))
    await put(schedules, schedule("resting", next_time=None, paused=True))

    found = []
    after = None
    while page := await schedules.due(ALL, NOW, after, 2):
        found += [due.schedule.name for due in page]
        after = page[-1].key

    assert found == ["s4", "s2", "s3", "s0", "s1"]
    mine = shard_of("default/s1")
    assert [due.schedule.name for due in await schedules.due({mine}, NOW, None, 10) if due.schedule.name == "s1"] == ["s1"]
    assert await schedules.due(ALL - {shard_of(f"default/s{number}") for number in range(5)}, NOW, None, 10) == []


async def test_what_a_schedule_started_is_noted_unless_it_was_put_since(schedules: ScheduleStore) -> None:
    await put(schedules, schedule())
    [due] = await schedules.due(ALL, NOW, None, 10)
    next_time = NOW + timedelta(days=1)

    await schedules.started(due, next_time, NOW, "run-1")
    await schedules.started(due, None, NOW, "run-of-one-who-was-late")

    noted = schedule(next_time=next_time, last_time=NOW, last_run_id="run-1")
    assert await schedules.schedule("default", "nightly") == noted
    await put(schedules, schedule())
    [again] = await schedules.due(ALL, NOW, None, 10)
    await put(schedules, schedule(cron="0 0 * * *"))
    await schedules.started(again, None, NOW, "run-2")
    assert await schedules.schedule("default", "nightly") == schedule(cron="0 0 * * *")


async def test_a_definition_has_the_schedules_of_its_newest_version(store: Store, schedules: ScheduleStore) -> None:
    def defined(number: int, cron: str) -> Change:
        return lambda before: schedule(defined_name("flow", number), cron=cron, defined=True, paused=before is not None and before.paused)

    async def put_version(hash: str, *changes: Change, limit: int = 3) -> None:
        await store.put_workflow(
            replace(FLOW, hash=hash), lambda connection, stored: schedules.define(connection, "default", stored.name, changes, limit)
        )

    await put(schedules, schedule("by-hand"))
    await put_version("1", defined(1, "0 1 * * *"), defined(2, "0 2 * * *"))
    await put(schedules, schedule("flow.1", cron="0 1 * * *", defined=True, paused=True))
    await put_version("2", defined(1, "0 3 * * *"))

    found = {one.name: one for one in await schedules.schedules("default", "flow", "", 10)}
    assert found.keys() == {"by-hand", "flow.1"}
    assert found["flow.1"].cron == "0 3 * * *"
    assert found["flow.1"].paused
    with pytest.raises(ParadeError, match="may have 3 schedules") as caught:
        await put_version("3", *(defined(number, "0 1 * * *") for number in range(1, 5)))
    assert caught.value.reason is Reason.NO_CAPACITY
    newest = await store.workflow("default", "flow")
    assert newest is not None
    assert newest.version == 2


# --------------------------------------------------------------------------------------------------------------- events


async def waiting(store: Store, count: int, type: str = "order.paid", term: str = "") -> list[str]:
    """Stores runs that each wait for an event."""
    arguments = Document.of({"term": term}) if term else None
    runs = [f"run-{number:04}-{number % 64:02}" for number in range(count)]
    task = Task("paid", 0, TaskState.WAITING, 1, NOW, kind=Kind.EVENT, name=type, arguments=arguments)
    changes = [new(replace(RUN, id=run, last_sequence=1), tasks={("paid", 0): task}) for run in runs]
    await store.write(changes, None)
    return runs


async def test_an_event_that_nobody_wants_is_not_pending(events: EventStore) -> None:
    assert await events.publish([PAID]) == [False]
    assert await events.pending(ALL, None, 10) == []
    assert await events.exists("default", "e-1")
    assert await events.count("default") == 1


async def test_an_event_is_published_once(store: Store, events: EventStore) -> None:
    await waiting(store, 1)

    published = await asyncio.gather(*(events.publish([PAID, PAID]) for _ in range(3)))

    assert sorted(one for together in published for one in together) == [False] * 5 + [True]
    assert await events.pending(ALL, None, 10) == [PAID]
    assert await events.pending(ALL - {shard_of("default/e-1")}, None, 10) == []
    assert await events.count("default") == 1


async def test_runs_that_wait_are_told_of_an_event_once_each_however_often_it_is_begun(store: Store, events: EventStore) -> None:
    runs = await waiting(store, 5)
    await events.publish([PAID])

    told = [await events.tell_waiting([PAID], told_of, 2) for _ in range(5)]

    assert told == [(2, 0), (2, 0), (1, 1), (0, 1), (0, 1)]
    assert sorted(one.run for one in await store.commands(ALL, 100)) == runs
    await events.delivered([PAID])
    assert await events.pending(ALL, None, 10) == []
    assert await events.tell_waiting([PAID], told_of, 2) == (0, 1)


async def test_many_events_are_told_together_no_more_at_once_than_may_be(store: Store, events: EventStore) -> None:
    runs = await waiting(store, 3)
    paid = [replace(PAID, id=f"e-{number}", create_time=NOW + timedelta(seconds=number)) for number in range(3)]
    assert await events.publish(list(reversed(paid))) == [True] * 3

    assert await events.tell_waiting(paid, told_of, 4) == (4, 1)
    assert await events.tell_waiting(paid[1:], told_of, 4) == (4, 1)
    assert await events.tell_waiting(paid[2:], told_of, 4) == (1, 1)

    assert sorted((one.data, one.run) for one in await store.commands(ALL, 100)) == [
        (f"e-{number}".encode(), run) for number in range(3) for run in runs
    ]
    await events.delivered(paid[:2])
    assert await events.pending(ALL, None, 10) == [paid[2]]


async def test_only_runs_that_may_want_an_event_are_told_of_it(store: Store, events: EventStore) -> None:
    [run] = await waiting(store, 1, term="order=7.0")
    others = [replace(PAID, id=f"e-{number}", value=Document.of({"order": number})) for number in range(5)]
    meant = replace(PAID, id="meant", value=Document.of({"about": {"order": 7}, "order": 7}))

    assert await events.publish([*others, meant]) == [False] * 5 + [True]

    assert await events.tell_waiting([meant], told_of, 10) == (1, 1)
    assert [one.run for one in await store.commands(ALL, 10)] == [run]


async def test_replicas_that_deliver_at_once_tell_each_run_once(store: Store, events: EventStore) -> None:
    runs = await waiting(store, 20)
    await events.publish([PAID])

    await asyncio.gather(*(events.tell_waiting([PAID], told_of, 4) for _ in range(8)))

    assert sorted(one.run for one in await store.commands(ALL, 100)) == runs


async def test_a_run_waits_for_an_event_from_the_transaction_of_its_waiting_to_that_of_its_end(store: Store, events: EventStore) -> None:
    [run] = await waiting(store, 1)
    task = Task("paid", 0, TaskState.SUCCEEDED, 1, NOW, kind=Kind.EVENT, name="order.paid")
    await store.write([RunChange(replace(RUN, id=run, last_sequence=2), 2, tasks={("paid", 0): task})], None)

    assert await events.publish([PAID]) == [False]


async def test_pending_events_come_in_order_in_pages_without_gaps(store: Store, events: EventStore) -> None:
    await waiting(store, 1)
    wanted = [replace(PAID, id=f"e-{number}", create_time=NOW + timedelta(seconds=number // 2)) for number in range(5)]
    for event in reversed(wanted):
        await events.publish([event])

    found: list[PublishedEvent] = []
    while page := await events.pending(ALL, place_of(found[-1]) if found else None, 2):
        found += page

    assert found == wanted


async def test_a_workflow_begins_on_what_its_newest_version_says(store: Store, events: EventStore) -> None:
    async def put_version(hash: str, *types: str) -> None:
        await store.put_workflow(
            replace(FLOW, hash=hash), lambda connection, stored: events.define(connection, stored, types, f"ada-{hash}")
        )

    await put_version("1", "order.paid", "order.sent")
    await put_version("2", "order.paid")
    await put_version("2", "nothing", "of", "this")

    assert await events.triggers("default", "order.paid") == [EventTrigger("flow", 2, "ada-2")]
    assert await events.triggers("default", "order.sent") == []
    assert await events.triggers("elsewhere", "order.paid") == []
    assert await events.publish([PAID]) == [True]


async def test_old_events_are_forgotten_but_for_those_that_somebody_has_not_got(store: Store, events: EventStore) -> None:
    for number in range(3):
        await events.publish([replace(PAID, id=f"e-{number}")])
    await waiting(store, 1)
    await events.publish([replace(PAID, id="wanted")])
    await events.publish([replace(PAID, id="new", type="other", create_time=NOW + timedelta(hours=1))])

    assert await events.forget(NOW + timedelta(minutes=1), 2) == 2
    assert await events.forget(NOW + timedelta(minutes=1), 2) == 1

    assert await events.exists("default", "wanted")
    assert await events.exists("default", "new")
    assert await events.count("default") == 2
