"""Calls that wait, apart from instances."""

from dataclasses import dataclass, field

from parade_dispatcher.queue import LOOKED_PAST, Queue


@dataclass(eq=False)
class Waiting:
    """A call that waits."""

    arrival: int
    priority: int = 0
    tried: set[str] | None = field(default=None)
    ticket: int = 0


def test_the_first_is_by_priority_then_by_arrival_and_stays() -> None:
    queue = Queue()
    for waiter in (early := Waiting(1), Waiting(2), urgent := Waiting(3, priority=5)):
        queue.push(waiter)

    assert queue.first("i1") is urgent
    assert queue.first("i1") is urgent
    queue.remove(urgent)
    assert queue.first("i1") is early
    assert len(queue) == 2


def test_a_call_that_comes_back_has_its_old_place() -> None:
    queue = Queue()
    first, second = Waiting(1), Waiting(2)
    queue.push(first)
    queue.push(second)
    queue.remove(first)
    queue.push(first)

    assert queue.clear() == [first, second]
    assert len(queue) == 0


def test_calls_that_have_tried_an_instance_are_looked_past() -> None:
    queue = Queue()
    for number in range(LOOKED_PAST - 1):
        queue.push(Waiting(number, tried={"i1"}))
    queue.push(other := Waiting(99))

    assert queue.first("i1") is other
    first = queue.first("i2")
    assert first is not None
    assert first.arrival == 0
    queue.push(Waiting(50, tried={"i1"}))
    assert queue.first("i1") is None, "not without end"
    assert len(queue) == LOOKED_PAST + 1


def test_calls_that_leave_take_no_room() -> None:
    queue = Queue()
    queue.push(Waiting(-1))
    for number in range(10_000):
        waiter = Waiting(number)
        queue.push(waiter)
        queue.remove(waiter)

    assert len(queue._heap) < 100
