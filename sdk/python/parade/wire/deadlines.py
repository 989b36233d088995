"""Many deadlines and one timer. A wheel of two sizes: slots of 10 ms for what is near, of 2.56 s for what is not.

After G. Varghese and A. Lauck, "Hashed and hierarchical timing wheels", 1987: adding and removing cost the same however many there are.
"""

import asyncio
from heapq import heappop, heappush
from math import inf
from typing import Protocol

PER_SECOND = 100
"""Near slots in a second."""
_FAR = 8
"""A far slot holds 2 to the power of this many near ones."""


class Expiring(Protocol):
    """What has a deadline. It is told apart by identity: a class that defines `__eq__` does not fit."""

    def expired(self) -> None:
        """Called once its deadline has passed; never before."""
        ...


class Deadlines:
    """Calls `expired` of what was added, never early and at most 12 ms late while the loop is free."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Takes the loop whose time is meant; the running one where not given."""
        self._loop = loop
        self._near: dict[int, dict[Expiring, int]] = {}
        self._far: dict[int, dict[Expiring, int]] = {}
        self._overdue: dict[Expiring, int] = {}
        self._order: list[int] = []
        """A heap of when there is something to do, in near slots; every slot that exists stands here."""
        self._passed = -1
        """The newest near slot that is done with."""
        self._spread = -1
        """The newest far slot that is spread over near ones."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0

    def add(self, when: float, item: Expiring) -> None:
        """Has `item.expired` called at `when`, in the loop's time: soon where that has passed, never where it is infinite."""
        if when == inf:
            return
        slot = int(when * PER_SECOND) + 1
        far = slot >> _FAR
        if far > self._spread:
            bucket = self._far.get(far)
            if bucket is None:
                self._advance()
                if far <= self._spread:
                    self._add_near(slot, item)
                    return
                bucket = self._far[far] = {}
                self._push(far << _FAR)
            bucket[item] = slot
        else:
            self._add_near(slot, item)

    def remove(self, when: float, item: Expiring) -> None:
        """Forgets an item. One that has expired already, or was never added, is passed over.

        Args:
            when: What it was added with.
            item: What was added.
        """
        if when == inf:
            return
        slot = int(when * PER_SECOND) + 1
        far = slot >> _FAR
        bucket: dict[Expiring, int] | None = self._near.get(slot) if far <= self._spread else self._far.get(far)
        if bucket is not None:
            bucket.pop(item, None)
        if self._overdue:
            self._overdue.pop(item, None)

    def _add_near(self, slot: int, item: Expiring) -> None:
        if slot <= self._passed:
            self._overdue[item] = slot
            self._arm(0)
            return
        bucket = self._near.get(slot)
        if bucket is None:
            bucket = self._near[slot] = {}
            self._push(slot)
        bucket[item] = slot

    def _advance(self) -> None:
        # Near slots reach to the end of the far slot after the present one.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        newest = (self._now(self._loop) >> _FAR) + 1
        if newest <= self._spread:
            return
        self._spread = newest
        for far in [far for far in self._far if far <= newest]:
            for item, slot in self._far.pop(far).items():
                self._add_near(slot, item)

    def _push(self, slot: int) -> None:
        heappush(self._order, slot)
        self._arm(slot)

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            if slot >= self._armed:
                return
            self._timer.cancel()
        if self._loop is not None:
            self._armed = slot
            self._timer = self._loop.call_at(slot / PER_SECOND, self._run, self._loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._advance()
        self._passed = now = self._now(loop)
        while self._order and self._order[0] <= now:
            slot = heappop(self._order)
            bucket = self._near.get(slot)
            if bucket is not None:
                self._expire(loop, bucket, len(bucket))
                del self._near[slot]
        # What is added meanwhile with a deadline that has passed waits for the next turn of the loop.
        self._expire(loop, self._overdue, len(self._overdue))
        if self._overdue:
            self._arm(0)
        while self._order:
            # A slot whose items were all removed needs no waking up.
            slot = self._order[0]
            if slot in self._near and not self._near[slot]:
                del self._near[slot]
            elif slot in self._near or slot >> _FAR in self._far:
                self._arm(slot)
                return
            heappop(self._order)

    def _expire(self, loop: asyncio.AbstractEventLoop, bucket: dict[Expiring, int], count: int) -> None:
        # One that expires may remove others of its own slot, so they are taken out one by one.
        while bucket and count:
            item = next(iter(bucket))
            del bucket[item]
            count -= 1
            try:
                item.expired()
            except Exception as error:  # noqa: BLE001  # one that fails must not keep the others waiting
                loop.call_exception_handler({"message": "an expiry failed", "exception": error})

    @staticmethod
    def _now(loop: asyncio.AbstractEventLoop) -> int:
        return int(loop.time() * PER_SECOND + 1e-6)
