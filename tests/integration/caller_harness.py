"""What a caller speaks to, in this process: a dispatcher's session and a gateway's artifacts, over mutual TLS on loopback."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import orjson

from parade.artifacts import Artifacts
from parade.calls import Caller
from parade.v1 import dispatcher_pb2_grpc, error_pb2, gateway_pb2, gateway_pb2_grpc, progress_pb2, session_pb2, value_pb2
from parade.wire.identity import Identity
from parade.wire.replicas import Replicas
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.telemetry import Telemetry
from parade.wire.tls import server_credentials
from tests.support.certificates import Authority

CLIENT = Identity.client("dev")
DISPATCHER = Identity.service("dispatcher")
"""Both services stand behind one port here, so one name does."""
PIECE = 256 * 1024


def json(value: Any) -> value_pb2.Value:
    return value_pb2.Value(data=orjson.dumps(value))


class Functions:
    """The functions that there are, by the last part of their name."""

    def __init__(self) -> None:
        self.calls: list[session_pb2.SessionCall] = []
        self.cancelled: list[str] = []
        self.items = 0
        """How many items were told."""

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.calls.append(session_pb2.SessionCall.FromString(call.SerializeToString()))

        def cancelled(_gone: bool) -> None:  # noqa: FBT001  # as the acceptor calls it
            self.cancelled.append(call.function)
            record = error_pb2.Error(reason=error_pb2.ERROR_REASON_CANCELLED, message="cancelled")
            exchange.answer(session_pb2.SessionResult(error=record))

        exchange.cancelled = cancelled
        getattr(self, call.function.partition(".")[2])(call, exchange)

    def echo(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        exchange.answer(
            session_pb2.SessionResult(
                result=call.arguments,
                call_id=call.options.call_id,
                instance_id="ins-1",
                queued_us=1_000,
                transport_us=2_000,
                executing_us=3_000,
            )
        )

    def nothing(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        exchange.answer(session_pb2.SessionResult())

    def refuse(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        record = error_pb2.Error(
            reason=error_pb2.ERROR_REASON_AGENT_ERROR, message="no such row", metadata={"exception_type": "LookupError"}
        )
        exchange.answer(session_pb2.SessionResult(error=record))

    def never(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Does not answer."""

    def work(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        for step in range(3):
            exchange.tell(session_pb2.SessionEvent(progress=progress_pb2.Progress(fraction=step / 2, message="working")))
        exchange.answer(session_pb2.SessionResult(result=json("done")))

    def count(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Tells as many items as there is room for, up to `end`, each `size` bytes large."""
        wanted = orjson.loads(call.arguments.data)
        told = 0

        def tell() -> None:
            nonlocal told
            while exchange.window > 0 and told < wanted["end"]:
                exchange.tell(session_pb2.SessionEvent(item=json({"number": told, "fill": "x" * wanted.get("size", 0)})))
                told += 1
                self.items = told
            if told == wanted["end"] and not wanted.get("endless"):
                exchange.credited = None
                exchange.answer(session_pb2.SessionResult())

        exchange.credited = tell
        tell()


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    def __init__(self, functions: Functions) -> None:
        self.acceptor = Acceptor(functions)

    async def Session(self, frames: Any, context: Any) -> AsyncIterator[session_pb2.SessionFrame]:
        async for frame in self.acceptor.serve(frames, "caller", lambda: None):
            yield session_pb2.SessionFrame.FromString(frame)


@dataclass
class Gateway(gateway_pb2_grpc.GatewayServiceServicer):
    """Keeps artifacts in memory, and breaks off where it is told to."""

    kept: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    received: int = 0
    breaks_after: list[int] = field(default_factory=list)
    """After how many bytes the next reads break off."""

    async def PutArtifact(self, requests: Any, context: Any) -> gateway_pb2.PutArtifactResponse:
        first = (await anext(requests)).artifact
        if first.digest in self.kept:
            return gateway_pb2.PutArtifactResponse(artifact=first)
        content = bytearray()
        async for request in requests:
            assert len(request.data) <= PIECE
            content += request.data
        self.received += len(content)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if (first.digest or digest, first.size or len(content)) != (digest, len(content)):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "other bytes than were said")
        self.kept[digest] = (bytes(content), first.media_type)
        response = gateway_pb2.PutArtifactResponse()
        response.artifact.MergeFrom(value_pb2.ArtifactReference(digest=digest, size=len(content), media_type=first.media_type))
        return response

    async def GetArtifact(self, request: Any, context: Any) -> AsyncIterator[gateway_pb2.GetArtifactResponse]:
        if request.digest not in self.kept:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such artifact")
        content, media_type = self.kept[request.digest]
        reference = value_pb2.ArtifactReference(digest=request.digest, size=len(content), media_type=media_type)
        yield gateway_pb2.GetArtifactResponse(artifact=reference)
        end = self.breaks_after.pop(0) if self.breaks_after else len(content)
        for start in range(request.offset, end, PIECE):
            yield gateway_pb2.GetArtifactResponse(data=content[start : min(start + PIECE, end)])
        if end < len(content):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going away")


@dataclass
class Stage:
    """A caller and what it speaks to."""

    caller: Caller
    artifacts: Artifacts
    functions: Functions
    gateway: Gateway
    acceptor: Acceptor


@asynccontextmanager
async def staged(folder: Path, telemetry: Telemetry | None = None) -> AsyncIterator[Stage]:
    authority, functions = Authority(folder), Functions()
    dispatcher, gateway = Dispatcher(functions), Gateway()  # type: ignore[abstract]  # no more is asked
    server = grpc.aio.server()
    dispatcher_pb2_grpc.add_DispatcherServiceServicer_to_server(dispatcher, server)
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, server)
    port = server.add_secure_port("127.0.0.1:0", server_credentials(authority.source(DISPATCHER)))
    await server.start()
    replicas = Replicas.at(f"127.0.0.1:{port}", authority.source(CLIENT), DISPATCHER.server_name)
    artifacts = Artifacts(replicas)
    try:
        async with Caller.over(replicas, artifacts, telemetry) as caller:
            yield Stage(caller, artifacts, functions, gateway, dispatcher.acceptor)
    finally:
        await replicas.close()
        await asyncio.wait_for(server.stop(0), 10)
