"""Items of a streaming function through the mesh, beside a plain gRPC server stream."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.load import Sample
from benchmarks.mesh import Bench
from benchmarks.result import Result, judged
from benchmarks.rivals import raw
from benchmarks.turns import OURS, Contest, take_turns
from parade.client import connect
from parade.v1 import dispatcher_pb2, value_pb2

SIZE = 1000
"""Bytes of an item."""
TIMEOUT = 60.0


def stream(bench: Bench) -> Iterator[Result]:
    """One stream of items of 1 kB: items a second."""
    contest = asyncio.run(_contest(bench))
    rival = raw.STREAM_NAME
    result = judged("calls.stream", "items/s", lambda sample: sample.rate, contest.ours, rival, contest.samples[rival])
    yield replace(result, p50_ms=None, p99_ms=None)  # the time from one item to the next is no latency


async def _contest(bench: Bench) -> Contest:
    count = bench.plan.count(100_000)
    with raw.server(bench.folder) as address:
        async with connect(bench.mesh_file, traced=False) as mesh, raw.connected(bench.folder, address) as stub:

            async def ours(share: float) -> Sample:
                sample, last = Sample(0.0), time.perf_counter()
                started = last
                async for _ in mesh.stream("echo.items", count=int(count * share), size=SIZE, timeout=TIMEOUT):
                    now = time.perf_counter()
                    sample.latencies.append(now - last)
                    last = now
                sample.seconds = time.perf_counter() - started
                return sample

            async def theirs(share: float) -> Sample:
                sample, last = Sample(0.0), time.perf_counter()
                started = last
                arguments = value_pb2.Value(data=f"{int(count * share / 4)} {SIZE}".encode())
                async for _ in stub.CallStream(dispatcher_pb2.CallStreamRequest(arguments=arguments), timeout=TIMEOUT):
                    now = time.perf_counter()
                    sample.latencies.append(now - last)
                    last = now
                sample.seconds = time.perf_counter() - started
                return sample

            return await take_turns({OURS: ours, raw.STREAM_NAME: theirs}, bench.plan.runs, lambda: [*bench.services(), *bench.agents()])
