"""The agent that the benchmarks call: it answers at once, after a little work, or with many items."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import parade
from benchmarks.work import WORK

agent = parade.Agent("echo", max_concurrency=256)


@agent.function(effect="pure")
async def echo(text: str = "") -> Any:
    """Returns its argument."""
    return text


@agent.function(effect="pure")
async def work(text: str = "") -> Any:
    """Returns its argument after exponentially distributed work."""
    await asyncio.sleep(random.expovariate(1 / WORK))
    return text


@agent.function(effect="pure")
async def items(count: int, size: int) -> AsyncIterator[str]:
    """Yields so many texts of one size."""
    text = "x" * size
    for _ in range(count):
        yield text
