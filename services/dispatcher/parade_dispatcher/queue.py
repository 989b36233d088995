"""Calls that wait for an instance: by priority, then by arrival. Of instances it knows only the ids of those that a call has tried."""

import heapq
import itertools
from collections.abc import Set as AbstractSet
from typing import Protocol

LOOKED_PAST = 16
"""Calls that are looked past, because they have tried the instance that is free, in search of one that has not."""
_SLACK = 64
"""Entries of calls that have left which are kept before the heap is swept."""

_tickets = itertools.count(1)


class Waiter(Protocol):
    """A call that can wait."""

    priority: int
    arrival: int
    """Its place in the order of arrival: a number that no other has. It keeps it over all its waits."""
    ticket: int
    """What its entry is known by while it waits; 0 where it does not wait. The queue's own."""

    @property
    def tried(self) -> AbstractSet[str] | None:
        """The ids of the instances that must not have it again."""
        ...


class Queue:
    """Calls that may go to the same instances."""

    __slots__ = ("_heap", "_size")

    def __init__(self) -> None:
        """Starts empty."""
        self._heap: list[tuple[int, int, int, Waiter]] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, waiter: Waiter) -> None:
        """Lets a call wait."""
        waiter.ticket = ticket = next(_tickets)
        heapq.heappush(self._heap, (-waiter.priority, waiter.arrival, ticket, waiter))
        self._size += 1

    def remove(self, waiter: Waiter) -> None:
        """Lets a call that waits here leave."""
        waiter.ticket = 0
        self._size -= 1
        if len(self._heap) > 2 * self._size + _SLACK:
            self._heap = [entry for entry in self._heap if entry[3].ticket == entry[2]]
            heapq.heapify(self._heap)

    def first(self, instance_id: str) -> Waiter | None:
        """Returns the call that is next for this instance, and leaves it here; None where there is none."""
        heap = self._heap
        passed: list[tuple[int, int, int, Waiter]] = []
        found = None
        while heap and len(passed) < LOOKED_PAST:
            entry = heap[0]
            waiter = entry[3]
            if waiter.ticket != entry[2]:
                heapq.heappop(heap)  # it has left
            elif waiter.tried and instance_id in waiter.tried:
                passed.append(heapq.heappop(heap))
            else:
                found = waiter
                break
        for entry in passed:
            heapq.heappush(heap, entry)
        return found

    def clear(self) -> list[Waiter]:
        """Lets all calls leave and returns them in their order."""
        waiters = [entry[3] for entry in sorted(self._heap) if entry[3].ticket == entry[2]]
        for waiter in waiters:
            waiter.ticket = 0
        self._heap = []
        self._size = 0
        return waiters
