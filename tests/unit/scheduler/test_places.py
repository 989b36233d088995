"""No more go on at once than there are places, none stays free while somebody waits for it, and some are kept for who has none."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from parade_scheduler.calls.places import KEPT_SHARE, Places

NAMESPACES = ("red", "green", "blue", "white")


@dataclass(eq=False)
class Waiter:
    namespace: str
    priority: int = 0


class World:
    """Places, and by the test's own account who is in and who waits."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.places: Places[Waiter] = Places(total)
        self.inside: list[Waiter] = []
        self.waiting: list[Waiter] = []

    def come(self, namespace: str) -> Waiter:
        waiter = Waiter(namespace)
        (self.inside if self.places.enter(waiter, 0.0) else self.waiting).append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        self.inside.remove(waiter)
        self.places.leave(waiter)

    def fill(self) -> None:
        while (entered := self.places.next(0.0)) is not None:
            self.waiting.remove(entered)
            self.inside.append(entered)

    def give_up(self, waiter: Waiter) -> None:
        self.waiting.remove(waiter)
        assert self.places.withdraw(waiter)
        assert not self.places.withdraw(waiter)

    def held(self, namespace: str) -> int:
        return sum(waiter.namespace == namespace for waiter in self.inside)


def test_a_namespace_without_a_place_gets_one_at_once_however_many_another_waits_for() -> None:
    world = World(16)
    for _ in range(10_000):
        world.come("red")
    world.come("green")
    world.come("green")

    assert (world.held("red"), world.held("green")) == (14, 1)


def test_what_was_kept_is_kept_again_when_it_is_free() -> None:
    world = World(16)
    for _ in range(100):
        world.come("red")
    greens = [world.come("green") for _ in range(2)]
    world.leave(greens[0])
    world.fill()

    assert world.held("red") == 14
    assert greens[1] in world.inside


def test_a_namespace_whose_last_place_is_gone_does_not_wait_for_others() -> None:
    world = World(16)
    for namespace in ("red",) * 14 + ("green", "blue", "green", "blue"):
        world.come(namespace)
    world.leave(next(waiter for waiter in world.inside if waiter.namespace == "blue"))
    world.fill()

    assert world.held("blue") == 1


def test_who_comes_when_a_place_is_free_does_not_overtake_those_that_wait_for_it() -> None:
    world = World(2)
    first, second, waiting = (world.come("red") for _ in range(3))
    world.leave(first)
    late = world.come("red")
    world.fill()

    assert world.inside == [second, waiting]
    assert world.waiting == [late]


def test_a_namespace_that_comes_does_not_overtake_one_that_waits_for_its_first_place() -> None:
    world = World(8)
    for _ in range(7):
        world.come("red")
    blue, green = world.come("blue"), world.come("green")
    world.leave(blue)
    white = world.come("white")
    world.fill()

    assert green in world.inside
    assert white in world.waiting


def test_a_namespace_that_waits_no_longer_does_not_stand_before_one_that_does() -> None:
    world = World(8)
    for _ in range(7):
        world.come("red")
    blue, green, white = (world.come(namespace) for namespace in ("blue", "green", "white"))
    world.give_up(green)
    world.leave(blue)
    world.fill()

    assert white in world.inside


def test_few_places_are_all_for_everybody() -> None:
    world = World(KEPT_SHARE - 1)
    for _ in range(KEPT_SHARE):
        world.come("red")

    assert world.held("red") == KEPT_SHARE - 1


def test_nobody_waits_after_being_refused() -> None:
    world = World(1)
    for namespace in ("red", "green", "red"):
        world.come(namespace)
    refused = world.places.refuse()
    world.places.leave(world.inside[0])

    assert {id(waiter) for waiter in refused} == {id(waiter) for waiter in world.waiting}
    assert world.places.next(0.0) is None
    assert world.places.waiting == 0


WHAT = st.sampled_from(("come", "come", "leave", "give up", "fill"))


@given(st.integers(1, 40), st.lists(st.tuples(WHAT, st.integers(0, 1000)), min_size=20, max_size=200))
def test_no_place_stays_free_for_which_somebody_waits(total: int, happenings: list[tuple[str, int]]) -> None:
    world = World(total)
    kept = total // KEPT_SHARE
    for what, which in happenings:
        match what:
            case "come":
                world.come(NAMESPACES[which % len(NAMESPACES)])
            case "leave" if world.inside:
                world.leave(world.inside[which % len(world.inside)])
            case "give up" if world.waiting:
                world.give_up(world.waiting[which % len(world.waiting)])
            case "fill":
                world.fill()
                free = total - len(world.inside)
                assert free <= kept or not world.waiting
                assert free == 0 or all(world.held(waiter.namespace) for waiter in world.waiting)
        assert len(world.inside) <= total
        assert world.places.waiting == len(world.waiting)
