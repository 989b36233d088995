"""An agent with durable functions, in processes of its own: `python -m parade.serve tests.support.durable_agent:agent`.

Where the environment says `CODE=changed`, one of them is written otherwise.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import parade

agent = parade.Agent("durable", max_concurrency=64)


@agent.function(effect="effect", timeout=60)
async def pay(folder: str, name: str) -> int:
    """Changes the world: writes a line; returns the process that it runs in."""
    with (Path(folder) / "paid").open("a") as file:
        file.write(f"{name}\n")
    await asyncio.sleep(0.05)
    return os.getpid()


@agent.function(effect="pure")
async def add(left: int, right: int) -> int:
    """Adds."""
    return left + right


@agent.workflow
async def sums(ctx: parade.WorkflowContext, numbers: list[int], pause: float = 0.0) -> int:
    """Adds numbers up, one by one."""
    total = 0
    for number in numbers:
        total = await ctx.call("durable.add", left=total, right=number)
        if pause:
            await ctx.sleep(pause)
    return total


@agent.workflow
async def outer(ctx: parade.WorkflowContext, numbers: list[int]) -> list[int]:
    """Has runs of its own."""
    return await ctx.gather(*(ctx.run("durable.sums", numbers=[number, 1]) for number in numbers))


@agent.workflow
async def trip(ctx: parade.WorkflowContext, city: str) -> dict[str, Any]:
    """Waits for whatever there is to wait for."""
    approval = await ctx.wait_approval(f"A trip to {city}?", timeout=60)
    winner = await ctx.race(ctx.wait_signal("stop"), ctx.sleep(0.2))
    reason = ""
    try:
        await ctx.call("durable.nothing")
    except parade.ParadeError as error:
        reason = error.reason
    paid = await ctx.wait_signal("paid", timeout=60)
    return {"by": approval.by, "note": approval.note, "winner": winner.index, "reason": reason, "paid": paid, "id": str(ctx.uuid())}


@agent.workflow
async def shopping(ctx: parade.WorkflowContext, folder: str, items: list[str]) -> list[str]:
    """Pays for things, two at a time, and waits between."""
    paid = []
    for first, second in zip(items[::2], items[1::2], strict=True):
        await ctx.gather(ctx.call("durable.pay", folder=folder, name=first), ctx.call("durable.pay", folder=folder, name=second))
        paid += [first, second]
        await ctx.sleep(0.05)
    return paid


@agent.workflow
async def changing(ctx: parade.WorkflowContext) -> int:
    """Is written in two ways."""
    if os.environ.get("CODE") == "changed":
        await ctx.call("durable.add", left=5, right=5)
    first: int = await ctx.call("durable.add", left=1, right=2)
    await ctx.wait_signal("go")
    return first
