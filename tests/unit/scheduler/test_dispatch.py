"""Attempts under way: each has one outcome, whatever becomes of its call."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import ManualClock
from parade_scheduler.decider import CancelTask, Dispatch, Occurrence, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.tasks import NOT_SENT
from parade_scheduler.dispatch import Dispatches
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Answer, Assigned, Result
from tests.support.waiting import eventually
from tests.unit.scheduler.simulation import START

RUN = Run("run-1", "default", "flow", 1, Document(b"{}"), START)
DONE = Document(b'"done"')
Behaviour = Callable[[Dispatch], AsyncGenerator[Answer, None]]


def dispatch(task: int = 0) -> Dispatch:
    return Dispatch("a", task, 1, "x.a", Document(b"{}"), None, redelivered=False)


class World:
    """What the attempts report, and how the mesh behaves."""

    def __init__(self, behaviour: Behaviour, tasks: asyncio.TaskGroup, max_calls: int) -> None:
        self.reported: list[Occurrence] = []
        self.behaviour = behaviour
        self.clock = ManualClock()
        self.running = 0
        self.most = 0
        self.left = asyncio.Event()
        self.dispatches = Dispatches(self, lambda _, occurrence: self.reported.append(occurrence), self.clock, Log(), tasks, max_calls)

    async def call(self, run: Run, dispatch: Dispatch) -> AsyncGenerator[Answer, None]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            async for answer in self.behaviour(dispatch):
                yield answer
        finally:
            self.running -= 1

    async def leave(self) -> None:
        self.left.set()
        await asyncio.sleep(0)


@asynccontextmanager
async def world(behaviour: Behaviour, max_calls: int = 10) -> AsyncIterator[World]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        yield World(behaviour, tasks, max_calls)


async def never(_: Dispatch) -> AsyncGenerator[Answer, None]:
    yield Assigned("i-1")
    await asyncio.Event().wait()


async def test_a_result_is_reported_with_its_instance() -> None:
    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        yield Assigned("i-1")
        yield Assigned("i-2")
        yield Result(DONE)

    async with world(answers) as mesh:
        mesh.dispatches.start(RUN, dispatch())

    assert mesh.reported == [TaskSucceeded("a", 0, 1, DONE, "i-2")]


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (ParadeError(Reason.NO_CAPACITY, "full"), Reason.NO_CAPACITY, "full"),
        (ZeroDivisionError("secret"), Reason.INTERNAL, "failed unexpectedly"),
        (None, Reason.INTERNAL, "ended without a result"),
    ],
    ids=["said", "unforeseen", "silent"],
)
async def test_a_failure_is_reported_whatever_it_is(error: Exception | None, reason: Reason, message: str) -> None:
    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        yield Assigned("i-1")
        if error is not None:
            raise error

    async with world(answers) as mesh:
        mesh.dispatches.start(RUN, dispatch())

    (reported,) = mesh.reported
    assert isinstance(reported, TaskFailed)
    assert (reported.failure.reason, reported.instance_id) == (reason, "i-1")
    assert message in reported.failure.message
    assert "secret" not in reported.failure.message


async def test_progress_is_passed_on_once_a_second() -> None:
    step = asyncio.Semaphore(0)

    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        for number in range(6):
            await step.acquire()
            yield Progress(number / 10, "")
        yield Result(DONE)

    async with world(answers) as mesh:
        mesh.dispatches.start(RUN, dispatch())
        for _ in range(6):
            step.release()
            await mesh.clock.advance(0.4)

    assert [one.progress.fraction for one in mesh.reported if isinstance(one, TaskProgressed)] == [0.0, 0.3]


async def test_no_more_calls_than_the_bound_run_at_once() -> None:
    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        await asyncio.sleep(0)
        yield Result(DONE)

    async with world(answers, max_calls=3) as mesh:
        for task in range(20):
            mesh.dispatches.start(RUN, dispatch(task))

    assert mesh.most == 3
    assert len(mesh.reported) == 20


async def test_a_cancelled_attempt_is_reported_as_such_running_or_waiting() -> None:
    async with world(never, max_calls=1) as mesh:
        for task in range(2):
            mesh.dispatches.start(RUN, dispatch(task))
        await eventually(lambda: mesh.running == 1)
        for task in (0, 1, 7):
            mesh.dispatches.cancel("run-1", CancelTask("a", task, 1))
        mesh.dispatches.cancel("run-2", CancelTask("a", 0, 1))

    assert sorted(mesh.reported, key=str) == [TaskCancelled("a", 0, 1), TaskCancelled("a", 1, 1)]
    assert mesh.running == 0


async def test_draining_waits_then_abandons_without_a_word_and_hands_out_nothing_more() -> None:
    finish = asyncio.Event()

    async def answers(asked: Dispatch) -> AsyncGenerator[Answer, None]:
        await (finish.wait() if asked.task == 0 else asyncio.Event().wait())
        yield Result(DONE)

    async with world(answers) as mesh:
        for task in range(2):
            mesh.dispatches.start(RUN, dispatch(task))
        await eventually(lambda: mesh.running == 2)
        draining = asyncio.create_task(mesh.dispatches.drain(0.2))
        finish.set()
        await eventually(lambda: len(mesh.reported) == 1)
        mesh.dispatches.start(RUN, dispatch(2))
        await draining

    assert mesh.reported[0] == TaskSucceeded("a", 0, 1, DONE, "")
    refused = mesh.reported[1]
    assert isinstance(refused, TaskFailed)
    assert (refused.task, refused.failure.reason, refused.failure.metadata) == (2, Reason.UNAVAILABLE, {NOT_SENT: "true"})
    assert len(mesh.reported) == 2


async def test_draining_leaves_what_runs_before_it_ends_it_and_takes_that_for_no_outcome() -> None:
    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        try:
            await mesh.left.wait()
        except asyncio.CancelledError:
            cancelled.append(mesh.left.is_set())
            raise
        if mesh.left.is_set():
            raise ParadeError(Reason.UNAVAILABLE, "the link was closed")
        yield Result(DONE)

    cancelled: list[bool] = []
    async with world(answers) as mesh:
        for task in range(2):
            mesh.dispatches.start(RUN, dispatch(task))
        await eventually(lambda: mesh.running == 2)
        await mesh.dispatches.drain(0.01)

    assert mesh.reported == []
    assert False not in cancelled


async def test_draining_leaves_nobody_where_all_has_ended() -> None:
    async def answers(_: Dispatch) -> AsyncGenerator[Answer, None]:
        await asyncio.sleep(0.01)
        yield Result(DONE)

    async with world(answers) as mesh:
        mesh.dispatches.start(RUN, dispatch())
        await mesh.dispatches.drain(5)

    assert mesh.reported == [TaskSucceeded("a", 0, 1, DONE, "")]
    assert not mesh.left.is_set()
