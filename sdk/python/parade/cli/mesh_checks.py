"""Is the mesh well: each service over mutual TLS, the REST edge, the way to the monitor, agents and functions, the clock."""

import asyncio
import http.client
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from parade.cli.finding import ANSWER_TIMEOUT, Finding, asked
from parade.cli.plain import state_name
from parade.client import Mesh, connect
from parade.wire.channel import Channel
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile

MAX_CLOCK_DIFFERENCE = 5.0
"""Seconds by which two clocks may differ before traces and leases mislead."""
_START = "Start the mesh with `parade dev`; where it runs, its output says why this service does not."


async def mesh_findings(mesh_file: MeshFile) -> list[Finding]:
    """Returns what there is to say of a mesh."""
    findings = list(await asyncio.gather(*(_service(mesh_file, name) for name in mesh_file.services)))
    findings += await _rest(mesh_file)
    findings.append(await _telemetry(mesh_file))
    for check, question in (("agents", _agents), ("functions", _functions)):
        findings.append(await asked(check, partial(_over_mesh, mesh_file, question), _START))
    return findings


async def _over_mesh(mesh_file: MeshFile, question: Callable[[Mesh], Awaitable[Finding]]) -> Finding:
    async with connect(mesh_file, traced=False) as mesh:
        return await question(mesh)


async def _service(mesh_file: MeshFile, name: str) -> Finding:
    async def question(channel: Channel) -> Finding:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[arg-type]  # a Channel is what the stub needs of gRPC's
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_TIMEOUT)
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
        serving = response.status == health_pb2.HealthCheckResponse.SERVING
        detail = f"serves at {mesh_file.services[name]}" if serving else f"{state} at {mesh_file.services[name]}"
        return Finding(name, ok=serving, detail=detail, advice="It is starting or stopping; look again in a moment.")

    return await _over_channel(mesh_file, name, name, question)


async def _telemetry(mesh_file: MeshFile) -> Finding:
    async def question(channel: Channel) -> Finding:
        request = logs_service_pb2.ExportLogsServiceRequest()
        await logs_service_pb2_grpc.LogsServiceStub(channel).Export(request, timeout=ANSWER_TIMEOUT)  # type: ignore[no-untyped-call]
        return Finding("telemetry", ok=True, detail="the monitor takes it")

    if "monitor" not in mesh_file.services:
        return Finding("telemetry", ok=True, detail="this mesh has no monitor")
    return await _over_channel(mesh_file, "monitor", "telemetry", question)


async def _over_channel(mesh_file: MeshFile, service: str, check: str, question: Callable[[Channel], Awaitable[Finding]]) -> Finding:
    async def over_channel() -> Finding:
        identity = Identity.service(service, mesh_file.domain)
        async with Channel(mesh_file.services[service], mesh_file.certificates(), identity.server_name, peer=service) as channel:
            return await question(channel)

    return await asked(check, over_channel, _START)


async def _rest(mesh_file: MeshFile) -> list[Finding]:
    """Returns a finding for the REST gateway and, where it answers, one for the clock, which its answer carries."""
    dates: list[str] = []

    async def question() -> Finding:
        status, date = await asyncio.to_thread(_get_agents, mesh_file)
        dates.append(date)
        detail = f"answers with {status} at {mesh_file.rest}"
        return Finding(
            "rest",
            ok=status == http.HTTPStatus.OK,
            detail=detail,
            advice=f"The key must be that in {mesh_file.folder / mesh_file.api_key}.",
        )

    finding = await asked("rest", question, _START)
    return [finding, *(_clock(date) for date in dates if date)]


def _get_agents(mesh_file: MeshFile) -> tuple[int, str]:
    key = (mesh_file.folder / mesh_file.api_key).read_text().strip()
    url = urlsplit(mesh_file.rest)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    # Not by urllib, which would ask a proxy of the environment even for this machine.
    connection = kind(url.hostname or "", url.port, timeout=ANSWER_TIMEOUT)
    try:
        connection.request("GET", "/v1/agents", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers.get("Date", "")
    except http.client.HTTPException as error:
        raise ConnectionError(f"{mesh_file.rest} does not speak HTTP: {error!r}") from error
    finally:
        connection.close()


def _clock(date: str) -> Finding:
    difference = abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())
    # An HTTP date counts whole seconds.
    well = difference <= MAX_CLOCK_DIFFERENCE + 1
    detail = "that of the gateway and this one agree" if well else f"differs by {difference:.0f} s from that of the gateway"
    return Finding("clock", ok=well, detail=detail, advice="Set the clocks, best by NTP.")


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
