"""The clock of tests wakes sleepers in order, at their time."""

import asyncio

from parade_chassis.clock import ManualClock


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleep("late", 5))
        tasks.create_task(sleep("early", 1))
        await clock.advance(3)
        assert woken == [("early", 1)]
        await clock.advance(3)

    assert woken == [("early", 1), ("late", 5)]
    assert clock.monotonic() == 6


async def test_a_cancelled_sleeper_does_not_disturb_others() -> None:
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    sleeper.cancel()

    await clock.advance(2)

    assert sleeper.cancelled()
