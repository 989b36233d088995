"""Waiting for a condition, with a deadline: never for luck."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

INTERVAL = 0.01


async def eventually(condition: Callable[[], bool | Awaitable[bool]], *, within: float = 5.0) -> None:
    """Returns once the condition holds.

    Args:
        condition: What must come true; asked again every 10 ms.
        within: Seconds until the test fails.

    Raises:
        TimeoutError: It has not come true.
    """
    async with asyncio.timeout(within):
        while True:
            answer = condition()
            if await answer if isawaitable(answer) else answer:
                return
            await asyncio.sleep(INTERVAL)
