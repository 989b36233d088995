"""Calls through the mesh, SDK → dispatcher → agent, beside one hop of plain gRPC."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.mesh import Bench
from benchmarks.result import Result, compared
from benchmarks.rivals import raw
from parade import values
from parade.client import connect
from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade.wire.channel import Channel
from parade.wire.identity import Identity

PAYLOAD = "x" * 180
"""About 200 bytes as a whole request."""
RUNS = 3
Call = Callable[[], Awaitable[object]]


def c1(bench: Bench) -> Result:
    """One call at a time: the median latency."""
    return asyncio.run(_compare(bench, "calls.c1", "ms, p50", concurrency=1, count=1000))


def c64(bench: Bench) -> Result:
    """64 calls in flight: calls a second."""
    return asyncio.run(_compare(bench, "calls.c64", "calls/s", concurrency=64, count=6000))


async def _compare(bench: Bench, case: str, unit: str, *, concurrency: int, count: int) -> Result:
    ours: list[float] = []
    theirs: list[float] = []
    latencies: list[float] = []
    with raw.server(bench.folder) as address:
        async with connect(bench.mesh_file, traced=False) as mesh:
            file = mesh.file
            async with Channel(address, file.certificates(), Identity.service("dispatcher").server_name) as channel:
                stub = dispatcher_pb2_grpc.DispatcherServiceStub(channel.for_stubs())
                request = dispatcher_pb2.CallRequest(function="echo.echo", arguments=values.encode({"text": PAYLOAD}))

                async def through_the_mesh() -> object:
                    return await mesh.call("echo.echo", text=PAYLOAD)

                async def direct() -> object:
                    return await stub.Call(request, timeout=10)

                for call in (through_the_mesh, direct):
                    await _run(call, concurrency, count // 5)
                for _ in range(RUNS):
                    for call, figures in ((through_the_mesh, ours), (direct, theirs)):
                        elapsed, taken = await _run(call, concurrency, count)
                        figures.append(1000 * sorted(taken)[count // 2] if concurrency == 1 else count / elapsed)
                        if call is through_the_mesh:
                            latencies.extend(taken)
    return compared(case, unit, ours, raw.NAME, theirs, latencies)


async def _run(call: Call, concurrency: int, count: int) -> tuple[float, list[float]]:
    taken: list[float] = []

    async def worker() -> None:
        for _ in range(count // concurrency):
            started = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(worker())
    count_done = len(taken)
    elapsed = time.perf_counter() - started
    return elapsed * count / count_done, taken
