"""Calls through the mesh, SDK → dispatcher → agent, beside what is usual: plain gRPC, AutoGen's runtime, Ray's actors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.load import Call, Sample, arriving, burst, closed
from benchmarks.mesh import Bench
from benchmarks.result import Result, judged
from benchmarks.rivals import raw
from benchmarks.rivals.program import RIVALS, Rival
from benchmarks.turns import OURS, Contest, Run, take_turns
from parade import values
from parade.client import connect
from parade.v1 import dispatcher_pb2

PAYLOAD = "x" * 180
"""About 200 bytes as a whole request."""
PATIENCE = 60.0
"""Seconds that a call may take before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same call, both ways."""

    ours: Call
    raw: Call


def c1(bench: Bench) -> Iterator[Result]:
    """One call at a time: the median latency."""
    yield from _closed(bench, "calls.c1", "ms, p50", "echo.echo", concurrency=1, count=2000, figure=_median_ms, rivals=RIVALS)


def c64(bench: Bench) -> Iterator[Result]:
    """64 calls in flight: calls a second."""
    yield from _closed(bench, "calls.c64", "calls/s", "echo.echo", concurrency=64, count=40_000, figure=_rate, rivals=RIVALS)


def work5_c64(bench: Bench) -> Iterator[Result]:
    """64 calls in flight of a function that works for 5 ms, exponentially distributed: calls a second."""
    yield from _closed(bench, "calls.work5.c64", "calls/s", "echo.work", concurrency=64, count=20_000, figure=_rate, rivals=())


def open5000(bench: Bench) -> Iterator[Result]:
    """Poisson arrivals, 5,000 a second for 30 s: the latency that 99 of 100 calls kept below.

    The rival gets the same arrivals for 5 s: more than it can take, so what it shows grows with the time.
    """
    seconds = bench.plan.seconds(30.0)

    def runs(pair: Pair) -> dict[str, Run]:
        return {
            OURS: lambda share: arriving(pair.ours, 5000, seconds * share),
            raw.NAME: lambda share: arriving(pair.raw, 5000, min(5.0, seconds) * share),
        }

    contest = asyncio.run(_both(bench, "echo.echo", runs))
    yield judged("calls.open5000", "ms, p99", lambda sample: sample.percentile_ms(0.99), contest.ours, raw.NAME, contest.samples[raw.NAME])


def at_once(bench: Bench) -> Iterator[Result]:
    """10,000 calls at once from one client: how many fail."""
    count = bench.plan.count(10_000)

    def runs(pair: Pair) -> dict[str, Run]:
        return {
            OURS: lambda share: burst(pair.ours, int(count * share)),
            raw.NAME: lambda share: burst(pair.raw, int(count * share)),
        }

    contest = asyncio.run(_both(bench, "echo.echo", runs))
    yield judged("calls.burst", "failed", lambda sample: float(sample.failed), contest.ours, raw.NAME, contest.samples[raw.NAME])


def _closed(
    bench: Bench, case: str, unit: str, function: str, *, concurrency: int, count: int, figure: "Figure", rivals: tuple[Rival, ...]
) -> Iterator[Result]:
    """Compares closed loops, with one rival after the other: what waits for its turn takes a little of the machine."""
    total = bench.plan.count(count)

    def runs(pair: Pair) -> dict[str, Run]:
        return {
            OURS: lambda share: closed(pair.ours, concurrency, max(concurrency, int(total * share))),
            # It is slower, and as exact with fewer calls.
            raw.NAME: lambda share: closed(pair.raw, concurrency, max(concurrency, int(total * share / 4))),
        }

    contest = asyncio.run(_both(bench, function, runs))
    yield judged(case, unit, figure, contest.ours, raw.NAME, contest.samples[raw.NAME])
    for rival in rivals:
        against = asyncio.run(_against(bench, function, rival, runs, concurrency, total // 8))
        if against is not None:
            contest, versions = against
            yield judged(case, unit, figure, contest.ours, rival.name, contest.samples[rival.name], versions)


async def _against(
    bench: Bench, function: str, rival: Rival, runs: Callable[[Pair], dict[str, Run]], concurrency: int, count: int
) -> tuple[Contest, str] | None:
    """Compares with a rival that drives itself, from a process of its own; None where it cannot be had."""
    async with paired(bench, function) as pair, rival.running() as program:
        if program is None:
            return None
        contestants = {OURS: runs(pair)[OURS], rival.name: program.run(concurrency, count)}
        return await take_turns(contestants, bench.plan.runs, lambda: [*bench.services(), *bench.agents()]), program.versions


async def _both(bench: Bench, function: str, runs: Callable[[Pair], dict[str, Run]]) -> Contest:
    async with paired(bench, function) as pair:
        return await take_turns(runs(pair), bench.plan.runs, lambda: [*bench.services(), *bench.agents()])


@asynccontextmanager
async def paired(bench: Bench, function: str) -> AsyncIterator[Pair]:
    """Connects to the mesh and to a raw server, from this process."""
    with raw.server(bench.folder) as address:
        async with connect(bench.mesh_file, traced=False) as mesh, raw.connected(bench.folder, address) as stub:
            request = dispatcher_pb2.CallRequest(function=function, arguments=values.encode({"text": PAYLOAD}))

            async def through_the_mesh() -> object:
                return await mesh.call(function, text=PAYLOAD, timeout=PATIENCE)

            async def direct() -> object:
                return await stub.Call(request, timeout=PATIENCE)

            yield Pair(through_the_mesh, direct)


Figure = Callable[[Sample], float | None]


def _rate(sample: Sample) -> float:
    return sample.rate


def _median_ms(sample: Sample) -> float | None:
    return sample.percentile_ms(0.5)
