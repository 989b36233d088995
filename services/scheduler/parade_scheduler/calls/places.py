"""Who may begin, where no more than some may go on at once. Pure."""

from typing import Final, Generic

from parade_scheduler.calls.fair_queue import FairQueue, WaiterT

KEPT_SHARE: Final = 8
"""One place of so many is kept for namespaces that hold none: however long what others began may take, theirs begins at once."""


class Places(Generic[WaiterT]):
    """The places, who holds them, and who waits for one.

    Who is let in holds a place until it leaves; after each that leaves the owner asks for those that are next, until there is none.
    """

    __slots__ = ("_free", "_held", "_kept", "_newcomers", "_waiting")

    def __init__(self, total: int) -> None:
        """Starts with all places free; of fewer than `KEPT_SHARE` none is kept."""
        self._free = total
        self._kept = total // KEPT_SHARE
        self._held: dict[str, int] = {}
        """How many places each namespace holds."""
        self._waiting: FairQueue[WaiterT] = FairQueue()
        self._newcomers: dict[str, None] = {}
        """The namespaces that wait and hold no place, in the order in which they came to that."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self, waiter: WaiterT, now: float) -> bool:
        """Lets one in, or wait; returns whether it is in. `now` is in seconds, and never less than before."""
        namespace = waiter.namespace
        held = self._held.get(namespace, 0)
        if (self._free > self._kept and not self._waiting) or (self._free > 0 and not held and not self._newcomers):
            self._free -= 1
            self._held[namespace] = held + 1
            return True
        self._waiting.add(waiter, now)
        if not held:
            self._newcomers[namespace] = None
        return False

    def withdraw(self, waiter: WaiterT) -> bool:
        """Lets one wait no longer, and returns whether it did."""
        removed = self._waiting.remove(waiter)
        if removed and waiter.namespace not in self._waiting:
            self._newcomers.pop(waiter.namespace, None)
        return removed

    def leave(self, waiter: WaiterT) -> None:
        """Gives back the place of one that is in."""
        namespace = waiter.namespace
        self._free += 1
        held = self._held[namespace] - 1
        if held:
            self._held[namespace] = held
            return
        del self._held[namespace]
        if namespace in self._waiting:
            self._newcomers[namespace] = None

    def next(self, now: float) -> WaiterT | None:
        """Lets in who is next and returns it; None where nobody waits whom a free place is for."""
        if self._free > self._kept:
            waiter = self._waiting.take(now)
        elif self._free > 0 and self._newcomers:
            waiter = self._waiting.take(now, next(iter(self._newcomers)))
        else:
            return None
        if waiter is not None:
            self._newcomers.pop(waiter.namespace, None)
            self._free -= 1
            self._held[waiter.namespace] = self._held.get(waiter.namespace, 0) + 1
        return waiter

    def refuse(self) -> list[WaiterT]:
        """Lets nobody wait any longer, and returns who did."""
        self._newcomers.clear()
        return self._waiting.clear()
