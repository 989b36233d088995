"""What waits is taken fairly: namespaces in turn, and within one by priority and arrival, with patience that ends."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.calls.fair_queue import PATIENCE, FairQueue

NAMESPACES = ("red", "green", "blue", "white")


@dataclass(eq=False)
class Waiter:
    """One that waits, and since when."""

    namespace: str = "red"
    priority: int = 0
    arrival: float = 0.0
    name: int = field(default=0)


@dataclass(frozen=True)
class Add:
    namespace: str
    priority: int


@dataclass(frozen=True)
class Remove:
    which: int
    """Which of those that wait, counted around."""


@dataclass(frozen=True)
class Take:
    seconds: float
    """How much later it is."""


ADDS = st.builds(Add, st.sampled_from(NAMESPACES), st.sampled_from((-100, -1, 0, 0, 0, 7, 100)))
REMOVES = st.builds(Remove, st.integers(0, 50))
SOON = st.lists(st.one_of(ADDS, ADDS, REMOVES, st.just(Take(0.01))), min_size=20, max_size=120)
LATE = st.lists(st.one_of(ADDS, ADDS, REMOVES, st.builds(Take, st.sampled_from((0.0, 1.0, 31.0, 61.0)))), min_size=20, max_size=120)


class History:
    """A queue, who waits in it by the test's own account, and who was taken."""

    def __init__(self) -> None:
        self.queue: FairQueue[Waiter] = FairQueue()
        self.waiting: list[Waiter] = []
        self.now = 1000.0

    def add(self, namespace: str, priority: int) -> None:
        waiter = Waiter(namespace, priority, self.now)
        self.waiting.append(waiter)
        self.queue.add(waiter, self.now)

    def remove(self, which: int) -> None:
        if self.waiting:
            waiter = self.waiting.pop(which % len(self.waiting))
            assert self.queue.remove(waiter)
            assert not self.queue.remove(waiter)

    def take(self) -> Waiter | None:
        taken = self.queue.take(self.now)
        if taken is not None:
            self.waiting.remove(taken)
        return taken

    def of(self, namespace: str) -> list[Waiter]:
        return [waiter for waiter in self.waiting if waiter.namespace == namespace]


def test_a_namespace_with_one_goes_next_but_one_however_many_another_has() -> None:
    history = History()
    for _ in range(10_000):
        history.add("red", 100)
    history.add("green", -100)

    assert [taken.namespace for taken in (history.take(), history.take(), history.take()) if taken] == ["red", "green", "red"]


def test_the_turn_of_a_namespace_can_be_chosen_and_counts() -> None:
    history = History()
    for namespace in ("red", "green", "red", "green"):
        history.add(namespace, 0)

    assert history.queue.take(history.now, "green") is history.waiting[1]
    assert history.queue.take(history.now) is history.waiting[0]
    assert history.queue.take(history.now) is history.waiting[3]
    assert history.queue.take(history.now, "green") is None
    assert "red" in history.queue
    assert "green" not in history.queue


def test_what_waits_long_goes_first_at_every_second_turn() -> None:
    history = History()
    for _ in range(3):
        history.add("red", -1)
    for _ in range(40):
        history.add("red", 1)
    early = [taken.priority for taken in (history.take(), history.take()) if taken]
    history.now += PATIENCE
    for _ in range(40):
        history.add("red", 1)

    assert early == [1, 1]
    assert [taken.priority for _ in range(7) if (taken := history.take())] == [-1, 1, -1, 1, -1, 1, 1]


def test_those_that_wait_leave_together() -> None:
    history = History()
    for namespace, priority in (("red", 0), ("green", 0), ("red", 5)):
        history.add(namespace, priority)
    left = history.queue.clear()

    assert {id(waiter) for waiter in left} == {id(waiter) for waiter in history.waiting}
    assert not history.queue
    assert history.queue.take(history.now) is None


@given(LATE)
def test_each_is_taken_once_unless_it_was_removed(happenings: list[Add | Remove | Take]) -> None:
    history = History()
    for one in happenings:
        match one:
            case Add():
                history.add(one.namespace, one.priority)
            case Remove():
                history.remove(one.which)
            case Take():
                history.now += one.seconds
                waited = len(history.waiting)
                taken = history.take()  # fails where it is one that does not wait
                assert (taken is None) == (waited == 0)
        assert len(history.queue) == len(history.waiting)
        for namespace in NAMESPACES:
            assert (namespace in history.queue) == bool(history.of(namespace))


@given(LATE)
def test_nobody_is_taken_twice_while_another_namespace_waits(happenings: list[Add | Remove | Take]) -> None:
    history = History()
    passed: dict[str, list[str]] = {namespace: [] for namespace in NAMESPACES}
    for one in happenings:
        match one:
            case Add():
                history.add(one.namespace, one.priority)
            case Remove():
                history.remove(one.which)
            case Take():
                history.now += one.seconds
                taken = history.take()
                if taken is not None:
                    passed[taken.namespace].clear()
                    for namespace in NAMESPACES:
                        if namespace != taken.namespace:
                            passed[namespace].append(taken.namespace)
        for namespace in NAMESPACES:
            if not history.of(namespace):
                passed[namespace].clear()
            assert len(passed[namespace]) == len(set(passed[namespace]))


@given(SOON)
def test_within_a_namespace_the_more_important_goes_first_and_then_who_came_first(happenings: list[Add | Remove | Take]) -> None:
    history = History()
    for one in happenings:
        match one:
            case Add():
                history.add(one.namespace, one.priority)
            case Remove():
                history.remove(one.which)
            case Take():
                history.now += one.seconds
                expected = {
                    namespace: min(history.of(namespace), key=lambda waiter: (-waiter.priority, history.waiting.index(waiter)))
                    for namespace in NAMESPACES
                    if history.of(namespace)
                }
                taken = history.take()
                assert taken is None or taken is expected[taken.namespace]


@given(LATE)
def test_who_has_waited_long_is_taken_within_two_turns_of_its_namespace(happenings: list[Add | Remove | Take]) -> None:
    history = History()
    overtaken: dict[str, list[Waiter]] = {namespace: [] for namespace in NAMESPACES}
    """By whom what has waited longest in a namespace, and too long, was passed over since it was last its turn."""
    for one in happenings:
        match one:
            case Add():
                history.add(one.namespace, one.priority)
            case Remove():
                history.remove(one.which)
            case Take():
                history.now += one.seconds
                oldest = {
                    namespace: min(waiter.arrival for waiter in history.of(namespace)) for namespace in NAMESPACES if history.of(namespace)
                }
                taken = history.take()
                if taken is None:
                    continue
                arrival = oldest[taken.namespace]
                if history.now - arrival < PATIENCE or taken.arrival == arrival:
                    overtaken[taken.namespace].clear()
                else:
                    overtaken[taken.namespace].append(taken)
        for namespace in NAMESPACES:
            assert len(overtaken[namespace]) <= 1
