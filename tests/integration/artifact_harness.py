"""A gateway's artifacts as its process serves them, and clients of them, over mutual TLS on loopback."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from parade.v1 import gateway_pb2, gateway_pb2_grpc, value_pb2
from parade.wire.certificates import FileSource
from parade.wire.channel import Channel
from parade.wire.identity import Identity
from parade_chassis.clock import ManualClock
from parade_chassis.policies import Policies
from parade_chassis.quotas import Quotas
from parade_chassis.server import running
from parade_gateway.artifact_rights import ArtifactRights
from parade_gateway.artifacts import Artifacts
from parade_gateway.config import Config
from parade_gateway.quotas import GatewayLimits
from parade_gateway.servicer import GatewayServicer
from tests.support.certificates import Authority
from tests.support.processes import process_of

DAY = 86400.0
PIECE = 256 * 1024


class Store:
    """A gateway's artifacts, and clients of them."""

    def __init__(self, folder: Path, address: str, authority: Authority, stack: AsyncExitStack, policies: Policies) -> None:
        self.folder = folder
        self.policies = policies
        self._address = address
        self._authority = authority
        self._stack = stack

    async def client(self, namespace: str = "sales", identity: Identity | None = None) -> Any:
        files = self._authority.files(identity or Identity.client("app", namespace))
        source = FileSource(files.trust_bundle, files.certificate, files.private_key)
        channel = await self._stack.enter_async_context(Channel(self._address, source, Identity.service("gateway").server_name))
        return gateway_pb2_grpc.GatewayServiceStub(channel.for_stubs())

    def files(self) -> list[Path]:
        """Everything that lies there, half or whole."""
        return [path for path in self.folder.rglob("*") if path.is_file() and path.name != "_lock"]

    @property
    def kept(self) -> list[Path]:
        return [path for path in self.files() if len(path.name) == 64]


@asynccontextmanager
async def store_of(
    authority: Authority,
    folder: Path,
    *,
    limit: int = 1024**3,
    retention: float = DAY,
    clock: ManualClock | None = None,
    quotas: Mapping[str, GatewayLimits] = MappingProxyType({}),
) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(process_of("gateway", Config, authority))
        allowed = Quotas("gateway", quotas, GatewayLimits())
        made = Artifacts(folder / "artifacts", limit, retention, allowed, clock or process.clock, process.log)
        artifacts = await stack.enter_async_context(made)
        process.background(artifacts.sweep(), "artifact sweep")
        rights = ArtifactRights(process.policies, process.standing)
        server = await stack.enter_async_context(running(process, GatewayServicer(artifacts, rights)))
        yield Store(folder / "artifacts", server.address, authority, stack, process.policies)


def digest_of(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def announced(**fields: Any) -> gateway_pb2.PutArtifactRequest:
    return gateway_pb2.PutArtifactRequest(artifact=value_pb2.ArtifactReference(**fields))


def data(content: bytes) -> gateway_pb2.PutArtifactRequest:
    return gateway_pb2.PutArtifactRequest(data=content)


async def requests(*messages: gateway_pb2.PutArtifactRequest) -> AsyncIterator[gateway_pb2.PutArtifactRequest]:
    for message in messages:
        yield message


async def put(client: Any, content: bytes, **fields: Any) -> value_pb2.ArtifactReference:
    pieces = [data(content[place : place + PIECE]) for place in range(0, len(content), PIECE)]
    response = await client.PutArtifact(requests(announced(**fields), *pieces))
    reference: value_pb2.ArtifactReference = response.artifact
    return reference


async def get(client: Any, digest: str, offset: int = 0) -> tuple[value_pb2.ArtifactReference, bytes, list[int]]:
    messages = [message async for message in client.GetArtifact(gateway_pb2.GetArtifactRequest(digest=digest, offset=offset))]
    return messages[0].artifact, b"".join(message.data for message in messages), [len(message.data) for message in messages]
