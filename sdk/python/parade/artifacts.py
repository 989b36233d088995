"""Where artifacts lie: puts them to the gateway and gets them from there, and lets JSON that is too large to travel whole travel as one."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from parade.artifact import BYTES, MAX_READ_BYTES, Artifact, Content, Named
from parade.patience import patiently
from parade.v1 import gateway_pb2, value_pb2
from parade.v1.gateway_pb2_grpc import GatewayServiceStub
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.replicas import Replicas

MAX_INLINE_BYTES = 1024 * 1024
"""The largest JSON that travels as it is."""
MAX_JSON_BYTES = MAX_READ_BYTES
"""The largest JSON at all: whoever takes it has it whole in memory."""
MAX_ARTIFACT_BYTES = 1024 * 1024 * 1024
PIECE_BYTES = 256 * 1024
PUT_TIMEOUT = 3600.0
"""Seconds that a put may take, enough for 1 GiB at 300 kB/s."""
PIECE_TIMEOUT = 30.0
"""Seconds that the next piece may let wait for itself."""
JSON = "application/json"


class Artifacts:
    """The artifacts of a mesh, in the namespace of whoever holds this."""

    def __init__(self, gateway: Channel | Replicas | None) -> None:
        """Takes the way to the gateway; None where the mesh has none, and then nothing can be put or read."""
        self._stub = None if gateway is None else GatewayServiceStub(gateway.for_stubs())

    def named(self, form: Any) -> Artifact:
        """Returns the artifact that its JSON form names, to be read from this mesh.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is no such form.
        """
        return Artifact.from_json(form.to_json() if isinstance(form, Named) else form, self)

    async def find(self, digest: str) -> Artifact:
        """Returns the artifact of a digest.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is no digest; NOT_FOUND where there is no such artifact.
        """
        asked = Artifact(digest, 0)

        async def first() -> gateway_pb2.GetArtifactResponse:
            responses = self._gateway().GetArtifact(gateway_pb2.GetArtifactRequest(digest=asked.digest), timeout=PIECE_TIMEOUT)
            async with aclosing(responses):
                return await anext(responses)

        found = (await patiently(first)).artifact
        return Artifact(found.digest, found.size, found.media_type, store=self)

    async def put(self, content: Content, media_type: str = BYTES) -> Artifact:
        """Stores bytes under their hash, piece by piece.

        Bytes and files are put again where the gateway goes away meanwhile; what comes only once is not.

        Raises:
            ParadeError: INVALID_ARGUMENTS (more than 1 GiB); NO_CAPACITY (the gateway's disk is full); UNAVAILABLE.
            OSError: The file cannot be read.
        """
        if isinstance(content, bytes | bytearray | memoryview):
            view = memoryview(content).cast("B")
            digest = f"sha256:{hashlib.sha256(view).hexdigest()}"
            return await patiently(lambda: self._put(_of_bytes(view), media_type, len(view), digest))
        if isinstance(content, str | os.PathLike):
            path = Path(content)
            size = (await asyncio.to_thread(path.stat)).st_size
            return await patiently(lambda: self._put(_of_file(path), media_type, size))
        return await self._put(_in_pieces(content), media_type, 0)

    async def pieces(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields the bytes of an artifact from an offset on, as they come.

        Raises:
            ParadeError: NOT_FOUND; UNAVAILABLE where the gateway is away, or lets a piece wait for too long.
        """
        responses = self._gateway().GetArtifact(gateway_pb2.GetArtifactRequest(digest=digest, offset=offset))
        async with aclosing(responses):
            while True:
                try:
                    async with asyncio.timeout(PIECE_TIMEOUT):
                        response = await anext(responses, None)
                except TimeoutError as error:
                    raise ParadeError(Reason.UNAVAILABLE, f"gateway has sent nothing for {PIECE_TIMEOUT:g} s") from error
                if response is None:
                    return
                if response.data:
                    yield response.data

    async def shrink(self, data: bytes, name: str = "value") -> value_pb2.Value:
        """Returns JSON as a value that can travel: as it is up to 1 MiB, as an artifact above.

        Args:
            data: The JSON.
            name: What to call it in an error.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is larger than 64 MiB; as `put` does.
        """
        if len(data) <= MAX_INLINE_BYTES:
            return value_pb2.Value(data=data)
        check_size(data, name)
        artifact = await self.put(data, JSON)
        return value_pb2.Value(
            artifact=value_pb2.ArtifactReference(digest=artifact.digest, size=artifact.size, media_type=artifact.media_type)
        )

    async def resolve(self, value: value_pb2.Value) -> bytes:
        """Returns the JSON of a value, wherever it is; empty where there is no value.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is not JSON or larger than 64 MiB; as `Artifact.read` does.
        """
        if not value.HasField("artifact"):
            return value.data
        reference = value.artifact
        if reference.media_type not in ("", JSON):
            raise invalid([Violation("value", f"is an artifact of media type {reference.media_type}; send {JSON}")])
        return await Artifact(reference.digest, reference.size, JSON, store=self).read(MAX_JSON_BYTES)

    async def _put(self, pieces: AsyncGenerator[bytes, None], media_type: str, size: int, digest: str = "") -> Artifact:
        """Stores what comes. Where the digest is known and the gateway has it already, it answers before it has read everything."""
        seen, sent = hashlib.sha256(), 0

        async def requests() -> AsyncGenerator[gateway_pb2.PutArtifactRequest, None]:
            nonlocal sent
            yield gateway_pb2.PutArtifactRequest(artifact=value_pb2.ArtifactReference(digest=digest, size=size, media_type=media_type))
            async for piece in pieces:
                sent += len(piece)
                if sent > MAX_ARTIFACT_BYTES:
                    raise invalid([Violation("content", "has more than 1 GiB")], "this is too large for an artifact")
                if not digest:
                    seen.update(piece)
                yield gateway_pb2.PutArtifactRequest(data=piece)

        async with aclosing(pieces), aclosing(requests()) as messages:
            stored = (await self._gateway().PutArtifact(messages, timeout=PUT_TIMEOUT)).artifact
        expected = (digest, size) if digest else (f"sha256:{seen.hexdigest()}", sent)
        if (stored.digest, stored.size) != expected:
            raise ParadeError(Reason.INTERNAL, f"the gateway has stored {stored.size} other bytes than the {expected[1]} that were sent")
        return Artifact(stored.digest, stored.size, media_type, store=self)

    def _gateway(self) -> Any:
        if self._stub is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "this mesh has no gateway, which keeps artifacts")
        return self._stub


def check_size(data: bytes, name: str) -> None:
    """Refuses JSON that is too large to be taken into memory.

    Raises:
        ParadeError: INVALID_ARGUMENTS.
    """
    if len(data) > MAX_JSON_BYTES:
        sizes = f"is {len(data) / 2**20:.1f} MiB; at most {MAX_JSON_BYTES // 2**20} MiB can be sent"
        raise invalid([Violation(name, f"{sizes}. Put it as an artifact and send that.")], f"the {name} is too large")


async def _of_bytes(content: memoryview) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(content), PIECE_BYTES):
        yield bytes(content[start : start + PIECE_BYTES])


async def _of_file(path: Path) -> AsyncGenerator[bytes, None]:
    with await asyncio.to_thread(path.open, "rb") as file:
        read: Callable[[int], bytes] = file.read
        while piece := await asyncio.to_thread(read, PIECE_BYTES):
            yield piece


async def _in_pieces(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yields what comes in pieces of one size, whatever the sizes that it comes in."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= PIECE_BYTES:
            yield bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
    if waiting:
        yield bytes(waiting)
