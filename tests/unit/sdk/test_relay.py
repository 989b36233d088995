"""Calls that a worker process has made in its stead: each is answered, whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from parade.hosting.pipe import Kind, Pipe
from parade.hosting.relay import Relay
from parade.v1 import error_pb2, session_pb2, value_pb2
from tests.support.waiting import eventually


class Worker:
    """The other end of the pipe: keeps what it is sent."""

    def __init__(self) -> None:
        self.results: list[session_pb2.SessionResult] = []

    def received(self, kind: Kind, body: bytes) -> None:
        self.results.extend(session_pb2.SessionFrame.FromString(body).results)

    def lost(self) -> None:
        """It is not looked at."""


class Calls:
    """Fails as no function does."""

    async def call(self, function: str, arguments: Mapping[str, Any], timeout: float | None = None, **_: Any) -> Any:
        raise ZeroDivisionError("secret")

    async def stream(self, function: str, arguments: Mapping[str, Any], timeout: float | None = None, **_: Any) -> AsyncIterator[Any]:
        yield object()


class Wire(asyncio.Transport):
    """Hands on what one end writes to the other."""

    def __init__(self, other: Pipe) -> None:
        super().__init__()
        self._other = other

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._other.data_received(bytes(data))

    def is_closing(self) -> bool:
        return False


async def test_a_call_that_fails_as_nobody_foresaw_is_answered_all_the_same() -> None:
    worker = Worker()
    pipe = Pipe(worker)
    pipe.connection_made(Wire(Pipe(worker)))
    relay = Relay(pipe, Calls(), session_pb2.SessionCall(), None)
    arguments = value_pb2.Value(data=b"{}")

    relay.heed(
        session_pb2.SessionFrame(
            calls=[
                session_pb2.SessionCall(number=1, function="a.b", arguments=arguments),
                session_pb2.SessionCall(number=2, function="a.c", arguments=arguments, window=100),
            ]
        )
    )
    await eventually(lambda: len(worker.results) == 2, within=5)

    assert [result.number for result in worker.results] == [1, 2]
    assert {result.error.reason for result in worker.results} == {error_pb2.ERROR_REASON_INTERNAL}
    assert "secret" not in str(worker.results)
