"""What it costs that nobody gets in who may not: the same calls through a mesh that checks everything and through one that checks nothing.

Both have mutual TLS, which proves who is there. They stand beside each other and take turns, so that they share the machine's good and bad
minutes.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import unsecured
from benchmarks.calls import PATIENCE, PAYLOAD
from benchmarks.load import Sample, closed
from benchmarks.mesh import ECHO, Bench, running
from benchmarks.result import Result, judged
from benchmarks.turns import OURS, Contest, Run, take_turns
from parade.client import Mesh, connect

UNSECURED: Final = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(unsecured.__file__).parent), os.environ.get("PYTHONPATH"))))}
"""What every process is told of a mesh that checks nothing."""
OFF: Final = "the same without its checks"


def security(bench: Bench) -> Iterator[Result]:
    """`calls.c1` and `calls.c64`, with everything that is checked and without."""
    with running(bench.plan, (ECHO,), UNSECURED) as unchecked:
        one = asyncio.run(_contest(bench, unchecked, concurrency=1, count=2_000))
        yield judged("calls.security.c1", "ms, p50", _median_ms, one.ours, OFF, one.samples[OFF])
        many = asyncio.run(_contest(bench, unchecked, concurrency=64, count=40_000))
        yield judged("calls.security.c64", "calls/s", lambda sample: sample.rate, many.ours, OFF, many.samples[OFF])


async def _contest(bench: Bench, unchecked: Bench, *, concurrency: int, count: int) -> Contest:
    total = bench.plan.count(count)
    async with connect(bench.mesh_file, traced=False) as ours, connect(unchecked.mesh_file, traced=False) as theirs:
        runs = {name: _run(mesh, concurrency, total) for name, mesh in ((OURS, ours), (OFF, theirs))}
        return await take_turns(runs, bench.plan.runs, lambda: [*bench.services(), *bench.agents()])


def _run(mesh: Mesh, concurrency: int, count: int) -> Run:
    async def call() -> object:
        return await mesh.call(ECHO.function, text=PAYLOAD, timeout=PATIENCE)

    return lambda share: closed(call, concurrency, max(concurrency, int(count * share)))


def _median_ms(sample: Sample) -> float | None:
    return sample.percentile_ms(0.5)
