"""What the stores of schedules, events and concurrency groups promise, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.store import Database
from parade_scheduler.decider import Admitted, CancelRequested, Occurrence
from parade_scheduler.document import Document
from parade_scheduler.model import Kind, Run, RunState, Task, TaskState, Workflow
from parade_scheduler.published_event import EventTrigger, PublishedEvent
from parade_scheduler.schedule import CatchUp, Schedule
from parade_scheduler.storage.commands import Command
from parade_scheduler.storage.events_store import EventStore, place_of
from parade_scheduler.storage.groups_store import Group, GroupStore, Rule
from parade_scheduler.storage.schedules_store import Change, ScheduleStore, defined_name
from parade_scheduler.storage.store import Change as RunChange
from parade_scheduler.storage.store import Store, shard_of
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, RUN, new, numbered

ALL = frozenset(range(64))
FLOW = Workflow("default", "flow", 0, "a" * 64, "", "name: flow", NOW)
PAID = PublishedEvent("default", "e-1", "order.paid", Document(b'{"amount":9}'), NOW, "00-trace-01")
GROUP = Group("default", "orders")


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


@pytest.fixture
def groups(database: Database) -> GroupStore:
    return GroupStore(database)


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


def command(run: str, occurrence: Occurrence) -> Command:
    kind = type(occurrence).__name__
    return Command(f"command-{run}-{kind}", shard_of(run), run, kind, b"{}", NOW)


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


# --------------------------------------------------------------------------------------------------------------- groups


def member(number: int, **others: Any) -> Run:
    return numbered(number, workflow="flow", state=RunState.QUEUED, group="orders", last_sequence=1, **others)


def names(*numbers: int) -> list[str]:
    return [numbered(number).id for number in numbers]


async def join(store: Store, *numbers: int, priority: int = 0) -> None:
    await store.write([new(member(number, priority=priority)) for number in numbers], None)


async def leave(store: Store, number: int) -> None:
    ended = replace(member(number), state=RunState.SUCCEEDED, end_time=NOW, last_sequence=2)
    await store.write([RunChange(ended, 2, row_changed=True)], None)


async def settle(groups: GroupStore, limit: int, *, cancels_oldest: bool = False) -> tuple[list[str], list[str]]:
    """Settles the group; returns which runs may begin and which are cancelled."""
    told = await groups.settle({GROUP: Rule(limit, cancels_oldest)}, command)
    begin = [one.run for one in told if one.kind == Admitted.__name__]
    return begin, [one.run for one in told if one.kind == CancelRequested.__name__]


async def test_runs_of_a_group_begin_in_their_order_while_there_is_room(store: Store, groups: GroupStore) -> None:
    await join(store, 1, 2, 3)

    assert await settle(groups, 2) == (names(1, 2), [])
    assert await settle(groups, 2) == ([], [])
    assert await groups.waiting() == [GROUP]
    assert not await groups.has_room(GROUP, 2)
    assert await groups.count_waiting("default") == 1
    await leave(store, 1)
    assert await groups.has_room(GROUP, 2)
    assert await settle(groups, 2) == (names(3), [])
    assert await groups.waiting() == []
    told = await store.commands(ALL, 100)
    assert [(one.run, one.kind) for one in sorted(told, key=lambda one: one.run)] == [(run, Admitted.__name__) for run in names(1, 2, 3)]


async def test_the_highest_priority_begins_first_then_the_oldest(store: Store, groups: GroupStore) -> None:
    await join(store, 1)
    await join(store, 2, priority=100)
    await join(store, 3, priority=-100)
    await join(store, 4, priority=100)

    order = []
    for _ in range(4):
        [[first], _] = await settle(groups, 1)
        order.append(first)
        await leave(store, next(number for number in range(1, 5) if first == names(number)[0]))

    assert order == names(2, 4, 1, 3)


async def test_the_oldest_runs_beyond_the_limit_are_cancelled_where_newer_ones_take_their_place(store: Store, groups: GroupStore) -> None:
    await join(store, 1)
    assert await settle(groups, 1, cancels_oldest=True) == (names(1), [])
    await join(store, 2, 3)

    assert await settle(groups, 1, cancels_oldest=True) == ([], names(1, 2))
    assert await settle(groups, 1, cancels_oldest=True) == ([], [])
    await leave(store, 2)
    await leave(store, 1)
    assert await settle(groups, 1, cancels_oldest=True) == (names(3), [])
    kinds = {one.run: one.kind for one in await store.commands(ALL, 100) if one.kind == CancelRequested.__name__}
    assert list(kinds) == names(1, 2)


async def test_replicas_that_settle_a_group_at_once_let_no_more_begin_than_may(store: Store, groups: GroupStore) -> None:
    await join(store, *range(1, 21))

    settled = await asyncio.gather(*(settle(groups, 7) for _ in range(10)))

    assert sorted(run for admitted, _ in settled for run in admitted) == names(*range(1, 8))
    assert len(await store.commands(ALL, 100)) == 7


async def test_groups_of_other_names_and_namespaces_are_others(store: Store, groups: GroupStore) -> None:
    await store.write([new(run) for run in (member(1), replace(member(2), namespace="b"), replace(member(3), group="x"))], None)

    assert await settle(groups, 1) == (names(1), [])
    assert sorted(await groups.waiting()) == [Group("b", "orders"), Group("default", "x")]


async def test_workflows_share_a_group_that_goes_by_the_newest_run(store: Store, groups: GroupStore) -> None:
    await store.write([new(member(1, version=5)), new(replace(member(2, version=3), workflow="other"))], None)

    assert await groups.newest([GROUP, Group("default", "empty")]) == {GROUP: ("other", 3)}
    assert await settle(groups, 1) == (names(1), [])


async def test_many_groups_are_settled_at_once_each_by_its_own_rule(store: Store, groups: GroupStore) -> None:
    runs = [replace(member(number), group=f"g{number % 3}") for number in range(12)]
    await store.write([new(run) for run in runs], None)

    rules = {Group("default", f"g{number}"): Rule(number + 1, cancels_oldest=False) for number in range(3)}
    told = await asyncio.gather(*(groups.settle(rules, command) for _ in range(5)))

    assert sorted(one.run for some in told for one in some) == names(0, 1, 2, 4, 5, 8)
