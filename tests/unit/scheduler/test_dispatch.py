"""Attempts under way: each has one outcome, whatever becomes of its call."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.roles import Role
from parade_chassis.clock import ManualClock
from parade_scheduler.calls.dispatch import Dispatches
from parade_scheduler.decider import CancelTask, Dispatch, Occurrence, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run
from parade_scheduler.ports import Listener
from parade_scheduler.rights import NEWS, Rights
from tests.support.standing import Everyone
from tests.support.waiting import eventually
from tests.unit.scheduler.rights import Surrounding
from tests.unit.scheduler.simulation import START

RUN = Run("run-1", "default", "flow", 1, Document(b"{}"), START)
DONE = Document(b'"done"')
Behaviour = Callable[["FakeCall"], None]


def dispatch(task: int = 0, *, resumed: bool = False) -> Dispatch:
    return Dispatch("a", task, 1, "x.a", Document(b"{}"), None, redelivered=False, resumed=resumed)


class FakeCall:
    """A call that does as the test says."""

    def __init__(self, world: "World", run: Run, dispatch: Dispatch, listener: Listener) -> None:
        self.world = world
        self.run = run
        self.dispatch = dispatch
        self.listener = listener
        self.cancelled = False

    def cancel(self) -> None:
        assert self in self.world.running
        self.cancelled = True
        self.world.running.remove(self)

    def succeed(self, output: Document = DONE) -> None:
        self.world.running.remove(self)
        self.listener.succeeded(output)

    def fail(self, error: Exception) -> None:
        self.world.running.remove(self)
        self.listener.failed(error)


class Heard(Everyone):
    """By it everybody may everything until the test says otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.held = Role.ADMIN
        self.told = True

    @property
    def known(self) -> bool:
        return self.told

    def of(self, principal: str, namespace: str) -> Role:
        return self.held

    def tell(self) -> None:
        """Says who may do what, after nobody has."""
        self.told = True
        self._changed()


class World:
    """What the attempts report, and the mesh, which holds every call until the test says what becomes of it."""

    def __init__(self, max_calls: int = 10) -> None:
        self.reported: list[tuple[str, Occurrence]] = []
        self.refusal: Exception | None = None
        self.clock = ManualClock()
        self.calls: list[FakeCall] = []
        self.running: list[FakeCall] = []
        self.most = 0
        self.left = False
        self.cancelled_before_leaving = False
        self.standing = Heard()
        rights = Rights(Surrounding(clock=self.clock, standing=self.standing))
        report = self.reported.append
        self.dispatches = Dispatches(self, lambda run, told: report((run, told)), self.clock, Log(), max_calls, rights)

    @property
    def outcomes(self) -> list[Occurrence]:
        return [occurrence for _, occurrence in self.reported]

    def call(self, run: Run, dispatch: Dispatch, listener: Listener) -> FakeCall:
        if self.refusal is not None:
            raise self.refusal
        call = FakeCall(self, run, dispatch, listener)
        self.calls.append(call)
        self.running.append(call)
        self.most = max(self.most, len(self.running))
        return call

    async def finish(self) -> None:
        """Lets every call succeed in its order, and those that begin then."""
        while self.running:
            self.running[0].succeed()
            await asyncio.sleep(0)

    async def leave(self) -> None:
        self.left = True
        self.cancelled_before_leaving = any(call.cancelled for call in self.calls)
        for call in list(self.running):
            # As a link does that is closed.
            call.listener.failed(ParadeError(Reason.UNAVAILABLE, "the link was closed"))
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


def test_a_result_is_reported_with_its_instance(world: World) -> None:
    world.dispatches.start(RUN, dispatch())
    (call,) = world.calls
    call.listener.assigned("i-1")
    call.listener.assigned("i-2")
    call.succeed()

    assert world.reported == [("run-1", TaskSucceeded("a", 0, 1, DONE, "i-2"))]


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (ParadeError(Reason.NO_CAPACITY, "full"), Reason.NO_CAPACITY, "full"),
        (ZeroDivisionError("secret"), Reason.INTERNAL, "failed unexpectedly"),
    ],
    ids=["said", "unforeseen"],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_failure_is_reported_whatever_it_is(world: World, error: Exception, reason: Reason, message: str, *, at_once: bool) -> None:
    world.refusal = error if at_once else None
    world.dispatches.start(RUN, dispatch())
    if not at_once:
        world.calls[0].listener.assigned("i-1")
        world.calls[0].fail(error)

    (reported,) = world.outcomes
    assert isinstance(reported, TaskFailed)
    assert (reported.failure.reason, reported.instance_id) == (reason, "" if at_once else "i-1")
    assert message in reported.failure.message
    assert "secret" not in reported.failure.message


@pytest.mark.parametrize("held", [Role.NONE, Role.VIEWER])
async def test_nothing_is_called_for_whom_may_start_nothing_any_more(world: World, held: Role) -> None:
    await world.clock.advance(NEWS.total_seconds())
    world.dispatches.start(RUN, dispatch(0))
    world.standing.held = held
    world.dispatches.start(RUN, dispatch(1))
    world.calls[0].succeed()

    (refused, kept) = world.outcomes
    assert [call.dispatch.task for call in world.calls] == [0]
    assert isinstance(refused, TaskFailed)
    assert (refused.task, refused.failure.reason, refused.failure.retryable) == (1, Reason.PERMISSION_DENIED, False)
    assert RUN.principal in refused.failure.message
    assert kept == TaskSucceeded("a", 0, 1, DONE)


async def test_one_that_waits_for_its_turn_is_judged_when_it_comes() -> None:
    world = World(max_calls=1)
    await world.clock.advance(NEWS.total_seconds())
    for task in range(2):
        world.dispatches.start(RUN, dispatch(task))
    world.standing.held = Role.NONE
    world.calls[0].succeed()
    await asyncio.sleep(0)

    _, refused = world.outcomes
    assert len(world.calls) == 1
    assert isinstance(refused, TaskFailed)
    assert refused.failure.reason is Reason.PERMISSION_DENIED


async def test_a_run_that_is_newer_than_the_news_of_its_starter_is_not_refused_for_good(world: World) -> None:
    world.standing.held = Role.NONE
    world.dispatches.start(RUN, dispatch())

    (told,) = world.outcomes
    assert isinstance(told, TaskFailed)
    assert (told.failure.reason, told.failure.metadata[NOT_SENT]) == (Reason.UNAVAILABLE, "true")
    assert world.calls == []


async def test_what_comes_before_anybody_has_said_who_may_do_what_waits_and_begins_then() -> None:
    world = World(max_calls=2)
    await world.clock.advance(NEWS.total_seconds())
    world.standing.told = False
    for task in range(3):
        world.dispatches.start(RUN, dispatch(task))
    before = list(world.calls)
    world.standing.tell()
    await world.finish()

    assert before == []
    assert world.most == 2
    assert [call.dispatch.task for call in world.calls] == [0, 1, 2]


@pytest.mark.parametrize("end", ["cancel", "leave", "drain"])
async def test_what_waits_for_it_can_be_taken_back(world: World, end: str) -> None:
    world.standing.told = False
    world.dispatches.start(RUN, dispatch())
    match end:
        case "cancel":
            world.dispatches.cancel(RUN.id, CancelTask("a", 0, 1))
        case "leave":
            world.dispatches.leave(RUN.id)
        case "drain":
            await world.dispatches.drain(1)
    world.standing.tell()

    assert world.calls == []
    assert [type(told) for told in world.outcomes] == {"cancel": [TaskCancelled], "leave": [], "drain": [TaskFailed]}[end]


async def test_progress_is_passed_on_once_a_second(world: World) -> None:
    world.dispatches.start(RUN, dispatch())
    for number in range(6):
        world.calls[0].listener.progressed(Progress(number / 10, ""))
        await world.clock.advance(0.4)

    assert [one.progress.fraction for one in world.outcomes if isinstance(one, TaskProgressed)] == [0.0, 0.3]


async def test_no_more_calls_than_the_bound_run_at_once() -> None:
    world = World(max_calls=3)
    for task in range(20):
        world.dispatches.start(RUN, dispatch(task))
    await world.finish()

    assert world.most == 3
    assert [call.dispatch.task for call in world.calls] == list(range(20))
    assert len(world.outcomes) == 20


async def test_many_that_fail_at_once_are_all_reported() -> None:
    world = World(max_calls=1)
    for task in range(5_000):
        world.dispatches.start(RUN, dispatch(task))
    world.refusal = ParadeError(Reason.UNAVAILABLE, "the link is closed")
    world.running[0].succeed()
    await eventually(lambda: len(world.outcomes) == 5_000)

    assert sum(isinstance(one, TaskFailed) for one in world.outcomes) == 4_999


async def test_what_waits_is_handed_out_by_namespace_and_priority() -> None:
    world = World(max_calls=1)
    world.dispatches.start(RUN, dispatch())
    urgent, other = replace(RUN, id="run-2", priority=5), replace(RUN, id="run-3", namespace="other")
    for run in (RUN, urgent, other):
        for task in (1, 2):
            world.dispatches.start(run, dispatch(task))
    await world.finish()

    order = [(call.run.id, call.dispatch.task) for call in world.calls[1:]]
    assert order == [("run-2", 1), ("run-3", 1), ("run-2", 2), ("run-3", 2), ("run-1", 1), ("run-1", 2)]


def test_a_call_of_a_namespace_begins_at_once_while_thousands_of_another_wait() -> None:
    world = World(max_calls=64)
    for task in range(10_000):
        world.dispatches.start(RUN, dispatch(task))
    world.dispatches.start(replace(RUN, id="run-2", namespace="other"), dispatch())

    assert world.running[-1].run.id == "run-2"
    assert world.most <= 64


async def test_a_cancelled_attempt_is_reported_as_such_running_or_waiting() -> None:
    world = World(max_calls=1)
    for task in range(3):
        world.dispatches.start(RUN, dispatch(task))
    for task in (0, 1, 7):
        world.dispatches.cancel("run-1", CancelTask("a", task, 1))
    world.dispatches.cancel("run-2", CancelTask("a", 0, 1))
    await asyncio.sleep(0)

    assert world.outcomes == [TaskCancelled("a", 0, 1), TaskCancelled("a", 1, 1)]
    assert [call.cancelled for call in world.calls] == [True, False]
    assert [call.dispatch.task for call in world.running] == [2]


def test_an_attempt_that_is_under_way_is_not_handed_out_twice(world: World) -> None:
    world.dispatches.start(RUN, dispatch())
    world.dispatches.start(RUN, dispatch(resumed=True))
    world.calls[0].succeed()
    world.dispatches.start(RUN, dispatch())

    assert len(world.calls) == 2
    assert world.outcomes == [TaskSucceeded("a", 0, 1, DONE)]


async def test_a_run_that_is_left_is_heard_of_no_more_and_cancelled_nowhere() -> None:
    world = World(max_calls=2)
    other = replace(RUN, id="run-2")
    for task in range(3):
        world.dispatches.start(RUN, dispatch(task))
    world.dispatches.start(other, dispatch())
    world.dispatches.leave("run-1")
    world.dispatches.leave("run-7")
    await world.finish()

    assert [(call.run.id, call.dispatch.task, call.cancelled) for call in world.calls] == [
        ("run-1", 0, False),
        ("run-1", 1, False),
        ("run-2", 0, False),
    ]
    assert world.reported == [("run-2", TaskSucceeded("a", 0, 1, DONE))]


def test_a_run_that_was_left_and_comes_back_is_heard_of_again(world: World) -> None:
    world.dispatches.start(RUN, dispatch())
    world.dispatches.leave("run-1")
    world.dispatches.start(RUN, dispatch(resumed=True))
    (call,) = world.calls
    call.succeed()

    assert world.outcomes == [TaskSucceeded("a", 0, 1, DONE)]


async def test_an_attempt_of_a_run_that_was_left_waiting_waits_anew_when_it_comes_back() -> None:
    world = World(max_calls=1)
    for task in range(2):
        world.dispatches.start(RUN, dispatch(task))
    world.dispatches.leave("run-1")
    for task in range(2):
        world.dispatches.start(RUN, dispatch(task, resumed=True))
    await world.finish()

    assert [(call.dispatch.task, call.dispatch.resumed) for call in world.calls] == [(0, False), (1, True)]
    assert world.outcomes == [TaskSucceeded("a", 0, 1, DONE), TaskSucceeded("a", 1, 1, DONE)]


async def test_draining_waits_then_abandons_without_a_word_and_hands_out_nothing_more(world: World) -> None:
    for task in range(2):
        world.dispatches.start(RUN, dispatch(task))
    draining = asyncio.create_task(world.dispatches.drain(0.2))
    await asyncio.sleep(0)
    world.calls[0].succeed()
    world.dispatches.start(RUN, dispatch(2))
    await draining

    assert world.outcomes[0] == TaskSucceeded("a", 0, 1, DONE, "")
    refused = world.outcomes[1]
    assert isinstance(refused, TaskFailed)
    assert (refused.task, refused.failure.reason, refused.failure.metadata) == (2, Reason.UNAVAILABLE, {NOT_SENT: "true"})
    assert len(world.outcomes) == 2
    assert world.left


async def test_what_waits_when_draining_begins_was_not_sent() -> None:
    world = World(max_calls=1)
    for task in range(3):
        world.dispatches.start(RUN, dispatch(task))
    draining = asyncio.create_task(world.dispatches.drain(60))
    await eventually(lambda: len(world.outcomes) == 2)
    world.calls[0].succeed()
    async with asyncio.timeout(5):
        await draining

    assert [(one.task, one.failure.metadata) for one in world.outcomes if isinstance(one, TaskFailed)] == [
        (1, {NOT_SENT: "true"}),
        (2, {NOT_SENT: "true"}),
    ]
    assert len(world.calls) == 1
    assert not world.left


async def test_draining_leaves_what_runs_before_it_ends_it_and_takes_that_for_no_outcome(world: World) -> None:
    for task in range(2):
        world.dispatches.start(RUN, dispatch(task))
    await world.dispatches.drain(0.01)

    assert world.reported == []
    assert world.left
    assert not world.cancelled_before_leaving


async def test_draining_leaves_nobody_where_all_has_ended(world: World) -> None:
    world.dispatches.start(RUN, dispatch())
    asyncio.get_running_loop().call_later(0.01, world.calls[0].succeed)
    async with asyncio.timeout(5):
        await world.dispatches.drain(60)

    assert world.outcomes == [TaskSucceeded("a", 0, 1, DONE, "")]
    assert not world.left
