"""What the store of concurrency groups promises, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from parade_chassis.store import Database
from parade_scheduler.decider import Admitted, CancelRequested, Occurrence
from parade_scheduler.model import Run, RunState
from parade_scheduler.storage.commands import Command
from parade_scheduler.storage.groups_store import Group, GroupStore, Rule
from parade_scheduler.storage.store import Change as RunChange
from parade_scheduler.storage.store import Store, shard_of
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, new, numbered

ALL = frozenset(range(64))
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
def groups(database: Database) -> GroupStore:
    return GroupStore(database)


def command(run: str, occurrence: Occurrence) -> Command:
    kind = type(occurrence).__name__
    return Command(f"command-{run}-{kind}", shard_of(run), run, kind, b"{}", NOW)


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
