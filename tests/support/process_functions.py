"""Functions that run in worker processes, for the tests of that: a worker imports this module."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import parade

agent = parade.Agent("crunching", max_concurrency=4)


@agent.function(process=True, effect="pure")
def identify(seconds: float = 0) -> int:
    """Returns the process that it runs in."""
    time.sleep(seconds)
    return os.getpid()


@agent.function(process=True, effect="pure")
async def identify_asynchronously(text: str) -> tuple[str, int]:
    """Returns its argument and the process that it runs in."""
    await asyncio.sleep(0)
    return text, os.getpid()


@agent.function(process=True, effect="pure")
def spin(folder: str) -> None:
    """Never ends, and never lets go of the interpreter for long; a child of its own does as little."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    (Path(folder) / "pids").write_text(f"{os.getpid()} {child.pid}")
    while True:
        sum(range(1000))


@agent.function(process=True, effect="pure")
async def block_the_loop(folder: str) -> None:
    """Holds its event loop up for good."""
    (Path(folder) / "pids").write_text(f"{os.getpid()}")
    time.sleep(1000)


@agent.function(process=True, effect="effect")
def die(status: int) -> None:
    """Ends its process."""
    os._exit(status)


@agent.function(process=True, effect="pure")
def fail(text: str) -> None:
    """Raises."""
    raise LookupError(text)


@agent.function(process=True, effect="pure")
def lie() -> int:
    """Returns something outside its schema."""
    answer: Any = "not a number"
    return answer  # type: ignore[no-any-return]


@agent.function(process=True, effect="pure")
def repeat(text: str, times: int) -> str:
    """Returns a long text."""
    return text * times


@agent.function(process=True, effect="pure")
def work(context: parade.Context) -> str:
    """Tells how far it has come."""
    for step in range(3):
        context.progress(step / 4)
        time.sleep(0.02)
    context.log.info("worked", steps=3)
    return f"{context.function} {context.run_id} {0 < (context.remaining() or 0) <= 5}"


@agent.function(process=True, effect="pure")
def count(to: int, folder: str = "") -> Iterator[int]:
    """Yields numbers, and keeps how many."""
    for number in range(to):
        if folder:
            (Path(folder) / "given").write_text(str(number + 1))
        yield number


@agent.function(process=True, effect="pure")
async def count_asynchronously(to: int) -> AsyncIterator[int]:
    """Yields numbers."""
    for number in range(to):
        yield number


@agent.function(process=True, effect="pure")
def ask(function: str, context: parade.Context) -> Any:
    """Calls another function, from a thread."""
    return context.wait(context.call(function, {"number": 20}, addend=1))


@agent.function(process=True, effect="pure")
async def ask_for_items(function: str, context: parade.Context) -> list[Any]:
    """Reads the items of another function."""
    return [item async for item in context.stream(function)]
