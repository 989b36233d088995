"""The agent that the tests of the whole mesh call, in processes of its own: `python -m parade.serve tests.support.tested_agent:agent`."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import parade

agent = parade.Agent("tested", max_concurrency=64)


@agent.function(effect="pure")
async def echo(text: str) -> str:
    """Returns its argument."""
    return text


@agent.function(effect="pure")
async def identify() -> int:
    """Returns the process that it runs in."""
    return os.getpid()


@agent.function(effect="pure")
async def fail(message: str) -> str:
    """Raises."""
    raise LookupError(message)


@agent.function(effect="pure")
async def lie() -> int:
    """Returns something outside its schema."""
    answer: Any = "not a number"
    return answer  # type: ignore[no-any-return]


@agent.function(effect="pure", timeout=60)
async def sleep(seconds: float) -> int:
    """Sleeps, then returns the process that it runs in."""
    await asyncio.sleep(seconds)
    return os.getpid()


@agent.function(effect="idempotent", timeout=60)
async def note(folder: str, name: str, seconds: float = 0.0) -> int:
    """Writes down that it has begun, sleeps, and writes down that it has ended; returns the process that it runs in."""
    with (Path(folder) / f"{name}.begun").open("a") as file:
        file.write(f"{os.getpid()}\n")
    await asyncio.sleep(seconds)
    with (Path(folder) / f"{name}.ended").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return os.getpid()


@agent.function(effect="effect", timeout=60)
async def pay(folder: str, seconds: float) -> str:
    """Changes the world: writes a line, then sleeps."""
    with (Path(folder) / "paid").open("a") as file:
        file.write(f"{os.getpid()}\n")
    await asyncio.sleep(seconds)
    return "paid"


@agent.function(effect="pure")
async def count(to: int) -> AsyncIterator[int]:
    """Yields the numbers from 0 on."""
    for number in range(to):
        yield number


@agent.function(effect="pure")
async def ask(text: str, *, context: parade.Context) -> str:
    """Calls another function over the mesh."""
    answer: str = await context.call("tested.echo", text=text)
    return answer


@agent.function(effect="pure")
async def work(seconds: float) -> int:
    """Takes its time; returns the process that it runs in."""
    await asyncio.sleep(seconds)
    return os.getpid()


@agent.function(effect="effect", timeout=60)
async def charge(folder: str, key: str, seconds: float = 0.0) -> str:
    """Changes the world: writes the key down, then takes its time."""
    with (Path(folder) / "charged").open("a") as file:
        file.write(f"{key}\n")
    await asyncio.sleep(seconds)
    return key


@agent.function(effect="pure", timeout=60)
async def linger(folder: str, name: str, seconds: float) -> str:
    """Writes down that it has begun, and whether it ended or was cancelled."""
    (Path(folder) / f"{name}.begun").touch()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        (Path(folder) / f"{name}.cancelled").touch()
        raise
    (Path(folder) / f"{name}.ended").touch()
    return name


@agent.function(effect="pure", retry=parade.RetryPolicy(max_attempts=5, initial_backoff=0.01))
async def storm(folder: str) -> None:
    """Writes down that it was called, and fails in a way that invites another attempt."""
    with (Path(folder) / "storm").open("a") as file:
        file.write("x")
    raise parade.FunctionError("the weather is bad", retryable=True)


@agent.function(effect="pure", timeout=60)
async def relay(folder: str, name: str, seconds: float, *, context: parade.Context) -> str:
    """Has another function linger."""
    answer: str = await context.call("tested.linger", folder=folder, name=name, seconds=seconds)
    return answer
