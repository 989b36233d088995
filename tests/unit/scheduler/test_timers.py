"""Reminders: in their order, dropped with their run, and neither late nor lost where the time of day jumps."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from parade_chassis.clock import ManualClock
from parade_scheduler.decider import Occurrence, RetryDue, SetTimer
from parade_scheduler.leading.timers import Timers


class Reminded:
    """Timers, and whom they have reminded of which number."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.rung: list[tuple[str, int]] = []
        self.timers = Timers(self.clock, self.ring)

    def ring(self, run: str, occurrence: Occurrence) -> None:
        assert isinstance(occurrence, RetryDue)
        self.rung.append((run, occurrence.task))

    def set(self, run: str, number: int, seconds: float) -> None:
        now = self.clock.now()
        self.timers.set(run, SetTimer(now + timedelta(seconds=seconds), RetryDue("a", number, 1)), now)

    async def after(self, seconds: float) -> list[tuple[str, int]]:
        """Lets time pass, and returns who was reminded."""
        self.rung = []
        await self.clock.advance(seconds)
        self.timers.ring()
        return self.rung

    def set_time_of_day(self, seconds: float) -> None:
        """Moves the time of day, and no other."""
        self.clock._start += timedelta(seconds=seconds)


@pytest.fixture
async def reminded() -> AsyncIterator[Reminded]:
    reminded = Reminded()
    yield reminded
    reminded.timers.end()


async def test_reminders_ring_in_the_order_of_their_times(reminded: Reminded) -> None:
    for number, seconds in enumerate((30.0, 10.0, 20.0, 100.0, 70.0)):
        reminded.set("run", number, seconds)

    assert await reminded.after(9.9) == []
    assert await reminded.after(20.2) == [("run", 1), ("run", 2), ("run", 0)]
    assert await reminded.after(100) == [("run", 4), ("run", 3)]
    assert await reminded.after(1000) == []


async def test_a_run_that_is_forgotten_is_not_reminded(reminded: Reminded) -> None:
    for number in range(3):
        reminded.set("gone", number, 10.0 + 100 * number)
        reminded.set("there", number, 10.0 + 100 * number)
    await reminded.after(50)
    reminded.timers.forget("gone")

    assert await reminded.after(500) == [("there", 1), ("there", 2)]


async def test_what_was_dropped_is_cleared_away(reminded: Reminded) -> None:
    for number in range(5_000):
        reminded.set(f"run-{number}", number, 10.0 if number % 2 else 1000.0)
    for number in range(4_990):
        reminded.timers.forget(f"run-{number}")

    assert len(reminded.timers._near) + len(reminded.timers._far) < 1_500
    assert len(await reminded.after(2000)) == 10


async def test_a_time_of_day_set_forward_rings_what_it_has_passed(reminded: Reminded) -> None:
    reminded.set("near", 1, 50)
    reminded.set("far", 2, 1800)
    reminded.set("later", 3, 7200)
    reminded.set_time_of_day(3600)

    assert await reminded.after(1) == [("near", 1), ("far", 2)]
    assert await reminded.after(3600) == [("later", 3)]


async def test_a_time_of_day_set_back_holds_no_near_reminder_up(reminded: Reminded) -> None:
    reminded.set("near", 1, 50)
    reminded.set("far", 2, 1800)
    reminded.set_time_of_day(-3600)

    assert await reminded.after(50) == [("near", 1)]
    assert await reminded.after(1800) == []
    assert await reminded.after(3600) == [("far", 2)]


async def test_a_reminder_is_meant_by_the_time_of_its_run(reminded: Reminded) -> None:
    now = reminded.clock.now()
    reminded.set_time_of_day(-3600)
    reminded.timers.set("run", SetTimer(now + timedelta(seconds=5), RetryDue("a", 0, 1)), now)

    assert await reminded.after(5) == [("run", 0)]


async def test_after_the_end_nothing_rings(reminded: Reminded) -> None:
    reminded.set("run", 1, 5)
    reminded.timers.end()
    reminded.set("run", 2, 5)

    assert await reminded.after(10) == []
