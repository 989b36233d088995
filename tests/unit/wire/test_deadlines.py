"""The wheel of deadlines: never early, at most 12 ms late, nothing of what was removed."""

import asyncio
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.deadlines import Deadlines
from tests.support.virtual_time import in_virtual_time


class Item:
    def __init__(self) -> None:
        self.times: list[float] = []

    def expired(self) -> None:
        self.times.append(asyncio.get_running_loop().time())


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),  # when it is added
            st.one_of(st.floats(-1, 0.05), st.floats(0, 6), st.floats(0, 4000)),  # its deadline, from then
            st.one_of(st.none(), st.floats(0.001, 30)),  # when it is removed
        ),
        max_size=30,
    )
)
def test_each_expires_once_and_in_time_unless_it_was_removed_before(plan: list[tuple[float, float, float | None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        deadlines, begin = Deadlines(), loop.time()
        items = [(Item(), begin + added + after, removed) for added, after, removed in plan]
        for (item, when, removed), (added, _, _) in zip(items, plan, strict=True):
            loop.call_at(begin + added, deadlines.add, when, item)
            if removed is not None:
                loop.call_at(begin + added + removed, deadlines.remove, when, item)

        await asyncio.sleep(5000)

        for (item, when, removed), (added, _, _) in zip(items, plan, strict=True):
            latest = max(when, begin + added) + 0.012
            gone = math.inf if removed is None else begin + added + removed
            if gone > latest:
                assert len(item.times) == 1
            if item.times:
                assert when <= item.times[0] <= latest
                assert item.times[0] <= gone

    in_virtual_time(main)


def test_an_infinite_deadline_never_comes() -> None:
    async def main() -> None:
        deadlines, item = Deadlines(), Item()
        deadlines.add(math.inf, item)
        await asyncio.sleep(1e6)
        deadlines.remove(math.inf, item)
        assert not item.times

    in_virtual_time(main)


def test_one_that_expires_may_remove_another_of_its_slot_and_add_more() -> None:
    async def main() -> None:
        deadlines, other, late = Deadlines(), Item(), Item()
        when = asyncio.get_running_loop().time() + 0.1

        class Remover(Item):
            def expired(self) -> None:
                super().expired()
                deadlines.remove(when, other)
                deadlines.add(when, late)

        deadlines.add(when, Remover())
        deadlines.add(when, other)
        await asyncio.sleep(0.2)

        assert not other.times
        assert len(late.times) == 1

    in_virtual_time(main)


def test_one_that_fails_keeps_nobody_waiting() -> None:
    async def main() -> None:
        reported: list[dict[str, object]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))

        class Failing(Item):
            def expired(self) -> None:
                raise ValueError("no")

        deadlines, item = Deadlines(), Item()
        deadlines.add(loop.time() + 0.1, Failing())
        deadlines.add(loop.time() + 0.1, item)
        await asyncio.sleep(0.2)

        assert len(item.times) == 1
        assert len(reported) == 1

    in_virtual_time(main)


def test_nothing_is_left_of_what_has_passed() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        loop = asyncio.get_running_loop()
        for _ in range(2000):
            item, when = Item(), loop.time() + 60
            deadlines.add(when, item)
            await asyncio.sleep(0.01)
            deadlines.remove(when, item)
        assert len(deadlines._order) < 50
        await asyncio.sleep(100)
        assert not deadlines._order
        assert not deadlines._near
        assert not deadlines._far

    in_virtual_time(main)
