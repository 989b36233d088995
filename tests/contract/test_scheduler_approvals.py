"""What the scheduler's store promises of approvals, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from parade_chassis.store import Database
from parade_scheduler.approval import Approval, ApprovalFilter, ApprovalState
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Kind, Run, RunEvent, RunState, Task, TaskState
from parade_scheduler.storage.approvals import place_of
from parade_scheduler.storage.store import Change, Store
from parade_scheduler.storage.tables import METADATA
from tests.contract.scheduler_store import NOW, RUN, new

ADA = "spiffe://mesh/client/default/ada"
PENDING = ApprovalFilter("default", frozenset({ApprovalState.PENDING}))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    store = Store(database)
    yield store
    await store.close()
    await database.close()


def waiting(step: str = "ask", index: int = 0, seconds: float = 0, approvers: tuple[str, ...] = ()) -> Task:
    arguments = Document.of({"message": "pay 5 €?", "approvers": list(approvers)})
    began = NOW + timedelta(seconds=seconds)
    return Task(step, index, TaskState.WAITING, 1, began, kind=Kind.APPROVAL, due=began + timedelta(hours=1), arguments=arguments)


async def begin(store: Store, *tasks: Task, run: Run = RUN) -> None:
    await store.write([new(run, tasks={(task.step, task.index): task for task in tasks})], None)


async def end(store: Store, task: Task, number: int = 2, message: str = "") -> None:
    happened = RunEvent(number, NOW + timedelta(minutes=5), EventType.TASK_SUCCEEDED, task.step, task.index, by=task.by, message=message)
    followed = RunEvent(number + 1, happened.time, EventType.STEP_SUCCEEDED, task.step)
    run = replace(RUN, last_sequence=2 * number)
    change = Change(run, number, tasks={(task.step, task.index): task}, events=[happened, followed])
    await store.write([change], None)


async def listed(store: Store, wanted: ApprovalFilter, limit: int = 100) -> list[Approval]:
    return (await store.approvals(wanted, None, limit))[0]


async def test_a_task_that_waits_for_an_approval_is_listed_with_whom_it_asks(store: Store) -> None:
    await begin(store, waiting(approvers=(ADA, "spiffe://mesh/client/default/*")))

    [approval] = await listed(store, PENDING)

    assert approval == Approval(
        "default",
        RUN.id,
        "ask",
        0,
        RUN.workflow,
        "pay 5 €?",
        (ADA, "spiffe://mesh/client/default/*"),
        ApprovalState.PENDING,
        NOW,
        NOW + timedelta(hours=1),
    )
    assert await store.approval("default", RUN.id, "ask", 0) == approval
    assert await store.approval("other", RUN.id, "ask", 0) is None


@pytest.mark.parametrize(
    ("state", "by", "expected"),
    [
        (TaskState.SUCCEEDED, ADA, ApprovalState.APPROVED),
        (TaskState.FAILED, ADA, ApprovalState.REJECTED),
        (TaskState.FAILED, "", ApprovalState.WITHDRAWN),
        (TaskState.CANCELLED, "", ApprovalState.WITHDRAWN),
    ],
)
async def test_how_a_wait_ends_is_how_its_approval_ends(store: Store, state: TaskState, by: str, expected: ApprovalState) -> None:
    task = waiting()
    await begin(store, task)

    await end(store, replace(task, state=state, by=by), message="for once" if by else "")

    approval = await store.approval("default", RUN.id, "ask", 0)
    assert approval is not None
    assert (approval.state, approval.by, approval.note) == (expected, by, "for once" if by else "")
    assert approval.resolve_time == NOW + timedelta(minutes=5)
    assert await listed(store, PENDING) == []
    assert await listed(store, replace(PENDING, states=frozenset({expected}))) == [approval]


async def test_an_approval_that_was_resolved_is_not_resolved_again(store: Store) -> None:
    task = waiting()
    await begin(store, task)
    await end(store, replace(task, state=TaskState.SUCCEEDED, by=ADA))

    await end(store, replace(task, state=TaskState.CANCELLED), number=3)

    approval = await store.approval("default", RUN.id, "ask", 0)
    assert approval is not None
    assert approval.state is ApprovalState.APPROVED


async def test_approvals_come_the_oldest_first_and_page_by_page(store: Store) -> None:
    await begin(store, *(waiting("each", index, seconds=-index) for index in range(5)), waiting("ask", seconds=-2))

    everything = await listed(store, PENDING)
    first, after = await store.approvals(PENDING, None, 4)
    rest, end = await store.approvals(PENDING, after, 4)

    assert [(one.step, one.task) for one in everything] == [("each", 4), ("each", 3), ("ask", 0), ("each", 2), ("each", 1), ("each", 0)]
    assert first + rest == everything
    assert after == place_of(first[-1])
    assert end is None


async def test_only_what_fits_a_filter_is_listed(store: Store) -> None:
    other = replace(RUN, id="run-2", workflow="other")
    await begin(store, waiting(approvers=(ADA,)))
    await begin(store, waiting(approvers=("spiffe://mesh/client/default/bob",)), run=other)

    assert [one.run for one in await listed(store, replace(PENDING, run="run-2"))] == ["run-2"]
    assert [one.run for one in await listed(store, replace(PENDING, workflow="other"))] == ["run-2"]
    assert [one.run for one in await listed(store, replace(PENDING, resolver=ADA))] == [RUN.id]
    assert await listed(store, replace(PENDING, namespace="other")) == []


async def test_one_who_may_resolve_few_finds_them_among_many_page_by_page(store: Store) -> None:
    others = [waiting("each", index, seconds=index, approvers=("spiffe://mesh/nobody",)) for index in range(600)]
    mine = [waiting("each", index, seconds=index, approvers=(ADA,)) for index in (600, 601, 602)]
    await begin(store, *others, *mine)

    first, after = await store.approvals(replace(PENDING, resolver=ADA), None, 2)
    rest, end = await store.approvals(replace(PENDING, resolver=ADA), after, 2)

    assert [one.task for one in first + rest] == [600, 601, 602]
    assert end is None


async def test_a_run_that_begins_with_an_approval_of_another_one_lists_none(store: Store) -> None:
    await begin(store, replace(waiting(), state=TaskState.SUCCEEDED, by=ADA))

    assert await listed(store, replace(PENDING, states=frozenset(ApprovalState))) == []


async def test_a_run_that_is_forgotten_leaves_no_approval(store: Store) -> None:
    ended = replace(RUN, state=RunState.CANCELLED, end_time=NOW)
    await begin(store, waiting())
    await store.write([Change(replace(ended, last_sequence=2), 2, row_changed=True)], None)

    await store.forget(NOW + timedelta(days=1), 10)

    assert await store.approval("default", RUN.id, "ask", 0) is None


@pytest.mark.parametrize("words", [{}, {"approvers": None, "message": None}, {"approvers": "all", "message": "go\0on"}])
async def test_what_code_asks_carelessly_is_listed_all_the_same(store: Store, words: dict[str, object]) -> None:
    await begin(store, replace(waiting(), arguments=Document.of(words)))

    [approval] = await listed(store, PENDING)

    assert approval.approvers == ()
    assert approval.message in ("", "goon")
