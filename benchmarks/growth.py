"""Whether steps slow down as finished runs pile up in the database."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.grounds import Ground, Kind, ground
from benchmarks.load import closed
from benchmarks.mesh import Bench
from benchmarks.result import Result, compared
from benchmarks.steps import STEPS, Workflows, named, workflows_of
from benchmarks.turns import SETTLE

FINISHED = 1_000
"""Finished runs of ten steps that there are at first; ten times as many later."""
CONCURRENCY = 64
MEASURED = 320
"""Runs that are measured each time."""


def growth(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """64 workflows of ten steps at a time, with ten times the finished runs in the database and with one: steps a second."""
    with ground(bench, kind, []) as stand:
        found = asyncio.run(_growth(stand))
    yield replace(found, case=named("steps.growth", kind))


async def _growth(stand: Ground) -> Result:
    plan = stand.bench.plan
    finished, measured = plan.count(FINISHED), plan.count(MEASURED)
    async with workflows_of(stand) as workflows:
        await _fill(workflows, finished)
        few = [await _rate(workflows, measured) for _ in range(plan.runs)]
        await _fill(workflows, 10 * finished - plan.runs * measured - finished)
        many = [await _rate(workflows, measured) for _ in range(plan.runs)]
    return compared("", f"steps/s, {10 * finished:,} finished runs", many, f"the same with {finished:,}", few)


async def _fill(workflows: Workflows, runs: int) -> None:
    sample = await closed(workflows.chain, CONCURRENCY, runs)
    if sample.failed:
        raise RuntimeError(f"{sample.failed} runs failed")


async def _rate(workflows: Workflows, runs: int) -> float:
    await asyncio.sleep(SETTLE)
    sample = await closed(workflows.chain, CONCURRENCY, runs)
    return STEPS * sample.rate
