"""Is the mesh well: each service over mutual TLS, the REST edge, the way to the monitor, agents and functions, the clock."""

import asyncio
import http.client
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from parade.cli.finding import ANSWER_TIMEOUT, Finding, asked
from parade.cli.plain import state_name
from parade.client import Mesh, connect
from parade.wire.channel import Channel, targets
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile

MAX_CLOCK_DIFFERENCE = 5.0
"""Seconds by which two clocks may differ before traces and leases mislead."""
HEARTBEAT_AGE = 10.0
"""Seconds after which an instance without a heartbeat is LOST, so that of a ready one the last is no older."""
_START = "Start the mesh with `parade dev`; where it runs, its output says why this service does not."


async def mesh_findings(mesh_file: MeshFile) -> list[Finding]:
    """Returns what there is to say of a mesh."""
    replicas = [(name, address) for name, addresses in mesh_file.services.items() for address in targets(addresses)]
    findings = list(await asyncio.gather(*(_service(mesh_file, name, address) for name, address in replicas)))
    findings.append(await _rest(mesh_file))
    findings.append(await _telemetry(mesh_file))
    for check, question in (("agents", _agents), ("functions", _functions), ("clock", _clock)):
        findings.append(await asked(check, partial(_over_mesh, mesh_file, question), _START))
    return findings


async def _over_mesh(mesh_file: MeshFile, question: Callable[[Mesh], Awaitable[Finding]]) -> Finding:
    async with connect(mesh_file, traced=False) as mesh:
        return await question(mesh)


async def _service(mesh_file: MeshFile, name: str, address: str) -> Finding:
    async def question(channel: Channel) -> Finding:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[arg-type]  # a Channel is what the stub needs of gRPC's
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_TIMEOUT)
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        serving = response.status == health_pb2.HealthCheckResponse.SERVING
        detail = f"serves at {address}" if serving else f"{state} at {address}"
        return Finding(name, ok=serving, detail=detail, advice="It is starting or stopping; look again in a moment.")

    return await _over_channel(mesh_file, name, address, name, question)


async def _telemetry(mesh_file: MeshFile) -> Finding:
    async def question(channel: Channel) -> Finding:
        request = logs_service_pb2.ExportLogsServiceRequest()
        await logs_service_pb2_grpc.LogsServiceStub(channel).Export(request, timeout=ANSWER_TIMEOUT)  # type: ignore[no-untyped-call]
        return Finding("telemetry", ok=True, detail="the monitor takes it")

    if "monitor" not in mesh_file.services:
        return Finding("telemetry", ok=True, detail="this mesh has no monitor")
    return await _over_channel(mesh_file, "monitor", mesh_file.services["monitor"], "telemetry", question)


async def _over_channel(
    mesh_file: MeshFile, service: str, address: str, check: str, question: Callable[[Channel], Awaitable[Finding]]
) -> Finding:
    async def over_channel() -> Finding:
        identity = Identity.service(service, mesh_file.domain)
        async with Channel(address, mesh_file.certificates(), identity.server_name, peer=service) as channel:
            return await question(channel)

    return await asked(check, over_channel, _START)


async def _rest(mesh_file: MeshFile) -> Finding:
    async def question() -> Finding:
        status = await asyncio.to_thread(_get_agents, mesh_file)
        detail = f"answers with {status} at {mesh_file.rest}"
        return Finding(
            "rest",
            ok=status == http.HTTPStatus.OK,
            detail=detail,
            advice=f"The key must be that in {mesh_file.folder / mesh_file.api_key}.",
        )

    return await asked("rest", question, _START)


def _get_agents(mesh_file: MeshFile) -> int:
    key = (mesh_file.folder / mesh_file.api_key).read_text().strip()
    url = urlsplit(mesh_file.rest)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    # Not by urllib, which would ask a proxy of the environment even for this machine.
    connection = kind(url.hostname or "", url.port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", "/v1/agents", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        return response.status
    except http.client.HTTPException as error:
        raise ConnectionError(f"{mesh_file.rest} does not speak HTTP: {error!r}") from error
    finally:
        connection.close()


async def _agents(mesh: Mesh) -> Finding:
    agents = await mesh.agents()
    lost = [f"{agent.name} {instance.id}" for agent in agents for instance in agent.instances if state_name(instance) == "LOST"]
    if lost:
        advice = "Their processes ended without a word, or cannot reach the mesh: see `parade logs --service AGENT`, and start them again."
        return Finding("agents", ok=False, detail=f"lost: {', '.join(lost)}", advice=advice)
    states = Counter(state_name(instance).lower() for agent in agents for instance in agent.instances)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return Finding("agents", ok=True, detail=f"{len(agents)} known; instances: {counted or 'none'}")


async def _functions(mesh: Mesh) -> Finding:
    functions = await mesh.functions()
    idle = [entry.full_name for entry in functions if entry.ready_instances == 0]
    if idle:
        advice = "Start an instance with `parade agent serve module:agent`, or resume the agent with `parade agent resume`."
        return Finding("functions", ok=False, detail=f"without a ready instance: {', '.join(idle)}", advice=advice)
    return Finding("functions", ok=True, detail=f"{len(functions)} known; each has a ready instance" if functions else "none known yet")


async def _clock(mesh: Mesh) -> Finding:
    """Compares the clock here with that of the agent_manager, which notes when heartbeats come."""
    instances = [instance for agent in await mesh.agents() for instance in agent.instances if state_name(instance) == "READY"]
    if not instances:
        return Finding("clock", ok=True, detail="not compared: no ready instance, whose heartbeats would tell")
    newest = max(instance.heartbeat_time.ToDatetime(UTC) for instance in instances)
    age = (datetime.now(UTC) - newest).total_seconds()
    if -MAX_CLOCK_DIFFERENCE <= age <= HEARTBEAT_AGE + MAX_CLOCK_DIFFERENCE:
        return Finding("clock", ok=True, detail="agrees with that of the agent_manager")
    detail = f"differs from that of the agent_manager by about {abs(age):.0f} s"
    return Finding("clock", ok=False, detail=detail, advice="Set the clocks, best by NTP.")
