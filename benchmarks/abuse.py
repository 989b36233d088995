"""What others notice of one who abuses every port: the same calls with and without."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from benchmarks.load import Sample, arriving
from benchmarks.mesh import Bench
from benchmarks.result import Result, judged
from benchmarks.rivals.program import Program, answer
from benchmarks.turns import OURS, Contest, take_turns
from parade.client import connect

RATE = 200.0
"""Calls a second: the mesh has time left, as one should that is abused."""
QUIET = "the same without abuse"


def abuse(bench: Bench) -> Iterator[Result]:
    """Poisson arrivals while another sends damaged messages and frames to every port: the latency that 99 of 100 calls kept below."""
    contest = asyncio.run(_contest(bench))
    yield judged("security.abuse", "ms, p99", _p99, contest.ours, QUIET, contest.samples[QUIET])


async def _contest(bench: Bench) -> Contest:
    seconds = bench.plan.seconds(20.0)
    async with connect(bench.mesh_file, traced=False) as mesh, _abuser(bench) as program:

        async def call() -> object:
            return await mesh.call("echo.echo", text="x" * 180, timeout=60.0)

        async def quiet(share: float) -> Sample:
            return await arriving(call, RATE, seconds * share)

        async def abused(share: float) -> Sample:
            asked = asyncio.create_task(program.ask(str(seconds * share)))
            sample = await quiet(share)
            await asked
            return sample

        return await take_turns({OURS: abused, QUIET: quiet}, bench.plan.runs, lambda: [*bench.services(), *bench.agents()])


@asynccontextmanager
async def _abuser(bench: Bench) -> AsyncIterator[Program]:
    command = ["-m", "tests.support.hostile.abuser", "echo"]  # what the tests do to the mesh, which is more than a benchmark should know
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=bench.environment, **pipes)  # type: ignore[arg-type]
    try:
        await answer(process)
        yield Program(process, "")
    finally:
        process.terminate()
        await process.wait()


def _p99(sample: Sample) -> float | None:
    return sample.percentile_ms(0.99)
