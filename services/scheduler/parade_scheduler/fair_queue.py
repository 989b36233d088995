"""What waits for its turn, taken fairly: namespaces one after the other, and within one by priority and arrival. Pure.

Everything that waits costs the same, so that deficit round robin with equal weights comes down to one of each namespace in turn.
Source: M. Shreedhar and G. Varghese, "Efficient fair queueing using deficit round robin", 1995.
"""

from bisect import bisect_left, insort
from collections import OrderedDict
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

    __slots__ = ("_due", "_levels", "_patient", "_priorities")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[WaiterT, float]] = {}
        """Those of each priority and when they came, in that order."""
        self._priorities: list[int] = []
        """Those that there are, rising."""
        self._due = 0.0
        """Before this time nobody has waited for longer than `PATIENCE`."""
        self._patient = True
        """Whether it is the turn of what has waited longest."""

    def __bool__(self) -> bool:
        return bool(self._levels)

    def add(self, waiter: WaiterT, now: float) -> None:
        """Takes one in."""
        level = self._levels.get(waiter.priority)
        if level is None:
            level = self._levels[waiter.priority] = OrderedDict()
            insort(self._priorities, waiter.priority)
        level[waiter] = now

    def remove(self, waiter: WaiterT) -> bool:
        """Lets one go, and returns whether it was here."""
        level = self._levels.get(waiter.priority)
        if level is None or waiter not in level:
            return False
        del level[waiter]
        if not level:
            self._drop(waiter.priority)
        return True

    def take(self, now: float) -> WaiterT:
        """Lets the next one go and returns it. There is one."""
        priority = self._next(now)
        level = self._levels[priority]
        waiter, _ = level.popitem(last=False)
        if not level:
            self._drop(priority)
        return waiter

    def waiters(self) -> list[WaiterT]:
        """Returns all, the more important ones first."""
        return [waiter for priority in reversed(self._priorities) for waiter in self._levels[priority]]

    def _next(self, now: float) -> int:
        """Returns the priority of which the first is next."""
        highest = self._priorities[-1]
        if len(self._priorities) == 1 or now < self._due:
            return highest
        arrival, oldest = min((next(iter(self._levels[priority].values())), priority) for priority in self._priorities)
        if now - arrival < PATIENCE:
            self._due = arrival + PATIENCE
            return highest
        self._patient = not self._patient
        return highest if self._patient else oldest

    def _drop(self, priority: int) -> None:
        del self._levels[priority]
        del self._priorities[bisect_left(self._priorities, priority)]
