"""What tests share, started when the first test asks for it: a mesh with two instances of the tested agent, and a PostgreSQL server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from parade.client import Mesh, connect
from parade.testing import LocalMesh
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from tests.support import postgres
from tests.support.mesh import agent_process, ready
from tests.support.roles import let_in

CLIENTS = (Identity.client("dev"), Identity.client("intruder", "hostile"))
"""Who is admin in its namespace of the shared mesh, beside its own client."""

# How long examples take says how busy the machine is.
settings.register_profile("parade", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("parade")


@pytest.fixture(scope="session")
def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeshFile]:
    """A mesh that nobody harms."""
    with ExitStack() as stack:
        file = stack.enter_context(LocalMesh(tmp_path_factory.mktemp("shared")))
        for _ in range(2):
            stack.enter_context(agent_process(file))
        let_in(file, *CLIENTS)
        yield file


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A server that nobody stops, for databases of each test's own."""
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.server() as server:
        yield server


@pytest.fixture
async def mesh(shared_mesh: MeshFile) -> AsyncIterator[Mesh]:
    """A client of the shared mesh; its agents are ready."""
    async with connect(shared_mesh) as client:
        await ready(client, 2)
        yield client


@pytest.fixture
def own_mesh(tmp_path: Path) -> Iterator[MeshFile]:
    """A mesh for one test, to do with as it likes."""
    with LocalMesh(tmp_path) as file:
        yield file


@pytest.fixture
def two_dispatchers(tmp_path: Path) -> Iterator[MeshFile]:
    """A mesh of one test in which two dispatchers carry the calls."""
    with LocalMesh(tmp_path, dispatchers=2) as file:
        yield file
