"""What becomes of started calls, over a real store: stored, made, followed, cancelled and taken up; none is ever stuck.

One file, though a long one: it follows one kind of call from its start through every way that it can end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade_chassis.clock import SystemClock
from parade_chassis.ids import Ids
from parade_dispatcher.calls import StartedCalls
from parade_dispatcher.changes import CallState, StartedCall
from parade_dispatcher.keeping import Keeping
from parade_dispatcher.model import Answer, Effect, Function, Progress, Request, Timing
from parade_dispatcher.ports import Reply
from parade_dispatcher.running import MOST_ITEM_BYTES
from tests.support.waiting import eventually

LOG = Log()
REQUEST = Request("shop", "find", b'{"a":1}', Identity.client("developer", "default"), "default", "spiffe://x", call_id="call-00000001")
KEY = ("default", "call-00000001")


class Job:
    """A call at the engine, whose course the test sets."""

    def __init__(self, request: Request, reply: Reply) -> None:
        self.request = request
        self.reply = reply
        self.cancelled = False
        self.granted = 0

    def cancel(self) -> None:
        self.cancelled = True

    def grant(self, size: int) -> None:
        self.granted += size


class Engine:
    """Stands in for what makes calls."""

    def __init__(self) -> None:
        self.function = Function("find", effect=Effect.PURE, timeout=60)
        self.wait = 0.0
        """Seconds that a call may wait for an approval."""
        self.jobs: list[Job] = []
        self.refusals: list[ParadeError] = []

    def check(self, request: Request) -> tuple[Function, float]:
        if request.function != "find":
            raise ParadeError(Reason.UNKNOWN_FUNCTION, "there is none")
        return self.function, self.wait

    def begin(self, request: Request, reply: Reply) -> Job:
        job = Job(request, reply)
        self.jobs.append(job)
        if self.refusals:
            reply.failed(self.refusals.pop(0), Timing())
        return job

    async def job(self, number: int = 0) -> Job:
        await eventually(lambda: len(self.jobs) > number)
        return self.jobs[number]


class Dispatcher:
    def __init__(self, url: str, name: str) -> None:
        clock = SystemClock()
        self.keeping = Keeping(url, name, clock, Ids(clock), LOG)
        self.engine = Engine()
        self.calls: StartedCalls = self.keeping.started_calls(self.engine)
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        loops = [loop for loop, _ in self.keeping.loops()]
        self.tasks = [asyncio.create_task(loop) for loop in (*loops, self.calls.keep())]

    async def die(self) -> None:
        """Ends as a process does that is killed: nothing is put away."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        store = self.keeping._storage._store
        if store is not None:
            await store._database.close()
        self.keeping._storage._store = None

    async def state(self, key: tuple[str, str] = KEY) -> CallState:
        return (await self.calls.get(key)).state

    async def ended(self, key: tuple[str, str] = KEY) -> StartedCall:
        call = await self.calls.wait(key, None, 20)
        assert call.ended
        return call


Starts = Callable[[str], Awaitable[Dispatcher]]


@asynccontextmanager
async def dispatchers(url: str) -> AsyncIterator[Starts]:
    running: list[Dispatcher] = []

    async def start(name: str) -> Dispatcher:
        dispatcher = Dispatcher(url, name)
        await dispatcher.keeping.start()
        dispatcher.begin()
        running.append(dispatcher)
        return dispatcher

    yield start
    for dispatcher in running:
        await dispatcher.die()


@pytest.fixture
async def starts(tmp_path: Path) -> AsyncIterator[Starts]:
    async with dispatchers(f"sqlite:///{tmp_path / 'store.db'}") as start:
        yield start


@pytest.fixture
async def one(starts: Starts) -> Dispatcher:
    return await starts("one")


def answer(result: bytes | None = b"7") -> Answer:
    return Answer(result, KEY[1], "shop-1", Timing(1, 2, 3))


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 3660), (90, 90), (5000, 3660)])
async def test_a_call_that_may_wait_for_an_approval_has_that_time_besides_its_functions(
    one: Dispatcher, timeout: float | None, seconds: float
) -> None:
    one.engine.wait = 3600

    started = await one.calls.start(replace(REQUEST, timeout=timeout))

    assert started.deadline - started.create_time == timedelta(seconds=seconds)


async def test_a_call_is_stored_then_made_and_its_outcome_kept(one: Dispatcher) -> None:
    started = await one.calls.start(replace(REQUEST))
    stored = await one.calls.get(KEY)
    job = await one.engine.job()
    job.reply.assigned(KEY[1], "shop-1")
    await eventually(lambda: _is(one, CallState.RUNNING))
    job.reply.answered(answer())

    call = await one.ended()

    assert (started.id, stored.id) == (KEY[1], KEY[1])
    assert stored.state is CallState.QUEUED
    assert (call.state, call.result, call.instance_id, call.attempts, call.timing) == (
        CallState.SUCCEEDED,
        b"7",
        "shop-1",
        1,
        Timing(1, 2, 3),
    )
    assert job.request.timeout is not None
    assert 50 < job.request.timeout <= 60  # the first call to be stored opens the store
    assert not job.request.redelivered


async def _is(dispatcher: Dispatcher, state: CallState) -> bool:
    return await dispatcher.state() is state


async def test_the_same_id_is_the_same_call_and_another_call_may_not_have_it(one: Dispatcher) -> None:
    first = await one.calls.start(replace(REQUEST))

    again = await one.calls.start(replace(REQUEST))
    with pytest.raises(ParadeError) as raised:
        await one.calls.start(replace(REQUEST, arguments=b"{}"))

    assert again.create_time == first.create_time
    assert raised.value.reason is Reason.ALREADY_EXISTS
    await one.engine.job()
    await asyncio.sleep(0.05)
    assert len(one.engine.jobs) == 1


async def test_what_cannot_be_called_is_not_stored(one: Dispatcher) -> None:
    with pytest.raises(ParadeError) as raised:
        await one.calls.start(replace(REQUEST, function="other"))
    with pytest.raises(ParadeError) as missing:
        await one.calls.get(KEY)

    assert raised.value.reason is Reason.UNKNOWN_FUNCTION
    assert missing.value.reason is Reason.NOT_FOUND


async def test_a_call_goes_on_whose_caller_has_gone_before_it_was_stored(one: Dispatcher) -> None:
    asking = asyncio.create_task(one.calls.start(replace(REQUEST)))
    await asyncio.sleep(0)
    asking.cancel()

    assert (await one.engine.job()).request.call_id == KEY[1]


async def test_a_call_that_nothing_can_take_waits(one: Dispatcher) -> None:
    one.engine.refusals = [ParadeError(Reason.NO_CAPACITY, "none is ready"), ParadeError(Reason.UNAVAILABLE, "not synced")]
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job(2)

    job.reply.answered(answer())

    assert (await one.ended()).state is CallState.SUCCEEDED


async def test_a_call_that_waits_ends_at_its_deadline(one: Dispatcher) -> None:
    one.engine.refusals = [ParadeError(Reason.NO_CAPACITY, "none is ready")] * 9
    await one.calls.start(replace(REQUEST, timeout=0.8))

    call = await one.ended()

    assert call.state is CallState.FAILED
    assert call.error is not None
    assert call.error.reason is Reason.NO_CAPACITY


async def test_a_failure_is_kept(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))
    error = ParadeError(Reason.AGENT_ERROR, "no", metadata={"instance": "shop-2", "exception_type": "E"})
    (await one.engine.job()).reply.failed(error, Timing(1))

    call = await one.ended()

    assert (call.state, call.instance_id, call.timing) == (CallState.FAILED, "shop-2", Timing(1))
    assert call.error is not None
    assert vars(call.error) == vars(error)


async def test_items_are_stored_before_there_is_room_for_more(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    for number in range(3):
        job.reply.item(b"%d" % number)
    granted_at_once = job.granted
    some = await one.calls.wait(KEY, 0, 10)
    await eventually(lambda: job.granted > 0)
    job.reply.item(b"3")
    job.reply.answered(answer(None))

    call = await one.ended()

    assert granted_at_once == 0
    assert some.item_count > 0
    assert not some.ended
    assert (call.state, call.result, call.item_count) == (CallState.SUCCEEDED, None, 4)
    assert await one.calls.items(KEY, 1) == [b"1", b"2", b"3"]


async def test_too_many_items_fail_the_call(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    for _ in range(MOST_ITEM_BYTES // 2**20):
        job.reply.item(b"0" * 2**20)
    job.reply.failed(ParadeError(Reason.CANCELLED, "cancelled"), Timing())

    call = await one.ended()

    assert job.cancelled
    assert call.state is CallState.FAILED
    assert call.error is not None
    assert "16 MiB" in call.error.message
    assert call.item_count == 15


async def test_progress_is_written_now_and_then_and_the_newest_stays(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    for percent in range(0, 100, 10):
        job.reply.progressed(Progress(percent / 100, "going"))

    async def newest() -> bool:
        return (await one.calls.get(KEY)).progress == Progress(0.9, "going")

    first = (await one.calls.get(KEY)).progress
    await eventually(newest, within=5)

    assert first != Progress(0.9, "going")


async def test_a_cancelled_call_ends_when_its_function_has_stopped(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()

    asked = await one.calls.cancel(KEY)
    job.reply.cancelling("ACKNOWLEDGED")
    await eventually(lambda: _cancellation(one, "ACKNOWLEDGED"))
    job.reply.failed(ParadeError(Reason.CANCELLED, "cancelled", metadata={"cancellation": "COULD_NOT_STOP"}), Timing())

    call = await one.ended()
    assert job.cancelled
    assert (asked.cancellation, asked.ended) == ("REQUESTED", False)
    assert (call.state, call.cancellation) == (CallState.CANCELLED, "COULD_NOT_STOP")
    assert (await one.calls.cancel(KEY)).state is CallState.CANCELLED


async def _cancellation(dispatcher: Dispatcher, state: str) -> bool:
    return (await dispatcher.calls.get(KEY)).cancellation == state


async def test_a_call_that_waits_is_cancelled_at_once(one: Dispatcher) -> None:
    one.engine.refusals = [ParadeError(Reason.NO_CAPACITY, "none is ready")] * 9
    await one.calls.start(replace(REQUEST))
    await one.engine.job()

    await one.calls.cancel(KEY)

    call = await one.ended()
    assert (call.state, call.cancellation) == (CallState.CANCELLED, "STOPPED")


async def test_another_dispatcher_waits_and_cancels(one: Dispatcher, starts: Starts) -> None:
    other = await starts("other")
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    waiting = asyncio.create_task(other.calls.wait(KEY, 0, 20))
    job.reply.item(b"1")
    first = await waiting

    waiting = asyncio.create_task(other.ended())
    asked = await other.calls.cancel(KEY)
    await eventually(lambda: job.cancelled)
    job.reply.failed(ParadeError(Reason.CANCELLED, "cancelled", metadata={"cancellation": "STOPPED"}), Timing())

    call = await waiting
    assert first.item_count == 1
    assert asked.cancellation == "REQUESTED"
    assert (call.state, call.cancellation) == (CallState.CANCELLED, "STOPPED")
    assert other.engine.jobs == []


async def test_waiting_ends_in_time(one: Dispatcher) -> None:
    await one.calls.start(replace(REQUEST))

    call = await one.calls.wait(KEY, None, 0.2)

    assert not call.ended


async def test_the_next_process_of_the_replica_takes_its_calls_up_at_once(one: Dispatcher, starts: Starts) -> None:
    await one.calls.start(replace(REQUEST))
    await one.engine.job()
    await one.die()

    again = await starts("one")
    job = await again.engine.job()
    job.reply.answered(answer())

    assert (await again.ended()).state is CallState.SUCCEEDED
    assert job.request.redelivered
    assert job.request.arguments == REQUEST.arguments


async def test_another_replica_takes_calls_up_when_the_lease_has_passed(one: Dispatcher, starts: Starts) -> None:
    other = await starts("other")
    await one.calls.start(replace(REQUEST))
    await one.engine.job()
    waiting = asyncio.create_task(other.ended())
    await one.die()
    began = asyncio.get_running_loop().time()

    await eventually(lambda: len(other.engine.jobs) == 1, within=15)
    took = asyncio.get_running_loop().time() - began
    other.engine.jobs[0].reply.answered(answer())

    assert (await waiting).state is CallState.SUCCEEDED
    assert took > 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cancel_requested": True}, Reason.CANCELLED),
        ({"item_count": 1}, Reason.AGENT_LOST),
        ({"deadline": timedelta(seconds=-1)}, Reason.DEADLINE_EXCEEDED),
    ],
)
async def test_a_call_that_cannot_be_made_again_ends_with_a_reason(
    one: Dispatcher, starts: Starts, changes: dict[str, object], reason: Reason
) -> None:
    call = await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    if "cancel_requested" in changes:
        await one.calls.cancel(KEY)
    elif "item_count" in changes:
        job.reply.item(b"1")
        await one.calls.wait(KEY, 0, 10)
    await one.die()
    if "deadline" in changes:
        await _let_pass(one, call)

    again = await starts("one")

    found = await again.ended()
    assert found.error is not None
    assert found.error.reason is reason
    assert again.engine.jobs == []


async def _let_pass(dispatcher: Dispatcher, call: StartedCall) -> None:
    from sqlalchemy import update

    from parade_dispatcher.tables import CALLS

    store = await dispatcher.keeping._storage.store()
    async with store._database.transaction() as connection:
        await connection.execute(update(CALLS).values(deadline=0))
    await store._database.close()
    dispatcher.keeping._storage._store = None


async def test_an_effect_is_taken_up_even_where_it_was_cancelled(one: Dispatcher, starts: Starts) -> None:
    one.engine.function = Function("find", effect=Effect.EFFECT, timeout=60)
    await one.calls.start(replace(REQUEST))
    await one.engine.job()
    await one.calls.cancel(KEY)
    await one.die()

    again = await starts("one")
    job = await again.engine.job()

    await eventually(lambda: job.cancelled)
    assert job.request.redelivered
    job.reply.failed(ParadeError(Reason.OUTCOME_UNKNOWN, "?"), Timing())
    assert (await again.ended()).state is CallState.FAILED


async def test_a_dispatcher_that_ends_well_leaves_its_calls_at_once(one: Dispatcher, starts: Starts) -> None:
    other = await starts("other")
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    await eventually(lambda: other.calls._looked, within=10)

    await one.calls.close(0.1)
    await one.keeping.close(5)
    job.reply.failed(ParadeError(Reason.CANCELLED, "its connection was closed"), Timing())

    assert (await other.engine.job()).request.redelivered
    assert await other.state() is not CallState.CANCELLED


async def test_what_a_dispatcher_says_that_was_taken_for_dead_is_not_written(one: Dispatcher, starts: Starts) -> None:
    await one.calls.start(replace(REQUEST))
    job = await one.engine.job()
    other = await starts("one")  # by its name it has ended
    taken_up = await other.engine.job()

    job.reply.failed(ParadeError(Reason.INTERNAL, "late"), Timing())
    await one.keeping._journal.flush(5)
    taken_up.reply.answered(answer())

    assert (await other.ended()).state is CallState.SUCCEEDED
    await eventually(lambda: not one.calls._running)


async def test_a_dispatcher_in_which_nothing_is_written_down_opens_no_store(one: Dispatcher) -> None:
    await asyncio.sleep(0.7)

    assert not one.keeping._storage.opened


@pytest.mark.parametrize(
    "url", ["sqlite:///{folder}/file/store.db", "sqlite:///{folder}/file", "mysql://x/y", "postgresql://nobody@127.0.0.1:1/none"]
)
async def test_a_database_that_is_of_no_use_is_said_at_the_start(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").write_text("this is no database" * 100)
    dispatcher = Dispatcher(url.format(folder=tmp_path), "one")

    with pytest.raises(ValueError, match=r"database|supported"):
        await dispatcher.keeping.start()
    for loop, _ in dispatcher.keeping.loops():
        loop.close()
