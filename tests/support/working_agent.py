"""An agent whose calls take their time, give items and artifacts, and can or cannot be stopped."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel

import parade

agent = parade.Agent("worker", max_concurrency=64)


class Weight(BaseModel):
    """What an artifact weighs."""

    size: int
    digest: str
    media_type: str


@agent.function(effect="pure")
async def nap(seconds: float) -> str:
    """Sleeps."""
    await asyncio.sleep(seconds)
    return "slept"


@agent.function(effect="pure")
async def steps(count: int, seconds: float, *, context: parade.Context) -> int:
    """Works in steps and tells of each."""
    for step in range(count):
        context.progress((step + 1) / count, f"step {step + 1}")
        await asyncio.sleep(seconds)
    return count


@agent.function(effect="pure")
async def numbers(to: int, seconds: float = 0.0) -> AsyncIterator[int]:
    """Yields the numbers from 0 on."""
    for number in range(to):
        yield number
        await asyncio.sleep(seconds)


@agent.function(effect="pure")
async def rows(to: int, size: int, folder: str) -> AsyncIterator[str]:
    """Yields texts, and writes down how many it has made."""
    for number in range(to):
        Path(folder, "making").write_text(str(number + 1))
        Path(folder, "making").replace(Path(folder, "made"))
        yield "x" * size


@agent.function(effect="pure")
def stubborn(seconds: float) -> str:
    """Sleeps in a thread, which nobody can stop."""
    time.sleep(seconds)
    return "slept"


@agent.function(effect="pure")
async def fail(message: str) -> str:
    """Raises."""
    raise LookupError(message)


@agent.function(effect="effect")
async def pay(folder: str, seconds: float = 0.0) -> str:
    """Changes the world: writes a line, then sleeps."""
    paid = Path(folder, "paid")
    paid.write_text(f"{paid.read_text() if paid.exists() else ''}paid\n")
    await asyncio.sleep(seconds)
    return "paid"


@agent.function(effect="pure")
async def ask_and_note(folder: str, *, context: parade.Context) -> str:
    """Calls `note_the_end`, and is a part of whoever is called."""
    answer: str = await context.call("worker.note_the_end", folder=folder)
    return answer


@agent.function(effect="pure")
async def note_the_end(folder: str) -> str:
    """Writes down that it has begun, waits for ever, and writes down that it was ended."""
    Path(folder, "begun").touch()
    try:
        await asyncio.Event().wait()
    finally:
        Path(folder, "ended").touch()
    return ""


@agent.function(effect="pure")
async def weigh(content: parade.Artifact) -> Weight:
    """Reads an artifact, piece by piece."""
    size, seen = 0, hashlib.sha256()
    async for piece in content.chunks():
        size += len(piece)
        seen.update(piece)
    return Weight(size=size, digest=f"sha256:{seen.hexdigest()}", media_type=content.media_type)


@agent.function(effect="pure")
async def make(size: int, *, context: parade.Context) -> parade.Artifact:
    """Puts an artifact, piece by piece."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 100_000):
            yield b"x" * min(100_000, size - start)

    return await context.put_artifact(pieces(), media_type="text/plain")


@agent.function(effect="pure")
def save(content: parade.Artifact, folder: str, *, context: parade.Context) -> str:
    """Saves an artifact, in a thread."""
    return str(context.wait(content.save(Path(folder, "saved"))))
