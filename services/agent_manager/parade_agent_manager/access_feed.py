"""What services are told of who is let in: the picture when one of them comes, and each change after it. It decides nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from parade_agent_manager.certificate import Revocation
from parade_agent_manager.waits import Waits
from parade_agent_manager.watchers import Watcher
from parade_chassis.grants import Granted
from parade_chassis.policies import PolicyText
from parade_chassis.standing import LivingKey

AccessChange = Revocation | Granted | LivingKey | PolicyText
"""One thing to know, as it is after the change."""


class AccessFeed:
    """Those who want to know, and those who know."""

    def __init__(self, capacity: int, waits: Waits) -> None:
        """Starts with nobody.

        Args:
            capacity: How many changes may wait for one reader.
            waits: What ends the waiting of readers when the process stops.
        """
        self._capacity = capacity
        self._waits = waits
        self._pictures: list[Callable[[], Iterable[AccessChange]]] = []
        self._watchers: set[Watcher[AccessChange]] = set()

    def draw(self, picture: Callable[[], Iterable[AccessChange]]) -> None:
        """Has what `picture` returns be a part of every picture; who adds it must `tell` of every change of it."""
        self._pictures.append(picture)

    def tell(self, change: AccessChange) -> None:
        """Tells all readers of a change."""
        for watcher in self._watchers:
            watcher.offer(change)

    @contextmanager
    def watch(self) -> Iterator[Watcher[AccessChange]]:
        """Opens a watch for the block: the picture of this moment and every change after it."""
        watcher = Watcher("", [change for picture in self._pictures for change in picture()], self._capacity, self._waits)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
