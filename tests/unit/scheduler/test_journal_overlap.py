"""While a batch is being committed the next one is decided on: of other runs, and none of it leaves early."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import SignalReceived, TaskSucceeded
from parade_scheduler.document import Document
from parade_scheduler.leading import journal as module
from parade_scheduler.leading.happenings import ElsewhereError
from parade_scheduler.model import RunState
from parade_scheduler.storage.entries import Change
from tests.support.waiting import eventually
from tests.unit.scheduler.leading import FailingStore, Led, leading

FIRST, SECOND = "run-0001-07", "run-0002-07"
DONE = TaskSucceeded("a", 0, 1, Document(b"7"))


class SlowStore(FailingStore):
    """A store that writes only once it is let."""

    let: asyncio.Event
    written: list[list[str]]

    async def write(self, changes: Collection[Change], shards: Mapping[int, int] | None) -> None:
        self.written.append([change.run.id for change in changes])
        await self.let.wait()
        await super().write(changes, shards)


@pytest.fixture
async def led(tmp_path: Path) -> AsyncIterator[Led]:
    async with leading(tmp_path, SlowStore) as led:
        store(led).let, store(led).written = asyncio.Event(), []
        yield led
        store(led).let.set()


def store(led: Led) -> SlowStore:
    assert isinstance(led.store, SlowStore)
    return led.store


async def begun(led: Led) -> "asyncio.Task[object]":
    """Begins the first run, and returns once it is being written."""
    led.lead()
    starting = asyncio.create_task(led.begin(1))
    await eventually(lambda: store(led).written == [[FIRST]])
    return starting


async def decided(led: Led, run: str) -> None:
    await eventually(lambda: led.journal.holds(run))


async def test_another_run_is_decided_on_and_released_only_after_its_own_commit(led: Led) -> None:
    first = await begun(led)
    second = asyncio.create_task(led.begin(2))
    await decided(led, SECOND)

    assert not second.done()
    assert led.released == []
    assert store(led).written == [[FIRST]]

    store(led).let.set()
    await asyncio.gather(first, second)
    assert store(led).written == [[FIRST], [SECOND]]
    assert [run for run, _ in led.dispatches] == [FIRST, SECOND]


async def test_what_happens_to_a_run_that_is_being_written_waits_and_keeps_its_order(led: Led) -> None:
    first = await begun(led)
    signal = asyncio.create_task(led.journal.request(FIRST, SignalReceived("go", Document(b"1"), "ana")))
    await asyncio.sleep(0)
    led.journal.report(FIRST, DONE)
    await asyncio.sleep(0.05)
    assert store(led).written == [[FIRST]]

    store(led).let.set()
    await asyncio.gather(first, signal)
    await led.journal.written()
    run = await led.store.run("default", FIRST)
    assert run is not None
    assert run.state is RunState.SUCCEEDED
    assert store(led).written == [[FIRST], [FIRST]]


async def test_a_commit_that_fails_leaves_the_batch_after_it_as_it_is(led: Led) -> None:
    led.store.before.append(OSError("the disk is gone"))
    first = await begun(led)
    second = asyncio.create_task(led.begin(2))
    await decided(led, SECOND)

    store(led).let.set()
    await led.until(lambda: first.done() and second.done())

    with pytest.raises(ParadeError) as caught:
        await first
    assert caught.value.reason is Reason.UNAVAILABLE
    assert await second is not None
    assert [run for run, _ in led.dispatches] == [SECOND]


async def test_a_shard_that_is_lost_takes_what_was_decided_along(led: Led) -> None:
    first = await begun(led)
    second = asyncio.create_task(led.begin(2))
    await decided(led, SECOND)
    led.shards.held = {}
    led.journal.drop([7])

    with pytest.raises(ElsewhereError):
        await second
    store(led).let.set()
    await asyncio.gather(first, return_exceptions=True)
    assert led.dispatches == []
    assert await led.store.run("default", SECOND) is None


async def test_a_batch_grows_no_further_than_it_may(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    first = await begun(led)
    others = [asyncio.create_task(led.begin(number)) for number in range(2, 7)]
    await decided(led, "run-0004-07")

    store(led).let.set()
    await asyncio.gather(first, *others)
    assert [len(runs) for runs in store(led).written] == [1, 3, 2]
