"""A shard that goes and comes back: what was begun under its earlier epoch neither stands nor falls with the new one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from parade.wire.log import Log
from parade_scheduler.decider import CancelRequested
from parade_scheduler.leading.happenings import ElsewhereError
from parade_scheduler.leading.ownership import LeasedShards
from parade_scheduler.model import EventType, RunEvent, RunState
from parade_scheduler.storage.entries import Change, Stored
from parade_scheduler.storage.store import SHARD_COUNT, TakenError
from tests.support.waiting import eventually
from tests.unit.scheduler.leading import FailingStore, Led, leading

RUN, OTHER = "run-0001-07", "run-0002-07"


class SlowStore(FailingStore):
    """A store during whose next answer something happens."""

    meanwhile: Callable[[], Awaitable[None] | None] | None = None

    async def write(self, changes: Collection[Change], shards: Mapping[int, int] | None) -> None:
        await self._wait()
        await super().write(changes, shards)

    async def load(self, runs: Sequence[str]) -> list[Stored]:
        found = await super().load(runs)
        await self._wait()
        return found

    async def unfinished(self, shards: Collection[int]) -> list[str]:
        found = await super().unfinished(shards)
        await self._wait()
        return found

    async def _wait(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        waiting = None if meanwhile is None else meanwhile()
        if waiting is not None:
            await waiting


@pytest.fixture
async def led(tmp_path: Path) -> AsyncIterator[Led]:
    async with leading(tmp_path, SlowStore) as led:
        yield led


def store(led: Led) -> SlowStore:
    assert isinstance(led.store, SlowStore)
    return led.store


@pytest.fixture
async def shards(led: Led) -> LeasedShards:
    shards = LeasedShards(led.store, "a", "host:1", Log())
    await shards.claim()
    return shards


async def test_a_shard_given_up_is_not_led_again_before_it_has_a_new_epoch(shards: LeasedShards) -> None:
    shards.give_up({7})

    assert await shards.claim() == (set(), set())  # it is ours in the database, and what we write to it may still be under way
    assert 7 not in shards.held
    assert shards.epochs([RUN]) == {7: 0}

    await shards.release({7})

    assert await shards.claim() == ({7}, set())
    assert shards.epochs([RUN]) == {7: 2}
    assert await shards.surplus() == set()


async def test_a_shard_whose_release_failed_is_released_again(led: Led, shards: LeasedShards, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(owner: str, given_up: object) -> None:
        raise OSError("no connection")

    shards.give_up({7})
    with monkeypatch.context() as patch:
        patch.setattr(led.store, "release", failing)
        with pytest.raises(OSError, match="no connection"):
            await shards.release({7})

    await shards.claim()
    assert await shards.surplus() == {7}
    assert len(shards.held) == SHARD_COUNT - 1


async def test_what_was_decided_before_a_shard_went_and_came_back_is_not_written(led: Led) -> None:
    led.lead()
    await led.begin()
    led.store.before = [TakenError(frozenset({OTHER}))]
    store(led).meanwhile = lambda: led.journal.drop({7})

    cancelling = asyncio.create_task(led.journal.request(RUN, CancelRequested()))
    starting = asyncio.create_task(led.begin(2))
    with pytest.raises(ElsewhereError):
        await cancelling

    assert await starting is None
    stored = await led.store.run("default", RUN)
    assert stored is not None
    assert stored.state is RunState.RUNNING


async def test_what_could_not_be_written_before_a_shard_went_and_came_back_is_not_tried_again(led: Led) -> None:
    led.lead()
    await led.begin()
    led.store.before = [OSError("no connection")]
    store(led).meanwhile = lambda: led.journal.drop({7})

    with pytest.raises(ElsewhereError):
        await led.happen(RUN, CancelRequested())
    await led.written()

    assert not led.journal.holds(RUN)  # who leads it now takes it up


async def test_a_run_read_before_its_shard_went_and_came_back_is_read_again(led: Led) -> None:
    led.lead()
    await led.begin()
    led.journal.drop({7})
    run = await led.store.run("default", RUN)
    assert run is not None
    noted = replace(run, last_sequence=run.last_sequence + 1)
    note = RunEvent(noted.last_sequence, led.clock.now(), EventType.TASK_PROGRESS, "a")

    async def written_by_another() -> None:
        led.shards.epoch = 2
        await led.store.write([Change(noted, 2, events=[note])], None)

    store(led).meanwhile = written_by_another
    await led.happen(RUN, CancelRequested())

    assert await led.store.steps(RUN)
    history = await led.store.events(RUN, 0, 100)
    assert [event.sequence for event in history] == list(range(1, len(history) + 1))


async def test_a_shard_that_comes_back_while_its_runs_are_asked_for_is_asked_once_more(led: Led) -> None:
    led.lead()
    await led.begin()
    led.journal.drop({7})
    await led.execute("UPDATE run SET parked = TRUE")

    async def woken_by_another() -> None:
        await led.execute("UPDATE run SET parked = FALSE")
        led.loader.take_over({7})

    store(led).meanwhile = woken_by_another
    led.loader.take_over({7})

    await eventually(lambda: led.journal.holds(RUN))
