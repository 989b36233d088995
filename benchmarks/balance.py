"""Eight instances of which one is five times slower: how much of what they can do together is used."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.calls import PATIENCE, PAYLOAD
from benchmarks.load import steady
from benchmarks.mesh import Agent, Bench
from benchmarks.paced import VARIABLE
from benchmarks.result import Result, judged
from benchmarks.turns import OURS, Contest, take_turns
from parade.client import connect

FAST = 0.01
"""Seconds in which an instance serves a call."""
SLOW = 5 * FAST
INSTANCES = 8
IDEAL = (INSTANCES - 1) / FAST + 1 / SLOW
"""Calls that all instances together can serve in a second."""
CONCURRENCY = 64

PACED = Agent("benchmarks.paced:agent", "paced.serve", [{VARIABLE: str(FAST)}] * (INSTANCES - 1) + [{VARIABLE: str(SLOW)}])


def balance(bench: Bench) -> Iterator[Result]:
    """64 calls in flight: percent of what the instances together can serve."""
    contest = asyncio.run(_contest(bench))
    result = judged("calls.balance", "% of ideal", lambda sample: 100 * sample.rate / IDEAL, contest.ours, "ideal by capacity", [])
    share = result.value
    yield replace(result, rival_value=100.0, ratio=None if share is None else share / 100)


async def _contest(bench: Bench) -> Contest:
    seconds = bench.plan.seconds(10.0)
    async with connect(bench.mesh_file, traced=False) as mesh:

        async def call() -> object:
            return await mesh.call("paced.serve", text=PAYLOAD, timeout=PATIENCE)

        return await take_turns(
            {OURS: lambda share: steady(call, CONCURRENCY, seconds * share)},
            bench.plan.runs,
            lambda: [*bench.services(), *bench.agents()],
        )
