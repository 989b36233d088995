"""What instances cost that do nothing: a thousand of them, registered by the real agent_manager and kept alive from this process."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import psutil
from google.protobuf.duration_pb2 import Duration

from benchmarks.mesh import Bench
from benchmarks.result import Result, compared
from benchmarks.rivals import raw
from benchmarks.turns import processor_seconds
from parade.v1 import agent_manager_pb2, function_pb2, session_pb2, value_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.wire.certificates import Certificates, MemorySource, new_key_and_request
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile

AGENTS = 10
PER_AGENT = 100
AT_ONCE = 16
"""Registrations at once."""
PAUSES = (0.1, 0.3, 1.0, 3.0)
"""Seconds between tries to reach the agent_manager."""
SECONDS = 30.0
"""How long the processor time is watched."""
SETTLE = 10.0
INTERVAL = 4.0
"""Seconds between two messages of a rival's stream: as often as an agent_manager asks for heartbeats."""
RIVAL = "as many idle streams to one bare grpc.aio server"
OFFER = agent_manager_pb2.RegisterInstanceRequest(
    address="127.0.0.1:9",  # nobody calls them, so nobody listens
    functions=[
        function_pb2.Function(
            name="rest",
            arguments_schema=value_pb2.Value(data=b'{"type": "object"}'),
            result_schema=value_pb2.Value(data=b"{}"),
            effect=function_pb2.EFFECT_PURE,
            timeout=Duration(seconds=10),
        )
    ],
    version="1",
    max_concurrency=8,
    host="bench",
)


def idle(bench: Bench) -> Iterator[Result]:
    """Memory that an idle instance takes in all services together, and what a thousand of them take of a core."""
    instances = max(AGENTS, int(AGENTS * PER_AGENT * min(1.0, bench.plan.share * 5)))
    ours = asyncio.run(_registered(bench, instances))
    theirs = asyncio.run(_streams(bench, instances))
    yield compared("calls.idle", f"kB an instance, {instances} instances", [ours[0]], RIVAL, [theirs[0]])
    yield compared("calls.idle.cpu", f"% of a core, {instances} instances", [ours[1]], RIVAL, [theirs[1]])


async def _registered(bench: Bench, instances: int) -> tuple[float, float]:
    mesh = MeshFile.read(bench.mesh_file)
    services = bench.services()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        before = await _resident(services)
        turns = asyncio.Semaphore(AT_ONCE)
        beating = [asyncio.Event() for _ in range(instances)]
        beats = [
            tasks.create_task(_instance(mesh, f"idle-{number % AGENTS}", number, turns, there, stack))
            for number, there in enumerate(beating)
        ]
        for there in beating:
            await there.wait()
        figures = await _watched(bench, services, before, instances)
        for beat in beats:
            beat.cancel()
    return figures


async def _instance(mesh: MeshFile, agent: str, number: int, turns: asyncio.Semaphore, there: asyncio.Event, stack: AsyncExitStack) -> None:
    """Enrols, registers and beats until it is cancelled."""
    server_name = Identity.service("agent_manager", mesh.domain).server_name
    async with turns:
        roots = (mesh.folder / mesh.trust_bundle).read_bytes()
        key, request = await asyncio.to_thread(new_key_and_request)
        async with Channel(mesh.services["agent_manager"], mesh.certificates(), server_name) as client:
            wish = agent_manager_pb2.CreateJoinTokenRequest(agent=agent)
            token = (await _patiently(_stub(client).CreateJoinToken, wish)).token
        async with Channel(mesh.enrolment, None, server_name, trust_bundle=roots) as stranger:
            enrolled = await _patiently(_stub(stranger).Enroll, agent_manager_pb2.EnrollRequest(token=token, csr=request))
        source = MemorySource(Certificates(enrolled.trust_bundle, enrolled.certificate_chain, key))
        channel = await stack.enter_async_context(Channel(mesh.services["agent_manager"], source, server_name))
        stub = _stub(channel)
        offer = agent_manager_pb2.RegisterInstanceRequest(pid=number + 1)
        offer.MergeFrom(OFFER)
        registered = await _patiently(stub.RegisterInstance, offer)
    interval = max(0.1, registered.heartbeat_interval.ToNanoseconds() / 1e9)

    async def beats() -> AsyncIterator[agent_manager_pb2.HeartbeatRequest]:
        while True:
            yield agent_manager_pb2.HeartbeatRequest(load=agent_manager_pb2.Load())
            await asyncio.sleep(interval)

    try:
        async for _ in stub.Heartbeat(beats()):
            there.set()
    except ParadeError as error:
        raise RuntimeError(f"an idle instance was cut off: {error}") from error


async def _patiently(method: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    """Calls a method again where the server was not reached, as an agent does that joins: each may be repeated."""
    for pause in PAUSES:
        try:
            return await method(request)
        except ParadeError as error:
            if error.reason is not Reason.UNAVAILABLE:
                raise
            await asyncio.sleep(pause)
    return await method(request)


def _stub(channel: Channel) -> Any:
    return AgentManagerServiceStub(channel.for_stubs())


async def _streams(bench: Bench, instances: int) -> tuple[float, float]:
    """As many connections to a bare server, each with one stream on which a message goes to and fro as heartbeats do."""
    with raw.server(bench.folder) as address:
        (server,) = [child for child in psutil.Process().children() if "benchmarks.rivals.raw" in child.cmdline()]
        async with AsyncExitStack() as stack:
            before = await _resident([server])
            calls = []
            for _ in range(instances):
                stub = await stack.enter_async_context(raw.connected(bench.folder, address))
                call = stub.Session()
                await call.write(session_pb2.SessionFrame(ping=1))
                await call.read()
                calls.append(call)

            async def beat(call: Any, wait: float) -> None:
                await asyncio.sleep(wait)
                while True:
                    await call.write(session_pb2.SessionFrame(ping=1))
                    await call.read()
                    await asyncio.sleep(INTERVAL)

            async with asyncio.TaskGroup() as tasks:
                beats = [tasks.create_task(beat(call, INTERVAL * number / instances)) for number, call in enumerate(calls)]
                figures = await _watched(bench, [server], before, instances)
                for task in beats:
                    task.cancel()
            return figures


async def _watched(bench: Bench, processes: Sequence[psutil.Process], before: Mapping[str, float], instances: int) -> tuple[float, float]:
    """Returns kB for each instance and percent of a core."""
    await asyncio.sleep(min(SETTLE, bench.plan.seconds(SETTLE)))
    began, started = processor_seconds(processes), time.perf_counter()
    await asyncio.sleep(bench.plan.seconds(SECONDS))
    share = 100 * (processor_seconds(processes) - began) / (time.perf_counter() - started)
    after = await _resident(processes)
    grown = {name: (size - before[name]) / 1000 / instances for name, size in after.items()}
    sys.stderr.write(f"kB an instance: {', '.join(f'{name} {size:.1f}' for name, size in grown.items())}\n")
    return sum(grown.values()), max(share, 0.01)


async def _resident(processes: Sequence[psutil.Process]) -> dict[str, float]:
    """Returns the bytes that processes have in memory for themselves alone."""
    return await asyncio.to_thread(lambda: {_name(process): float(process.memory_full_info().uss) for process in processes})


def _name(process: psutil.Process) -> str:
    """Returns the module that a process runs, and its number."""
    words = process.cmdline()
    return f"{words[words.index('-m') + 1] if '-m' in words else words[0]} {process.pid}"
