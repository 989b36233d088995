"""What could not be done waits longer each time, and no more of it is known than may be."""

import pytest

from parade_chassis.clock import ManualClock
from parade_scheduler.leading import postponed
from parade_scheduler.leading.postponed import Postponed


async def test_what_could_not_be_done_waits_longer_each_time_until_it_is_done() -> None:
    clock = ManualClock()
    waiting: Postponed[str] = Postponed(clock)

    for seconds in (1.0, 2.0, 4.0):
        waiting.put_off("a")
        await clock.advance(seconds - 0.1)
        assert waiting.waits("a")
        await clock.advance(0.2)
        assert not waiting.waits("a")

    waiting.put_off("a")
    waiting.done("a")
    assert not waiting.waits("a")
    assert not waiting.waits("b")


def test_what_was_put_off_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postponed, "CAPACITY", 2)
    waiting: Postponed[str] = Postponed(ManualClock())

    for key in ("a", "b", "a", "c"):
        waiting.put_off(key)

    assert [waiting.waits(key) for key in ("a", "b", "c")] == [True, False, True]
