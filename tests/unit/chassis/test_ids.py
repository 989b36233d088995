"""Ids are unique and in the order of their making."""

from parade.wire.identity import NAME
from parade_chassis.clock import ManualClock
from parade_chassis.ids import Ids


def test_ids_of_one_millisecond_are_in_the_order_of_their_making() -> None:
    ids = Ids(ManualClock())

    made = [ids.new("run") for _ in range(1000)]

    assert made == sorted(set(made))


async def test_a_later_id_sorts_behind_an_earlier_one() -> None:
    clock = ManualClock()
    ids = Ids(clock)
    first = ids.new("run")

    await clock.advance(0.001)

    assert ids.new("run") > first


def test_an_id_can_stand_in_a_certificate() -> None:
    assert NAME.fullmatch(Ids(ManualClock()).new("i"))
