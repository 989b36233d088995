"""The one writer: nothing leaves before its commit, and a commit that fails ends everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import SystemClock
from parade_chassis.ownership import Ownership
from parade_chassis.store import Database
from parade_scheduler import journal as module
from parade_scheduler.decider import CancelRequested, Decider, Decisions, Dispatch, Execution, Started, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.journal import Journal
from parade_scheduler.language import read
from parade_scheduler.model import Run, RunState
from parade_scheduler.store import Store
from parade_scheduler.tables import METADATA
from tests.unit.scheduler.simulation import START

FLOW = read("name: flow\nsteps: {a: {call: x.a}}")


class Led:
    """A journal with a real store, and what it has released."""

    def __init__(self, store: Store, ownership: Ownership) -> None:
        self.store = store
        self.ownership = ownership
        self.journal = Journal(store, Decider(lambda: 0.0), SystemClock())
        self.released: list[tuple[str, Decisions]] = []

    def release(self, run: Run, decisions: Decisions) -> None:
        self.released.append((run.id, decisions))

    def execution(self, number: int = 1) -> Execution:
        return Execution(FLOW, Run(f"run-{number}", "default", "flow", 1, Document(b"{}"), START))


@pytest.fixture
async def led(tmp_path: Path) -> AsyncIterator[Led]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    database = await Database.open(url, "parade_scheduler", METADATA)
    ownership = await Ownership.acquire(database, "scheduler", SystemClock(), Log())
    yield Led(Store(database, ownership), ownership)
    await ownership.release()
    await database.close()


@asynccontextmanager
async def leading(led: Led) -> AsyncIterator[None]:
    task = asyncio.create_task(led.journal.lead(led.release))
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_what_is_acknowledged_is_stored_and_what_is_released_was_stored_before(led: Led) -> None:
    async with leading(led):
        decisions = await led.journal.start(led.execution(), Started())

        assert await led.store.run("default", "run-1") == decisions.run
        assert led.released == [("run-1", decisions)]
        assert any(isinstance(effect, Dispatch) for effect in decisions.effects)


async def test_many_occurrences_go_into_one_commit(led: Led) -> None:
    starts = [asyncio.create_task(led.journal.start(led.execution(number), Started())) for number in range(50)]
    await asyncio.sleep(0)  # all are queued now, and nobody writes yet

    async with leading(led):
        await asyncio.gather(*starts)
        led.journal.report("run-7", TaskSucceeded("a", 0, 1, Document(b"7")))
        await led.journal.written()

    assert led.journal.active == 49
    run = await led.store.run("default", "run-7")
    assert run is not None
    assert run.state is RunState.SUCCEEDED


async def test_what_happens_to_a_run_that_is_not_led_changes_nothing(led: Led) -> None:
    async with leading(led):
        await led.journal.request("run-9", CancelRequested())
        led.journal.report("run-9", TaskSucceeded("a", 0, 1, Document(b"7")))
        await led.journal.written()

    assert led.released == []


async def test_a_commit_that_fails_ends_the_journal_and_releases_nothing(led: Led) -> None:
    await led.ownership.release()
    starting = asyncio.create_task(led.journal.start(led.execution(), Started()))
    await asyncio.sleep(0)

    with pytest.raises(Exception, match=r"(?i)closed|invalid"):
        await led.journal.lead(led.release)

    with pytest.raises(ParadeError) as caught:
        await starting
    assert caught.value.reason is Reason.UNAVAILABLE
    assert led.released == []


async def test_too_many_waiting_requests_are_refused(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    waiting = [asyncio.create_task(led.journal.request("run-1", CancelRequested())) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(ParadeError) as caught:
        await led.journal.request("run-1", CancelRequested())

    assert caught.value.reason is Reason.NO_CAPACITY
    async with leading(led):
        await asyncio.gather(*waiting)
