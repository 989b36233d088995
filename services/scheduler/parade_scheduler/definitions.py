"""Definitions that have been read lately, so that starting a run does not read its workflow again."""

import asyncio
from collections import OrderedDict
from typing import Final

from parade_scheduler.language import Definition, Examined, examine, read
from parade_scheduler.model import Workflow

CAPACITY: Final = 256
"""How many are kept."""


class Definitions:
    """Reads definitions, in a thread, for a large one takes a second."""

    def __init__(self) -> None:
        """Starts with none."""
        self._known: OrderedDict[tuple[str, str, int], Definition] = OrderedDict()

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
        """Returns the definition of a stored workflow."""
        key = (workflow.namespace, workflow.name, workflow.version)
        definition = self._known.get(key)
        if definition is None:
            definition = await self.of_source(workflow.source)
            self._known[key] = definition
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return definition
