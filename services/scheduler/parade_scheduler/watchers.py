"""Who waits for news of which run. News say only that something was committed; what it was is read from the store."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from parade.wire.errors import ParadeError, Reason


class Watcher:
    """One that waits for news of one run."""

    def __init__(self) -> None:
        """Starts with nothing new."""
        self._changed = asyncio.Event()
        self._ended = False

    async def news(self, seconds: float) -> bool:
        """Waits until there is news since the last call.

        Args:
            seconds: The longest to wait.

        Returns:
            Whether there is.

        Raises:
            ParadeError: UNAVAILABLE, where the process stops.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        if self._ended:
            raise ParadeError(Reason.UNAVAILABLE, "the scheduler is stopping; ask again")
        self._changed.clear()
        return True

    def notify(self, *, end: bool = False) -> None:
        """Says that there is news, or that there will be no more."""
        self._ended = self._ended or end
        self._changed.set()


class Watchers:
    """All that wait."""

    def __init__(self) -> None:
        """Starts with none."""
        self._watchers: dict[str, set[Watcher]] = {}
        self._ended = False

    @contextmanager
    def watching(self, run: str) -> Iterator[Watcher]:
        """Waits for news of a run during the block: none that is committed after its begin is missed."""
        watcher = Watcher()
        if self._ended:
            watcher.notify(end=True)
        self._watchers.setdefault(run, set()).add(watcher)
        try:
            yield watcher
        finally:
            others = self._watchers[run]
            others.discard(watcher)
            if not others:
                del self._watchers[run]

    def notify(self, run: str) -> None:
        """Says that something about a run was committed."""
        for watcher in self._watchers.get(run, ()):
            watcher.notify()

    def end(self) -> None:
        """Ends every wait, and every one to come, because the process stops."""
        self._ended = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.notify(end=True)
