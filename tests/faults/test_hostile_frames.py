"""What nobody should send, to every port of a running mesh: nothing crashes, nothing is our fault, and others are served meanwhile.

Of one test there are two sizes: the small one finds in `make test` what is broken, the large one in `make test-full` what is rare.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.client import connect
from parade.testing import LocalMesh
from parade.v1 import session_pb2
from parade.wire.identity import ANONYMOUS, SERVICES
from parade.wire.mesh_file import MeshFile
from tests.support.hostile import frames, rest
from tests.support.hostile.messages import messages, mutated
from tests.support.hostile.ports import INTRUDER, NAMES, Method, Ports
from tests.support.hostile.sending import Intruder
from tests.support.mesh import ROOT, agent_process, environment, process_id, ready
from tests.support.roles import let_in

MUTATIONS = 8
"""How many damaged copies go with each message."""
SMALL, LARGE = 40, 1_500
"""Messages for each port, each with its damaged copies."""
SMALL_ABUSES, LARGE_ABUSES = 60, 1_500
"""Connections abused for each port."""
SMALL_REQUESTS, LARGE_REQUESTS = 300, 5_000
"""Requests over HTTP/1.1."""

SIZES = [pytest.param(False, id="small"), pytest.param(True, id="large", marks=[pytest.mark.full, pytest.mark.timeout(1200)])]
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Target:
    """A mesh, its ports, and a neighbour who is to notice nothing."""

    mesh: MeshFile
    ports: Ports
    pids: dict[str, int]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with LocalMesh(tmp_path_factory.mktemp("hostile")) as mesh, agent_process(mesh):
        let_in(mesh, INTRUDER)

        async def ports() -> Ports:
            async with connect(mesh) as client:
                await ready(client, 1)
                return Ports(mesh, (await client.agent("tested")).instances[0])

        yield Target(mesh, asyncio.run(ports()), {service: process_id(mesh, service) for service in SERVICES})


@contextmanager
def undisturbed(target: Target) -> Iterator[None]:
    """Lets a neighbour call all the while, and demands in the end that it has noticed nothing and that every process is what it was."""
    command = [sys.executable, "-m", "tests.support.hostile.neighbour"]
    logs = [target.mesh.folder / name for name in ("test.log", "agents.log")]
    read = [log.stat().st_size for log in logs]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(target.mesh), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.stdin.write("\n")
            process.stdin.flush()
            counted = json.loads(process.stdout.readline())
    assert counted["failures"] == []
    assert counted["succeeded"] > 0
    assert {service: process_id(target.mesh, service) for service in SERVICES} == target.pids
    said = [line for log, size in zip(logs, read, strict=True) for line in _complaints(log, size)]
    assert not said, "\n".join(said[:3])


@pytest.mark.parametrize("large", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_no_message_does_harm(target: Target, name: str, *, large: bool) -> None:
    port = target.ports.by_name[name]
    with undisturbed(target), asyncio.Runner() as runner:
        intruder = runner.run(_intruder(target.ports, name))

        @settings(max_examples=LARGE if large else SMALL, derandomize=True, database=None, deadline=None)
        @given(st.sampled_from(port.methods).flatmap(_requests), st.integers(0, 2**32 - 1))
        def send(request: tuple[Method, bytes], seed: int) -> None:
            method, body = request
            chance = random.Random(seed)  # noqa: S311
            bodies = [body, *(mutated(body, chance) for _ in range(MUTATIONS))]
            hello = session_pb2.SessionFrame(hello=session_pb2.SessionHello(session_id=f"{seed:016}"))
            first = hello.SerializeToString() if method.is_session and seed % 8 else b""

            assert runner.run(intruder.send(method, bodies, first)) == []

        try:
            send()
        finally:
            runner.run(intruder.__aexit__(None, None, None))


@pytest.mark.parametrize("large", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_no_connection_does_harm(target: Target, name: str, *, large: bool) -> None:
    port, chance = target.ports.by_name[name], random.Random(name)  # noqa: S311
    caller = port.methods[0].caller
    certificates = None if caller == ANONYMOUS else target.ports.certificates(caller)
    abuses = list(frames.ABUSES)
    # All that takes one turn is done a few times; what is another thing each time fills the rest.
    chosen = [*abuses * (4 if large else 1), *(chance.choice(abuses[-2:]) for _ in range(LARGE_ABUSES if large else SMALL_ABUSES))]
    with undisturbed(target), frames.shown(target.ports.trust_bundle, certificates) as context:
        for abuse in chosen:
            frames.abuse(port, context, abuse, chance)
        # Of most ports the neighbour would not notice that they are closed.
        assert asyncio.run(_asked(target.ports, name)) == []


@pytest.mark.parametrize("large", SIZES)
def test_no_http_request_does_harm(target: Target, *, large: bool) -> None:
    chance = random.Random(0)  # noqa: S311
    key = (target.mesh.folder / target.mesh.api_key).read_text().strip()
    with undisturbed(target):
        statuses = [rest.abuse(target.mesh.rest, key, chance) for _ in range(LARGE_REQUESTS if large else SMALL_REQUESTS)]

    assert 200 in statuses
    assert 400 in statuses
    assert max(statuses) < 500


def _requests(method: Method) -> st.SearchStrategy[tuple[Method, bytes]]:
    return messages(method.descriptor.input_type).map(lambda message: (method, message.SerializeToString()))


async def _asked(ports: Ports, name: str) -> list[str]:
    async with Intruder(ports, ports.by_name[name]) as intruder:
        return await intruder.send(intruder.port.methods[0], [b""])


async def _intruder(ports: Ports, name: str) -> Intruder:
    return Intruder(ports, ports.by_name[name])


def _complaints(log: Path, read: int) -> list[str]:
    """Returns what a log says of faults of ours, after the bytes that were read before."""
    words = ("Traceback", "unexpected", "Unexpected", "INTERNAL")
    return [line for line in log.read_bytes()[read:].decode(errors="replace").splitlines() if any(word in line for word in words)]
