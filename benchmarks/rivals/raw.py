"""The floor: a plain grpc.aio server with mutual TLS, a plain channel to it, and nothing between them."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, cast

import grpc

from benchmarks.work import WORK
from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc, session_pb2, value_pb2

NAME = "grpc.aio unary, mTLS, one hop"
STREAM_NAME = "grpc.aio server stream, mTLS, one hop"


class Echo(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Does what the echo agent does, without a mesh."""

    async def Call(self, request: dispatcher_pb2.CallRequest, _: Any) -> dispatcher_pb2.CallResponse:  # noqa: N802  # the contract's name
        """Returns the arguments as the result, after work where that is asked for."""
        if request.function == "echo.work":
            await asyncio.sleep(random.expovariate(1 / WORK))
        return dispatcher_pb2.CallResponse(result=request.arguments)

    async def CallStream(self, request: dispatcher_pb2.CallStreamRequest, _: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:  # noqa: N802
        """Yields so many items of one size."""
        count, size = (int(word) for word in request.arguments.data.split())
        item = value_pb2.Value(data=b'"' + b"x" * size + b'"')
        for _number in range(count):
            yield dispatcher_pb2.CallStreamResponse(item=item)

    async def Session(self, frames: AsyncIterator[session_pb2.SessionFrame], _: Any) -> AsyncIterator[session_pb2.SessionFrame]:  # noqa: N802
        """Answers every message with itself, as long as there are any."""
        async for frame in frames:
            yield frame


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Runs the server for the block, with the dispatcher's certificate of the mesh in `folder`, and gives its address."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            yield cast("IO[str]", process.stdout).readline().strip()
        finally:
            process.terminate()


@asynccontextmanager
async def connected(folder: Path, address: str) -> AsyncIterator[Any]:
    """Gives a stub over a channel of its own with the client's certificate."""
    name, own = "dispatcher.parade.local", 1
    options = (("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", own))
    async with grpc.aio.secure_channel(address, _client(folder / "certificates"), options) as channel:
        yield dispatcher_pb2_grpc.DispatcherServiceStub(channel)


def _client(folder: Path) -> grpc.ChannelCredentials:
    files = (folder / name for name in ("ca.pem", "client.key", "client.pem"))
    return grpc.ssl_channel_credentials(*(file.read_bytes() for file in files))


def _server(folder: Path) -> grpc.ServerCredentials:
    key, chain, roots = ((folder / name).read_bytes() for name in ("dispatcher.key", "dispatcher.pem", "ca.pem"))
    return grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=True)


async def _serve(folder: Path) -> None:
    listening = grpc.aio.server()
    dispatcher_pb2_grpc.add_DispatcherServiceServicer_to_server(Echo(), listening)  # type: ignore[abstract]  # no more is asked
    port = listening.add_secure_port("127.0.0.1:0", _server(folder / "certificates"))
    await listening.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    await listening.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
