"""What a schedule changes in the scheduler: all that is left to chance comes from the seed, and what is large is made small.

Bounds that only the work of thousands of runs reaches are small here, so that a few runs reach them. Reading a definition takes no thread,
and is done once. A look for what is not there at all asks nothing: it would be most of the time that a schedule takes.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, Final
from unittest.mock import patch

from parade_scheduler import leadership
from parade_scheduler.definitions.definitions import Definitions
from parade_scheduler.language import Definition, read
from parade_scheduler.leading import journal, loader, ownership, remote
from parade_scheduler.starts import starter
from parade_scheduler.storage import leases, rows, store
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.storage.groups_store import GroupStore
from parade_scheduler.storage.schedules_store import ScheduleStore
from parade_scheduler.storage.store import Store

SHARDS: Final = 6
"""How many shards there are."""
_LOOKS: Final[tuple[tuple[Any, str, str, Any], ...]] = (
    (Store, "commands", "command", []),
    (Store, "due", "run WHERE parked", []),
    (ScheduleStore, "due", "schedule", []),
    (EventStore, "pending", "published_event WHERE pending", []),
    (EventStore, "forget", "published_event", 0),
    (GroupStore, "waiting", "group_member", []),
)
"""Whose method looks for what, and what it returns where there is nothing."""

read_once = lru_cache(maxsize=64)(read)


@contextmanager
def seeded(chance: random.Random) -> Iterator[None]:
    """Changes it for the block."""
    sizes: tuple[tuple[Any, str, Any], ...] = (
        (journal, "PARK_AFTER", 4.0),
        (journal, "MAX_BATCH", chance.choice((2, 5, 1_000))),
        (loader, "AHEAD", 2.0),
        (loader, "CHUNK", chance.choice((1, 200))),
        (loader, "MAX_DUE", chance.choice((1, 2_000))),
        (store, "_CHUNK", chance.choice((1, 2, 50))),
        (remote, "LIMIT", chance.choice((1, 500))),
        *((module, "SHARD_COUNT", SHARDS) for module in (rows, leases, ownership, starter)),
        *((module, "secrets", _Secrets(chance)) for module in (ownership, starter)),
        (leadership, "SystemRandom", lambda: chance),
        (Definitions, "of_source", _of_source),
        *((owner, name, _looking(getattr(owner, name), table, nothing)) for owner, name, table, nothing in _LOOKS),
    )
    with ExitStack() as stack:
        for owner, name, value in sizes:
            stack.enter_context(patch.object(owner, name, value))
        yield


async def _of_source(_: Definitions, source: str) -> Definition:
    return read_once(source)


def _looking(method: Callable[..., Any], table: str, nothing: Any) -> Callable[..., Any]:
    async def look(self: Any, *arguments: Any) -> Any:
        if not self._database.server.rows(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608  # names of our own
            async with self._reading():
                return nothing
        return await method(self, *arguments)

    return look


class _Secrets:
    """Chance as the module `secrets` gives it."""

    def __init__(self, chance: random.Random) -> None:
        self.choice = chance.choice
        self.randbelow = chance.randrange
