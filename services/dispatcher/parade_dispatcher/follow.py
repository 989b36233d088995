"""Following what other dispatchers write: the database is asked again and again, at once for all that is followed, with growing pauses."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_dispatcher.changes import Key
from parade_dispatcher.ports import Now

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.5
"""Seconds between two looks at the same thing."""

SeenT = TypeVar("SeenT")


@dataclass(slots=True, eq=False)
class _Followed(Generic[SeenT]):
    due: float
    pause: float = FIRST_PAUSE
    told: "list[Callable[[SeenT | None], None]]" = field(default_factory=list)


class Follower(Generic[SeenT]):
    """Looks at what somebody wants to hear of."""

    def __init__(self, read: Callable[[Collection[Key]], Awaitable[dict[Key, SeenT]]], now: Now, log: Log) -> None:
        """Takes its parts.

        Args:
            read: Returns what there is of these keys.
            now: The time by the event loop's clock.
            log: Says what cannot be read.
        """
        self._read = read
        self._now = now
        self._log = log
        self._followed: dict[Key, _Followed[SeenT]] = {}
        self._wake = asyncio.Event()

    def follow(self, key: Key, told: "Callable[[SeenT | None], None]") -> None:
        """Tells what is seen of a key, None where there is nothing, after every look until `leave`."""
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed(self._now() + FIRST_PAUSE)
        else:
            followed.pause = FIRST_PAUSE  # who comes anew is in a hurry
            followed.due = min(followed.due, self._now() + FIRST_PAUSE)
        followed.told.append(told)
        self._wake.set()

    def leave(self, key: Key, told: "Callable[[SeenT | None], None]") -> None:
        """Tells no more. Leaving twice is leaving once."""
        followed = self._followed.get(key)
        if followed is not None and told in followed.told:
            followed.told.remove(told)
            if not followed.told:
                del self._followed[key]

    async def keep(self) -> None:
        """Looks. Runs for ever."""
        while True:
            if not self._followed:
                self._wake.clear()
                await self._wake.wait()
            pause = min(followed.due for followed in self._followed.values()) - self._now()
            if pause > 0:
                self._wake.clear()
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                else:
                    continue
            await self._look()

    async def _look(self) -> None:
        now = self._now()
        due = {key: followed for key, followed in self._followed.items() if followed.due <= now}
        for followed in due.values():
            followed.pause = min(followed.pause * 1.5, LONGEST_PAUSE)
            followed.due = now + followed.pause
        try:
            seen = await self._read(due)
        except ParadeError as error:
            self._log.warning("what another dispatcher does cannot be read", error=error.message)
            return
        for key, followed in due.items():
            for told in tuple(followed.told):
                told(seen.get(key))
