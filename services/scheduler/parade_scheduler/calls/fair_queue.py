"""What waits for its turn, taken fairly: namespaces one after the other, and within one by priority and arrival. Pure.

Everything that waits costs the same, so that deficit round robin with equal weights comes down to one of each namespace in turn.
Source: M. Shreedhar and G. Varghese, "Efficient fair queueing using deficit round robin", 1995.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

PATIENCE: Final = 60.0
"""Seconds after which what has waited longest in its namespace goes before what is more important, at every second turn of the namespace.

Not at every turn: where a namespace has more to do than it ever gets done in that time, its priorities would mean nothing.
"""


class Waiter(Protocol):
    """What can wait. It is told apart by identity: a class that defines `__eq__` does not fit."""

    @property
    def namespace(self) -> str:
        """Whose turn it takes."""
        ...

    @property
    def priority(self) -> int:
        """What goes first within the namespace: the higher."""
        ...


WaiterT = TypeVar("WaiterT", bound=Waiter)


class FairQueue(Generic[WaiterT]):
    """All that wait. Adding, taking and removing cost the same however many those are."""

    __slots__ = ("_lines", "_size")

    def __init__(self) -> None:
        """Starts empty."""
        self._lines: OrderedDict[str, _Line[WaiterT]] = OrderedDict()
        """The namespaces in the order of their turns; each has somebody who waits."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, namespace: str) -> bool:
        """Returns whether somebody of the namespace waits."""
        return namespace in self._lines

    def add(self, waiter: WaiterT, now: float) -> None:
        """Lets one wait that does not wait yet. `now` is in seconds, and never less than before."""
        line = self._lines.get(waiter.namespace)
        if line is None:
            line = self._lines[waiter.namespace] = _Line()
        line.add(waiter, now)
        self._size += 1

    def remove(self, waiter: WaiterT) -> bool:
        """Lets one wait no longer, and returns whether it did."""
        line = self._lines.get(waiter.namespace)
        if line is None or not line.remove(waiter):
            return False
        self._size -= 1
        if not line:
            del self._lines[waiter.namespace]
        return True

    def take(self, now: float, namespace: str | None = None) -> WaiterT | None:
        """Returns who is next, and lets it wait no longer; None where nobody waits.

        Args:
            now: The time, as for `add`.
            namespace: Whose turn it is; that of the namespace which has waited for it longest where not given.
        """
        if namespace is None:
            namespace = next(iter(self._lines), None)
        line = None if namespace is None else self._lines.get(namespace)
        if namespace is None or line is None:
            return None
        waiter = line.take(now)
        self._size -= 1
        if line:
            self._lines.move_to_end(namespace)
        else:
            del self._lines[namespace]
        return waiter

    def clear(self) -> list[WaiterT]:
        """Lets nobody wait any longer, and returns who did."""
        waiters = [waiter for line in self._lines.values() for waiter in line.waiters()]
        self._lines.clear()
        self._size = 0
        return waiters


class _Line(Generic[WaiterT]):
    """Those of one namespace."""

    __slots__ = ("_arrivals", "_levels", "_priorities", "_yielded")

    def __init__(self) -> None:
        self._arrivals: OrderedDict[WaiterT, float] = OrderedDict()
        """All, and when they came, in that order."""
        self._levels: dict[int, OrderedDict[WaiterT, None]] = {}
        """Those of each priority, in the same order."""
        self._priorities: list[int] = []
        """Those that there are, rising."""
        self._yielded = False
        """Whether the turn before went to what had waited for too long."""

    def __bool__(self) -> bool:
        return bool(self._arrivals)

    def add(self, waiter: WaiterT, now: float) -> None:
        """Takes one in."""
        self._arrivals[waiter] = now
        level = self._levels.get(waiter.priority)
        if level is None:
            level = self._levels[waiter.priority] = OrderedDict()
            insort(self._priorities, waiter.priority)
        level[waiter] = None

    def remove(self, waiter: WaiterT) -> bool:
        """Lets one go, and returns whether it was here."""
        if self._arrivals.pop(waiter, None) is None:
            return False
        priority = waiter.priority
        level = self._levels[priority]
        del level[waiter]
        if not level:
            del self._levels[priority]
            del self._priorities[bisect_left(self._priorities, priority)]
        return True

    def take(self, now: float) -> WaiterT:
        """Lets the next one go and returns it. There is one."""
        waiter = self._next(now)
        self.remove(waiter)
        return waiter

    def waiters(self) -> Iterable[WaiterT]:
        """Returns all, in the order in which they came."""
        return self._arrivals

    def _next(self, now: float) -> WaiterT:
        oldest, arrival = next(iter(self._arrivals.items()))
        self._yielded = now - arrival >= PATIENCE and not self._yielded
        if self._yielded:
            return oldest
        return next(iter(self._levels[self._priorities[-1]]))
