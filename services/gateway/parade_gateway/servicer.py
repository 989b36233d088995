"""GatewayService: what the mesh keeps for its agents and clients, over gRPC. It decides nothing; it translates."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from parade.v1 import gateway_pb2, gateway_pb2_grpc, value_pb2
from parade.wire.errors import Violation, invalid
from parade_chassis.context import current, required_namespace
from parade_gateway.artifact_rights import ArtifactRights
from parade_gateway.artifact_store import Reference
from parade_gateway.artifacts import Artifacts


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """The RPCs."""

    def __init__(self, artifacts: Artifacts, rights: ArtifactRights) -> None:
        """Takes the artifacts, and who may have which."""
        self._artifacts = artifacts
        self._rights = rights

    async def PutArtifact(
        self, request_iterator: AsyncIterator[gateway_pb2.PutArtifactRequest], context: Any
    ) -> gateway_pb2.PutArtifactResponse:
        """Stores an artifact. One that is stored already is answered before its bytes have come."""
        namespace = required_namespace()
        first = await anext(request_iterator, None)
        if first is None or first.WhichOneof("part") != "artifact":
            raise invalid([Violation("artifact", "must come first, before any data")])
        announced = Reference(first.artifact.digest, first.artifact.size, first.artifact.media_type)
        self._demand("write", announced.digest)
        stored = await self._artifacts.find(namespace, announced)
        if stored is None:
            stored = await self._artifacts.put(namespace, announced, _data(request_iterator))
        return gateway_pb2.PutArtifactResponse(artifact=_message(stored))

    async def GetArtifact(self, request: gateway_pb2.GetArtifactRequest, context: Any) -> AsyncGenerator[gateway_pb2.GetArtifactResponse]:
        """Returns an artifact."""
        self._demand("read", request.digest)
        async with await self._artifacts.open(required_namespace(), request.digest) as reading:
            if request.offset > reading.reference.size:
                raise invalid([Violation("offset", f"is beyond the end: the artifact has {reading.reference.size} bytes")])
            yield gateway_pb2.GetArtifactResponse(artifact=_message(reading.reference))
            async with aclosing(reading.pieces(request.offset)) as pieces:
                async for piece in pieces:
                    yield gateway_pb2.GetArtifactResponse(data=piece)

    def _demand(self, action: str, digest: str) -> None:
        request = current()
        self._rights.demand(action, required_namespace(), request.principal, request.role, digest)


async def _data(requests: AsyncIterator[gateway_pb2.PutArtifactRequest]) -> AsyncIterator[bytes]:
    async for request in requests:
        if request.WhichOneof("part") != "data":
            raise invalid([Violation("artifact", "must come once, before all data")])
        yield request.data


def _message(reference: Reference) -> value_pb2.ArtifactReference:
    return value_pb2.ArtifactReference(digest=reference.digest, size=reference.size, media_type=reference.media_type)
