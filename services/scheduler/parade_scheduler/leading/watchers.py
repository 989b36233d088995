"""Who waits for news of which run: some for its end alone, some for everything that is committed.

News of an end carry the run as it ended, so that nobody reads it again. Other news say only that there is something; what it was is read
from the store.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.leading.happenings import Whole


class Watcher:
    """One that waits for news of one run."""

    def __init__(self) -> None:
        """Starts with nothing new."""
        self.ended: Whole | None = None
        """The run as it ended, where it did."""
        self._changed = asyncio.Event()
        self._stopped = False

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
        if self._stopped:
            raise ParadeError(Reason.UNAVAILABLE, "the scheduler is stopping; ask again")
        self._changed.clear()
        return True

    def notify(self, *, ended: Whole | None = None, stopped: bool = False) -> None:
        """Says that there is news, that the run has ended, or that there will be no more."""
        self.ended = self.ended or ended
        self._stopped = self._stopped or stopped
        self._changed.set()


class Watchers:
    """All that wait."""

    def __init__(self) -> None:
        """Starts with none."""
        self._of_changes: dict[str, set[Watcher]] = {}
        self._of_ends: dict[str, set[Watcher]] = {}
        self._stopped = False

    @contextmanager
    def watching(self, run: str) -> Iterator[Watcher]:
        """Waits for all news of a run during the block: none that is committed after its begin is missed."""
        with self._among(self._of_changes, run) as watcher:
            yield watcher

    @contextmanager
    def awaiting_end(self, run: str) -> Iterator[Watcher]:
        """Waits for a run's end during the block, and is told of nothing else."""
        with self._among(self._of_ends, run) as watcher:
            yield watcher

    def changed(self, run: str) -> None:
        """Says that something about a run was committed."""
        for watcher in self._of_changes.get(run, ()):
            watcher.notify()

    def is_awaited(self, run: str) -> bool:
        """Tells whether anybody waits for a run's end."""
        return run in self._of_ends

    def ended(self, whole: Whole) -> None:
        """Says that a run's end was committed."""
        for watcher in self._of_ends.get(whole[0].id, ()):
            watcher.notify(ended=whole)

    def look_again(self) -> None:
        """Says that other replicas may have made news, of whatever run."""
        for watchers in (*self._of_changes.values(), *self._of_ends.values()):
            for watcher in watchers:
                watcher.notify()

    def end(self) -> None:
        """Ends every wait, and every one to come, because the process stops."""
        self._stopped = True
        for watchers in (*self._of_changes.values(), *self._of_ends.values()):
            for watcher in watchers:
                watcher.notify(stopped=True)

    @contextmanager
    def _among(self, waiting: dict[str, set[Watcher]], run: str) -> Iterator[Watcher]:
        watcher = Watcher()
        if self._stopped:
            watcher.notify(stopped=True)
        waiting.setdefault(run, set()).add(watcher)
        try:
            yield watcher
        finally:
            others = waiting[run]
            others.discard(watcher)
            if not others:
                del waiting[run]
