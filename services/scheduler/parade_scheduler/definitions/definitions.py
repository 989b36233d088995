"""Definitions that have been read lately, so that starting a run does not read its workflow again."""

import asyncio
from typing import Final

from parade_scheduler.definitions.weighed_cache import WeighedCache
from parade_scheduler.language import Definition, Examined, examine, read
from parade_scheduler.model import Workflow

MAX_WEIGHT: Final = 4 * 1024 * 1024
"""How long the sources of those that are kept may be together, in characters: what is made of one takes some fifty times as much."""
WEIGHT: Final = 1_000
"""What each weighs beside its source."""

_Key = tuple[str, str, int]
"""Namespace, name and version."""


class Definitions:
    """Reads definitions, in a thread, for a large one takes a second."""

    def __init__(self) -> None:
        """Starts with none."""
        self._known: WeighedCache[_Key, Definition] = WeighedCache(MAX_WEIGHT)
        self._reading: dict[_Key, asyncio.Future[Definition]] = {}

    async def of_source(self, source: str) -> Definition:
        """Reads a definition.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault and its line.
        """
        return await asyncio.to_thread(read, source)

    async def examined(self, source: str) -> Examined:
        """Looks for the faults of a definition."""
        return await asyncio.to_thread(examine, source)

    def known(self, namespace: str, name: str, version: int) -> Definition | None:
        """Returns a definition that was used lately; None for any other."""
        return self._known.get((namespace, name, version))

    async def of(self, workflow: Workflow) -> Definition:
        """Returns the definition of a stored workflow. Many who want the same have it read once."""
        key = (workflow.namespace, workflow.name, workflow.version)
        known = self._known.get(key)
        if known is not None:
            return known
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.ensure_future(self._read(key, workflow.source))
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, though everybody may have gone
        # Whoever goes away does not take it from the others.
        return await asyncio.shield(reading)

    async def _read(self, key: _Key, source: str) -> Definition:
        try:
            definition = await self.of_source(source)
        finally:
            del self._reading[key]
        self._known.put(key, definition, len(source) + WEIGHT)
        return definition
