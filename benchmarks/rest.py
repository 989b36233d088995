"""Calls over REST, HTTP client → gateway → dispatcher → agent, beside one hop of plain gRPC."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psutil

from benchmarks.calls import PAYLOAD, paired
from benchmarks.load import closed
from benchmarks.mesh import Bench
from benchmarks.result import Result, judged
from benchmarks.rivals import raw
from benchmarks.rivals.program import Program, answer
from benchmarks.turns import OURS, Contest, take_turns
from parade.wire.mesh_file import MeshFile

CONCURRENCY = 64


def c64(bench: Bench) -> Iterator[Result]:
    """64 calls in flight over as many keep-alive connections: calls a second."""
    contest = asyncio.run(_contest(bench))
    yield judged("calls.rest.c64", "calls/s", lambda sample: sample.rate, contest.ours, raw.NAME, contest.samples[raw.NAME])


async def _contest(bench: Bench) -> Contest:
    count = bench.plan.count(16_000)
    async with paired(bench, "echo.echo") as pair, _client(bench) as (client, process):
        return await take_turns(
            {
                OURS: client.run(CONCURRENCY, count),
                raw.NAME: lambda share: closed(pair.raw, CONCURRENCY, max(CONCURRENCY, int(count * share / 2))),
            },
            bench.plan.runs,
            lambda: [process, *bench.services(), *bench.agents()],
        )


@asynccontextmanager
async def _client(bench: Bench) -> AsyncIterator[tuple[Program, psutil.Process]]:
    mesh = MeshFile.read(bench.mesh_file)
    url = urlsplit(mesh.rest)
    body = json.dumps({"arguments": {"text": PAYLOAD}})
    key = str(mesh.folder / mesh.api_key)
    command = ["-m", "benchmarks.rest_client", str(url.hostname), str(url.port), "/v1/functions/echo.echo:call", key, body]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**26)
    try:
        await answer(process)
        yield Program(process, ""), psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()
