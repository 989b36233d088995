"""The one writer: nothing leaves before its commit, what only waits leaves memory, and a commit that fails costs nobody anything.

One file, though a long one: it follows what happens to a run through one writer, from its start to the loss of its shard.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import CancelRequested, Decider, Decisions, Execution, Occurrence, Started, TaskCancelled, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.leading import journal as module
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.model import EventType, RunState, TaskState
from parade_scheduler.storage.store import LostError
from tests.support.waiting import eventually
from tests.unit.scheduler.leading import Led, leading

RUN = "run-0001-07"
SLEEPING = "name: sleeping\nsteps: {a: {wait: {timer: 1h}}, b: {call: x.b, needs: a}}"
BROKEN_LOG = "UPDATE entry SET number = 7 WHERE run = 'run-0001-07'"
DONE = TaskSucceeded("a", 0, 1, Document(b"7"))


@pytest.fixture
async def led(tmp_path: Path) -> AsyncIterator[Led]:
    async with leading(tmp_path) as led:
        yield led


def broken(code: str = "SQLITE_IOERR_WRITE") -> sqlite3.OperationalError:
    """Returns what SQLite raises where it cannot write."""
    error = sqlite3.OperationalError(code)
    error.sqlite_errorname = code
    return error


async def refused(asking: "asyncio.Task[Whole | None]", reason: Reason) -> None:
    with pytest.raises(ParadeError) as caught:
        await asking
    assert caught.value.reason is reason, caught.value


async def test_what_is_acknowledged_is_stored_and_what_is_released_was_stored_before(led: Led) -> None:
    led.lead()
    whole = await led.begin()

    assert whole is not None
    assert await led.store.run("default", RUN) == whole[0]
    assert [run for run, _ in led.dispatches] == [RUN]


async def test_many_happenings_go_into_one_commit(led: Led) -> None:
    starts = [asyncio.create_task(led.begin(number)) for number in range(50)]
    await asyncio.sleep(0)  # all are queued now, and nobody writes yet

    led.lead()
    await asyncio.gather(*starts)

    assert led.store.writes == 1
    assert led.journal.active == 50


async def test_a_run_goes_to_its_end_and_leaves_memory(led: Led) -> None:
    led.lead()
    await led.begin()
    with led.watchers.awaiting_end(RUN) as watcher:
        led.journal.report(RUN, DONE)
        assert await watcher.news(5)

    assert watcher.ended is not None
    run, steps = watcher.ended
    assert (run.state, steps[0].output) == (RunState.SUCCEEDED, Document(b"7"))
    assert await led.store.run("default", RUN) == run
    assert await led.store.steps(RUN) == steps
    assert led.journal.active == 0


async def test_what_happens_to_a_run_that_has_ended_or_is_none_changes_nothing(led: Led) -> None:
    led.lead()
    await led.begin()
    led.journal.report(RUN, DONE)
    await led.written()
    writes = led.store.writes

    ended = await led.journal.request(RUN, CancelRequested())
    none = await led.journal.request("run-none-01", CancelRequested())
    led.journal.report("run-none-01", DONE)
    await led.written()

    assert ended is not None
    assert ended[0].state is RunState.SUCCEEDED
    assert none is None
    assert led.store.writes == writes


async def test_who_only_looks_sees_what_is_stored_and_writes_nothing(led: Led) -> None:
    led.lead()
    await led.begin()
    writes = led.store.writes

    whole = await led.journal.request(RUN, None)

    assert whole is not None
    assert whole[0] == await led.store.run("default", RUN)
    assert led.store.writes == writes


async def test_a_run_that_sleeps_for_long_leaves_memory_and_wakes_in_time(led: Led) -> None:
    await led.put(SLEEPING)
    led.lead()
    await led.begin(source=SLEEPING)

    assert led.journal.active == 0
    [stored] = await led.store.load([RUN])
    assert (stored.parked, stored.wake) == (True, led.clock.now() + timedelta(hours=1))

    await led.clock.advance(3590)
    await led.written()
    assert led.journal.active == 0
    await led.until(lambda: led.journal.holds(RUN))
    assert not led.dispatches
    await led.until(lambda: led.dispatches)

    [stored] = await led.store.load([RUN])
    assert not stored.parked
    late = led.clock.now() - stored.run.create_time
    assert timedelta(hours=1) <= late <= timedelta(hours=1, seconds=1.5)


async def test_a_run_that_was_woken_and_lost_before_its_time_wakes_again(led: Led) -> None:
    await led.put(SLEEPING)
    led.lead()
    await led.begin(source=SLEEPING)
    await led.clock.advance(3594)
    await led.until(lambda: led.journal.holds(RUN))

    await led.crash()

    await led.until(lambda: led.dispatches)


async def test_a_sleeping_run_is_loaded_for_what_happens_to_it(led: Led) -> None:
    await led.put(SLEEPING)
    led.lead()
    await led.begin(source=SLEEPING)

    whole = await led.journal.request(RUN, CancelRequested("enough"))

    assert whole is not None
    assert whole[0].state is RunState.CANCELLED
    assert led.journal.active == 0


async def test_many_sleeping_runs_are_woken_together(led: Led) -> None:
    await led.put(SLEEPING)
    led.lead()
    await asyncio.gather(*(led.begin(number, SLEEPING) for number in range(300)))
    assert led.journal.active == 0

    await led.clock.advance(3594)
    await led.until(lambda: led.journal.active == 300)
    before = led.store.writes
    await led.until(lambda: len(led.dispatches) == 300)

    assert led.store.writes - before <= 3


async def test_a_time_of_day_set_back_lets_no_history_run_backwards(led: Led) -> None:
    led.lead()
    await led.begin()
    led.clock._start -= timedelta(hours=1)

    led.journal.report(RUN, DONE)
    await led.written()

    times = [event.time for event in await led.store.events(RUN, 0, 50)]
    assert times == sorted(times)


async def test_a_second_start_of_a_request_is_told_and_leaves_nothing(led: Led) -> None:
    starts = [asyncio.create_task(led.begin(number, request_id="order-7")) for number in (1, 2)]
    other = asyncio.create_task(led.begin(3))
    await asyncio.sleep(0)

    led.lead()
    first, second = await asyncio.gather(*starts)

    assert first is not None
    assert second is None
    assert await other is not None
    assert await led.begin(4, request_id="order-7") is None
    assert await led.store.load(["run-0002-07", "run-0004-07"]) == []
    assert {run for run, _ in led.dispatches} == {RUN, "run-0003-07"}


async def test_a_commit_that_fails_refuses_who_asked_and_keeps_what_was_reported(led: Led) -> None:
    led.lead()
    await led.begin()
    led.store.before = [broken() for _ in range(3)]
    led.journal.report(RUN, DONE)
    starting = asyncio.create_task(led.begin(2))

    await led.until(starting.done)
    await refused(starting, Reason.UNAVAILABLE)
    await led.written()

    assert await led.store.load(["run-0002-07"]) == []
    run = await led.store.run("default", RUN)
    assert run is not None
    assert run.state is RunState.SUCCEEDED
    assert [run for run, _ in led.dispatches] == [RUN]  # what goes on here is not handed out again
    assert not led.cancels


async def test_a_full_disk_is_said_as_such(led: Led) -> None:
    led.lead()
    led.store.before = [broken("SQLITE_FULL")]
    starting = asyncio.create_task(led.begin())
    await led.until(starting.done)

    await refused(starting, Reason.NO_CAPACITY)
    assert not led.released
    assert await led.begin() is not None


async def test_a_commit_whose_answer_was_lost_counts(led: Led) -> None:
    led.lead()
    led.store.after = [ConnectionResetError("gone")]

    whole = await led.begin()

    assert whole is not None
    assert [run for run, _ in led.dispatches] == [RUN]


async def test_a_cancel_that_could_not_be_stored_has_not_happened(led: Led) -> None:
    led.lead()
    await led.begin()
    led.store.before = [broken()]
    asking = asyncio.create_task(led.journal.request(RUN, CancelRequested()))
    await led.until(asking.done)
    await refused(asking, Reason.UNAVAILABLE)
    await led.written()

    whole = await led.journal.request(RUN, None)
    assert whole is not None
    assert whole[0].state is RunState.RUNNING
    assert not led.cancels
    await led.journal.request(RUN, CancelRequested())
    led.journal.report(RUN, TaskCancelled("a", 0, 1))
    await led.written()
    stored = await led.store.run("default", RUN)
    assert stored is not None
    assert stored.state is RunState.CANCELLED


async def test_a_run_with_a_timer_alone_is_taken_up_again_after_a_commit_that_failed(led: Led) -> None:
    source = "name: brief\nsteps: {a: {wait: {timer: 30s}}, b: {call: x.b, needs: a}}"
    await led.put(source)
    led.lead()
    await led.begin(source=source)
    led.store.before = [broken()]
    asking = asyncio.create_task(led.journal.request(RUN, CancelRequested()))
    await led.until(asking.done)
    await refused(asking, Reason.UNAVAILABLE)

    await led.until(lambda: led.dispatches)


async def test_a_shard_that_was_lost_takes_its_runs_along_and_no_other(led: Led) -> None:
    led.lead()
    await led.begin()
    led.store.before = [LostError(frozenset({7}))]
    asking = asyncio.create_task(led.journal.request(RUN, CancelRequested()))

    with pytest.raises(ElsewhereError):
        await asking

    assert not led.journal.holds(RUN)
    assert led.left == [RUN]
    assert not led.cancels
    with pytest.raises(ElsewhereError):
        await led.journal.request(RUN, CancelRequested())


async def test_outcomes_of_runs_that_others_lead_are_dropped(led: Led) -> None:
    led.lead()
    await led.begin()
    led.shards.lost({7})
    led.journal.drop({7})
    writes = led.store.writes

    led.journal.report(RUN, DONE)
    await led.written()

    assert led.store.writes == writes
    run = await led.store.run("default", RUN)
    assert run is not None
    assert run.state is RunState.RUNNING


async def test_a_crash_hands_out_again_what_was_under_way(led: Led) -> None:
    led.lead()
    await led.begin()

    await led.crash()

    await eventually(lambda: len(led.dispatches) == 1)
    [(run, dispatch)] = led.dispatches
    assert (run, dispatch.attempt, dispatch.resumed) == (RUN, 1, True)
    led.journal.report(RUN, DONE)
    await led.written()
    kinds = [event.type for event in await led.store.events(RUN, 0, 50)]
    assert kinds.count(EventType.TASK_SUCCEEDED) == 1
    assert kinds[-1] is EventType.RUN_SUCCEEDED


async def test_a_fault_of_the_decider_in_one_run_harms_no_other(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    led.lead()
    await led.begin()
    await led.begin(2)
    decide = Decider.decide
    faults = 0

    def failing(decider: Decider, execution: Execution, occurrence: Occurrence, now: datetime) -> Decisions:
        nonlocal faults
        if execution.run.id == RUN and isinstance(occurrence, CancelRequested):
            faults += 1
            raise RuntimeError("a fault")
        return decide(decider, execution, occurrence, now)

    monkeypatch.setattr(Decider, "decide", failing)
    asking = [asyncio.create_task(led.journal.request(run, CancelRequested())) for run in (RUN, "run-0002-07")]
    await asyncio.wait(asking)
    await refused(asking[0], Reason.INTERNAL)
    whole = await asking[1]

    assert whole is not None
    assert whole[0].state is RunState.CANCELLING
    assert faults == 1
    await led.written()
    [stored] = await led.store.load([RUN])
    assert [task.state for task in stored.tasks] == [TaskState.RUNNING]
    led.journal.report(RUN, DONE)
    await led.written()
    run = await led.store.run("default", RUN)
    assert run is not None
    assert run.state is RunState.SUCCEEDED


async def test_too_many_waiting_requests_of_a_namespace_are_refused_and_those_of_another_are_not(
    led: Led, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    waiting = [asyncio.create_task(led.journal.request(RUN, CancelRequested())) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(ParadeError) as caught:
        await led.journal.request(RUN, CancelRequested())

    assert caught.value.reason is Reason.NO_CAPACITY
    other = asyncio.create_task(led.journal.request(RUN, CancelRequested(), namespace="other"))
    led.lead()
    await asyncio.gather(*waiting, other)
    await led.journal.request(RUN, CancelRequested())


async def test_who_waits_when_the_process_ends_is_told(led: Led) -> None:
    waiting = asyncio.create_task(led.journal.start(led.execution(), Started()))
    await asyncio.sleep(0)
    led.lead()
    led.store.before = [broken()] * 1000
    await asyncio.sleep(0)

    await led.end()

    await refused(waiting, Reason.UNAVAILABLE)


async def test_who_asks_once_the_process_has_ended_is_told(led: Led) -> None:
    led.lead()
    await led.begin()
    await led.end()

    await refused(asyncio.create_task(led.begin(2)), Reason.UNAVAILABLE)
    await refused(asyncio.create_task(led.journal.request(RUN, None)), Reason.UNAVAILABLE)


async def test_a_run_that_cannot_be_stored_holds_no_other_up(led: Led) -> None:
    led.lead()
    await led.begin()
    await led.begin(2)
    # A trigger of the database's own refuses one run, as a value that it cannot keep would.
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON entry WHEN NEW.run = '{run}' BEGIN SELECT RAISE(ABORT, 'no'); END"
    await led.execute(refuse.format(run=RUN))
    led.journal.report("run-0002-07", DONE)
    led.journal.report(RUN, DONE)
    third = asyncio.create_task(led.begin(3))
    await led.until(third.done)
    await led.written()

    assert (await third) is not None
    other = await led.store.run("default", "run-0002-07")
    assert other is not None
    assert other.state is RunState.SUCCEEDED
    await led.execute("DROP TRIGGER refuse")
    await led.journal.request(RUN, CancelRequested())
    led.journal.report(RUN, TaskCancelled("a", 0, 1))
    await led.written()
    left = await led.store.run("default", RUN)
    assert left is not None
    assert left.state is RunState.CANCELLED


async def test_a_run_whose_log_is_broken_holds_no_other_up(led: Led) -> None:
    await led.put(SLEEPING)
    led.lead()
    await asyncio.gather(*(led.begin(number, SLEEPING) for number in (1, 2)))
    await led.execute(BROKEN_LOG)

    asking = [asyncio.create_task(led.journal.request(run, CancelRequested())) for run in (RUN, "run-0002-07")]
    await asyncio.wait(asking)

    await refused(asking[0], Reason.INTERNAL)
    whole = await asking[1]
    assert whole is not None
    assert whole[0].state is RunState.CANCELLED


async def test_after_a_crash_all_runs_that_go_on_are_taken_up_but_one_whose_log_is_broken(led: Led) -> None:
    led.lead()
    await asyncio.gather(*(led.begin(number) for number in range(1, 251)))
    await led.execute(BROKEN_LOG)

    await led.crash()

    await led.until(lambda: len(led.dispatches) == 249)
    assert led.journal.active == 249
    assert RUN not in {run for run, _ in led.dispatches}
