"""The floor: a plain grpc.aio server with mutual TLS that answers at once, and nothing between it and its caller."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, cast

import grpc

from parade.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from parade.wire.certificates import FileSource
from parade.wire.tls import server_credentials

NAME = "grpc.aio unary, mTLS, one hop"


class Echo(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers with the arguments."""

    async def Call(self, request: dispatcher_pb2.CallRequest, _: Any) -> dispatcher_pb2.CallResponse:  # noqa: N802  # the contract's name
        """Returns the arguments as the result."""
        return dispatcher_pb2.CallResponse(result=request.arguments)

    async def CallStream(self, request: dispatcher_pb2.CallStreamRequest, _: Any) -> AsyncIterator[dispatcher_pb2.CallStreamResponse]:  # noqa: N802
        """Returns the arguments as the result."""
        yield dispatcher_pb2.CallStreamResponse(result=request.arguments)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Runs the server for the block, with the dispatcher's certificate of the mesh in `folder`, and gives its address."""
    command = [sys.executable, "-m", __name__, str(folder)]
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            yield cast("IO[str]", process.stdout).readline().strip()
        finally:
            process.terminate()


async def _serve(folder: Path) -> None:
    certificates = folder / "certificates"
    source = FileSource(certificates / "ca.pem", certificates / "dispatcher.pem", certificates / "dispatcher.key")
    listening = grpc.aio.server()
    dispatcher_pb2_grpc.add_DispatcherServiceServicer_to_server(Echo(), listening)
    port = listening.add_secure_port("127.0.0.1:0", server_credentials(source))
    await listening.start()
    sys.stdout.write(f"127.0.0.1:{port}\n")
    sys.stdout.flush()
    await listening.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
