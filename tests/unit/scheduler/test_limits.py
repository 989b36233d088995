"""Tests of how many things of a kind a namespace may have, counted now and then."""

import asyncio

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import ManualClock
from parade_scheduler.starts.limits import FRESH, FRESH_WHEN_FULL, Bound


class Things:
    """What is counted. A count takes until the test says so, where it is told to."""

    def __init__(self) -> None:
        self.number = 0
        self.counts = 0
        self.may_count = asyncio.Event()
        self.may_count.set()

    async def count(self, namespace: str) -> int:
        self.counts += 1
        await self.may_count.wait()
        return self.number


def bound(things: Things, clock: ManualClock, limit: int = 3) -> Bound:
    return Bound("things", limit, things.count, clock)


async def admitted(of: Bound) -> bool:
    try:
        await of.admit("default")
    except ParadeError as error:
        if error.reason is not Reason.NO_CAPACITY:
            raise
        return False
    return True


async def test_as_many_are_let_in_as_may_be() -> None:
    things, clock = Things(), ManualClock()
    of = bound(things, clock)
    things.number = 2
    assert await admitted(of)
    things.number = 3
    assert not await admitted(of)


async def test_a_count_is_used_while_it_is_fresh() -> None:
    things, clock = Things(), ManualClock()
    of = bound(things, clock, limit=100)
    assert await admitted(of)
    assert await admitted(of)
    assert things.counts == 1
    await clock.advance(FRESH)
    assert await admitted(of)
    assert things.counts == 2


async def test_who_comes_while_a_full_namespace_is_counted_anew_waits_for_the_count() -> None:
    things, clock = Things(), ManualClock()
    of = bound(things, clock)
    for _ in range(3):
        assert await admitted(of)
    # All three have ended again, which nobody here knows yet.
    things.may_count.clear()
    coming = [asyncio.create_task(admitted(of)) for _ in range(4)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in coming)
    things.may_count.set()
    assert sum(await asyncio.gather(*coming)) == 3
    # Once for the first of all, once for those that came, and once more for the one that found no room.
    assert things.counts <= 3


async def test_a_full_namespace_is_not_counted_for_every_refusal() -> None:
    things, clock = Things(), ManualClock()
    of = bound(things, clock)
    things.number = 3
    for _ in range(5):
        assert not await admitted(of)
    assert things.counts == 1
    things.number = 2
    await clock.advance(FRESH_WHEN_FULL)
    assert await admitted(of)


async def test_a_count_that_fails_is_tried_again_by_the_next() -> None:
    things, clock = Things(), ManualClock()

    async def fails(namespace: str) -> int:
        if things.counts == 0:
            things.counts = 1
            raise ParadeError(Reason.UNAVAILABLE, "the database cannot be reached")
        return await things.count(namespace)

    of = Bound("things", 3, fails, clock)
    with pytest.raises(ParadeError, match="cannot be reached"):
        await of.admit("default")
    await clock.advance(FRESH)
    assert await admitted(of)
