"""How long a request that is safe to repeat is repeated while a service is away, as it is while it restarts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from parade.wire.errors import ParadeError, Reason

PATIENCE = 20.0
"""Seconds for which a service may be away."""

T = TypeVar("T")


class Patience:
    """How long to try again while a service is away. It is renewed by whatever comes from the service."""

    def __init__(self) -> None:
        """Begins to wait now."""
        self.renew()

    def renew(self) -> None:
        """Begins anew: the service is there."""
        self._until = time.monotonic() + PATIENCE
        self._pause = 0.1

    async def pause_or_raise(self, error: ParadeError) -> None:
        """Waits a moment before the next attempt.

        Raises:
            ParadeError: The error that was given: another attempt does not help, or there were enough.
        """
        if error.reason is not Reason.UNAVAILABLE or time.monotonic() >= self._until:
            raise error
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, 1.0)


async def patiently(request: Callable[[], Awaitable[T]]) -> T:
    """Sends a request that is safe to repeat, again and again while the service is away.

    Raises:
        ParadeError: What the service answers; UNAVAILABLE where it stays away.
    """
    patience = Patience()
    while True:
        try:
            return await request()
        except ParadeError as error:
            await patience.pause_or_raise(error)
