"""A connection in memory between a link and an acceptor, to break and to freeze. It encodes every frame as the real one does."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from parade.v1 import session_pb2
from parade.wire.errors import ParadeError
from parade.wire.session.acceptor import Acceptor
from parade.wire.status import CODES, DETAILS_KEY, to_status


class Pipe:
    """One direction: what is put in comes out in order, after the latency, unless it is broken or frozen."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.frozen = False
        self._under_way: deque[Any] = deque()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._broken = False

    def put(self, message: Any) -> None:
        self._under_way.append(message)
        asyncio.get_running_loop().call_later(self.latency, self._arrive)

    def _arrive(self) -> None:
        message = self._under_way.popleft()
        if not self._broken and not self.frozen:
            self._queue.put_nowait(message)

    async def get(self) -> Any:
        message = await self._queue.get()
        if isinstance(message, BaseException):
            self._queue.put_nowait(message)
            raise message
        if message is grpc.aio.EOF:
            self._queue.put_nowait(message)
        return message

    def end(self, message: Any) -> None:
        """Loses what is on its way, and ends with `message`."""
        if not self._broken:
            self._broken = True
            self._queue.put_nowait(message)


class MemoryStream:
    """gRPC's call as a `Session` uses it, and the server's side of it."""

    def __init__(self, target: "MemoryTarget", deserializer: Callable[[bytes], Any]) -> None:
        self._deserializer = deserializer
        self._to_server, self._to_client = Pipe(target.latency), Pipe(target.latency)
        self._to_server.frozen = self._to_client.frozen = target.frozen
        self._done_writing = False
        self._served = asyncio.create_task(self._serve(target))

    async def write(self, frame: bytes) -> None:
        if self._to_client._broken or self._done_writing:
            raise asyncio.InvalidStateError("RPC already finished")
        self._to_server.put(session_pb2.SessionFrame.FromString(frame))

    async def done_writing(self) -> None:
        self._done_writing = True
        self._to_server.put(grpc.aio.EOF)

    async def read(self) -> Any:
        message = await self._to_client.get()
        return message if message is grpc.aio.EOF else self._deserializer(message)

    def cancel(self) -> None:
        self._to_client.end(asyncio.CancelledError())
        self._served.cancel()

    def break_(self) -> None:
        """Breaks the connection: both sides notice, and what is on its way is lost."""
        self._to_client.end(_failure(grpc.StatusCode.UNAVAILABLE, "the connection broke"))
        self._served.cancel()

    def freeze(self) -> None:
        """Loses everything from now on; nobody notices."""
        self._to_client.frozen = self._to_server.frozen = True

    async def _requests(self, target: "MemoryTarget") -> AsyncIterator[session_pb2.SessionFrame]:
        while (frame := await self._to_server.get()) is not grpc.aio.EOF:
            target.arrived()
            yield frame

    async def _serve(self, target: "MemoryTarget") -> None:
        if target.acceptor is None:
            self._to_client.put(_failure(target.code, "not served"))
            return
        responses = target.acceptor.serve(self._requests(target), target.caller, target.admit)
        try:
            async for frame in responses:
                self._to_client.put(frame)
                await asyncio.sleep(0)
            self._to_client.put(grpc.aio.EOF)
        except ParadeError as error:
            target.failures.append(error)
            details = ((DETAILS_KEY, to_status(error).SerializeToString()),)
            self._to_client.put(_failure(CODES[error.reason], error.message, details))
        finally:
            await responses.aclose()


class MemoryTarget:
    """A server, and the `Channel` to it in one."""

    def __init__(self, acceptor: Acceptor | None, *, latency: float = 0.0005, name: str = "target") -> None:
        self.acceptor = acceptor
        self.latency = latency
        self.peer = name
        self.caller = "client"
        self.code = grpc.StatusCode.UNAVAILABLE
        """How a stream ends where there is no acceptor."""
        self.frozen = False
        self.renewed = False
        self.dropped = 0
        self.streams: list[MemoryStream] = []
        self.failures: list[ParadeError] = []
        """What the acceptor raised."""
        self.admitted = math.inf

    def open_stream(self, path: str, serializer: None, deserializer: Callable[[bytes], Any]) -> MemoryStream:
        self.renewed = False
        self.streams.append(MemoryStream(self, deserializer))
        return self.streams[-1]

    def drop(self) -> None:
        self.dropped += 1

    def arrived(self) -> None:
        """Called for every frame that reaches the acceptor; tests replace it."""

    def admit(self) -> None:
        """What the acceptor asks for every frame, and while calls run; tests replace it."""

    def break_(self) -> None:
        for stream in self.streams:
            stream.break_()

    def freeze(self) -> None:
        self.frozen = True
        for stream in self.streams:
            stream.freeze()


def _failure(code: grpc.StatusCode, message: str, details: tuple[tuple[str, bytes], ...] = ()) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*details), details=message)
