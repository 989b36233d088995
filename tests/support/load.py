"""Calls without pause, and what became of each."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from parade import CallOptions
from parade.client import Mesh
from parade.wire.errors import ParadeError

Arguments = Callable[[int], Mapping[str, Any]]
"""The arguments of the call with a number."""


@dataclass(slots=True)
class Load:
    """What became of calls."""

    answered: dict[int, Any] = field(default_factory=dict)
    """The results, by the call's number."""
    failed: dict[int, ParadeError] = field(default_factory=dict)
    """The failures, by the call's number."""
    longest: float = 0.0
    """Seconds that the slowest call took."""
    stopping: bool = False

    @property
    def count(self) -> int:
        """How many calls have ended."""
        return len(self.answered) + len(self.failed)

    async def until(self, more: int, within: float = 20.0) -> None:
        """Waits until that many more calls have ended."""
        goal = self.count + more
        async with asyncio.timeout(within):
            while self.count < goal:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def calling(
    mesh: Mesh, function: str, arguments: Arguments, *, workers: int = 16, timeout: float = 20.0, keyed: bool = False
) -> AsyncIterator[Load]:
    """Calls a function from as many workers for the time of the block, then lets the last calls end.

    Args:
        mesh: The mesh.
        function: The full name of the function.
        arguments: Its arguments, made of the call's number.
        workers: How many calls are under way at once.
        timeout: Seconds that each may take.
        keyed: Whether each call carries its number as its idempotency key.
    """
    load = Load()
    numbers = iter(range(1_000_000))

    def options(number: int) -> CallOptions | None:
        return CallOptions(idempotency_key=f"load-{number}") if keyed else None

    async def work() -> None:
        while not load.stopping:
            number = next(numbers)
            started = time.monotonic()
            try:
                load.answered[number] = await mesh.call(function, arguments(number), timeout=timeout, options=options(number))
            except ParadeError as error:
                load.failed[number] = error
            load.longest = max(load.longest, time.monotonic() - started)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work())
        try:
            yield load
        finally:
            load.stopping = True
