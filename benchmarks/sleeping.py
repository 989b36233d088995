"""Runs that sleep: what a hundred thousand of them take of the scheduler's memory, and how late those wake whose time comes."""

import asyncio
import sys
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count as numbers

import psutil

from benchmarks.grounds import Ground, Kind, ground
from benchmarks.load import Sample, closed
from benchmarks.mesh import Bench
from benchmarks.result import Result, compared
from benchmarks.rivals.program import DBOS, Program
from benchmarks.steps import named
from benchmarks.turns import rest
from parade.client import Mesh, connect
from parade.run import RunState

SLEEPERS = 100_000
"""Runs that sleep for hours."""
WAKERS = 1_000
"""Runs whose time comes meanwhile."""
SPREAD = 10.0
"""Seconds over which their times lie."""
AHEAD = 90.0
"""Seconds before the first of these times: long enough for the scheduler to let go of a run."""
RIVALS = 1_000
"""Workflows of the rival that sleep: it keeps each in memory."""
CONCURRENCY = 64
PATIENCE = 30.0
"""Seconds after the last time in which runs must have woken."""

LONG, SHORT = "sleep-long", "sleep-short"

WORKFLOW = """
name: %s
inputs:
  until: {type: string}
steps:
  sleep: {wait: {timer: {until: "${{ inputs.until }}"}}}
"""


def sleep(bench: Bench, kind: Kind = Kind.SQLITE) -> Iterator[Result]:
    """Resident memory for a sleeping run, and how late runs wake while so many sleep. The rival sleeps with fewer."""
    with ground(bench, kind, [DBOS.name]) as stand:
        yield from asyncio.run(_sleep(stand, kind, bench.plan.count(SLEEPERS)))


async def _sleep(stand: Ground, kind: Kind, sleepers: int) -> list[Result]:
    scheduler = _scheduler(stand)
    async with connect(stand.mesh, traced=False) as mesh:
        for name in (LONG, SHORT):
            await mesh.put_workflow(WORKFLOW % name)
        await _begun(mesh, WAKERS)
        rest([scheduler])
        before = scheduler.memory_info().rss
        await _begun(mesh, sleepers)
        rest([scheduler])
        taken = (scheduler.memory_info().rss - before) / 1e6
        late = await _late(mesh)
    per_run = f"kB a sleeping run; {sleepers:,} take {taken:.0f} MB"
    theirs = await _rival(stand)
    name = f"{DBOS.name}, {RIVALS:,} sleep" if theirs else "none: no rival is to be had here"
    ours = compared("steps.sleep", per_run, [1000 * taken / sleepers], name, [1000 * theirs[0] / RIVALS] if theirs else [0.0])
    wake = compared(
        "steps.sleep.wake", f"s late, p99 of {WAKERS:,} over {SPREAD:.0f} s", [_p99(late)], name, [_p99(theirs[1])] if theirs else [0.0]
    )
    return [replace(ours, case=named(ours.case, kind)), replace(wake, case=named(wake.case, kind))]


async def _rival(stand: Ground) -> tuple[float, list[float]] | None:
    async with DBOS.running(stand.rivals[DBOS.name]) as program:
        return None if program is None else await _asked(program)


async def _asked(program: Program) -> tuple[float, list[float]]:
    found = await program.ask(f"sleep {RIVALS} 45000")
    if not found["all_slept"]:
        sys.stderr.write("the rival's first workflows woke before its last had begun\n")
    return found["mb"], found["latencies"]


async def _begun(mesh: Mesh, runs: int) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    def start() -> Awaitable[object]:
        return mesh.start(LONG, until=until)

    _check(await closed(start, CONCURRENCY, runs))


async def _late(mesh: Mesh) -> list[float]:
    """Starts runs whose times come soon; returns by how many seconds each ended after its time."""
    first = datetime.now(UTC) + timedelta(seconds=AHEAD)
    places = numbers()
    times: dict[str, datetime] = {}

    async def start() -> None:
        due = first + timedelta(seconds=SPREAD * next(places) / WAKERS)
        times[(await mesh.start(SHORT, until=due.isoformat())).id] = due

    _check(await closed(start, CONCURRENCY, WAKERS))
    if datetime.now(UTC) > first - timedelta(seconds=AHEAD / 3):
        sys.stderr.write("the runs were started so slowly that the scheduler may not have let go of them\n")
    last = first + timedelta(seconds=SPREAD + PATIENCE)
    await asyncio.sleep((first - datetime.now(UTC)).total_seconds() + SPREAD)
    while True:
        ended = {run.id: run.end_time for run in await mesh.runs(workflow=SHORT, states=[RunState.SUCCEEDED], limit=WAKERS)}
        if len(ended) == WAKERS:
            return [(ended[run].ToDatetime(UTC) - due).total_seconds() for run, due in times.items()]
        if datetime.now(UTC) > last:
            raise TimeoutError(f"{WAKERS - len(ended)} of {WAKERS} runs have not woken")
        await asyncio.sleep(0.5)


def _scheduler(stand: Ground) -> psutil.Process:
    """Returns the scheduler that is measured."""
    if stand.own:
        return stand.own[0]
    (found,) = (process for process in stand.bench.services() if "parade_scheduler" in process.cmdline())
    return found


def _check(sample: Sample) -> None:
    if sample.failed:
        raise RuntimeError(f"{sample.failed} runs could not be started")


def _p99(figures: list[float]) -> float:
    return sorted(figures)[int(0.99 * len(figures))]
