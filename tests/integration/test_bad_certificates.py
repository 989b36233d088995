"""Every port of a mesh refuses every kind of bad certificate, at every method, before a handler is entered.

Nothing that is sent can be decoded: who is let in is told so, and that is what must not happen. REST knows no certificates (its keys are
tested with the gateway), nor does the port of the health probes, which serves nothing else.
"""

from typing import Any

import grpc
import pytest

from parade.client import Mesh
from parade.wire.certificates import Certificates
from parade.wire.identity import Kind
from parade.wire.mesh_file import MeshFile
from parade.wire.tls import channel_credentials
from tests.integration.test_access import MeshAuthority
from tests.integration.test_access_table import CALLER, LET_IN, TABLE, answered, services
from tests.support.bad_certificates import KINDS, bad
from tests.support.hostile.ports import AGENT, NAMES, Port, Ports

REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
"""At the handshake, and at the door."""


@pytest.fixture
async def ports(mesh: Mesh) -> Ports:
    return Ports(mesh.file, (await mesh.agent("tested")).instances[0])


@pytest.fixture(scope="module")
def authority(shared_mesh: MeshFile) -> MeshAuthority:
    return MeshAuthority(shared_mesh)


def connected(port: Port, shown: Certificates) -> grpc.aio.Channel:
    options = [("grpc.ssl_target_name_override", port.server_name), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(port.address, channel_credentials(shown), options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
async def test_a_bad_certificate_is_refused_at_every_method(ports: Ports, authority: MeshAuthority, name: str, kind: str) -> None:
    port = ports.by_name[name]
    said: dict[str, grpc.StatusCode] = {}
    for caller, rows in by_caller(name).items():
        async with connected(port, bad(kind, authority, CALLER[caller])) as channel:
            for method in rows:
                said[method.full_name] = await answered(channel, method, CALLER[caller], let_in=False)

    assert {method: code for method, code in said.items() if code not in REFUSED} == {}


@pytest.mark.parametrize("name", NAMES)
async def test_whom_a_bad_certificate_names_is_let_in_with_a_good_one(ports: Ports, authority: MeshAuthority, name: str) -> None:
    said: dict[str, grpc.StatusCode] = {}
    for caller, rows in by_caller(name).items():
        async with connected(ports.by_name[name], authority.certificates(CALLER[caller])) as channel:
            for method in rows:
                said[method.full_name] = await answered(channel, method, CALLER[caller], let_in=True)

    enrolment = name == "enrolment"  # where no certificate is asked for, a good one is as good as none
    assert {method: code for method, code in said.items() if (code is LET_IN) == enrolment} == {}


def by_caller(name: str) -> dict[Kind, list[Any]]:
    """Returns the methods of a port by one who may call them; each method once."""
    service = {
        "agent_manager": "AgentManagerService",
        "enrolment": "AgentManagerService",
        "dispatcher": "DispatcherService",
        "scheduler": "SchedulerService",
        "gateway": "GatewayService",
        "monitor": "MonitorService",
        AGENT: "AgentService",
    }[name]
    found: dict[Kind, list[Any]] = {}
    for method in services()[f"parade.v1.{service}"].methods:
        kinds = TABLE[f"parade.v1.{service}"][method.name].split()
        if kinds != ["anonymous"]:
            found.setdefault(Kind(kinds[0].upper()), []).append(method)
    return found
