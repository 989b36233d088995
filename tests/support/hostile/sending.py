"""Sends a port what it should not get, and tells what is wrong with what comes back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError, Message

from parade.v1 import error_pb2
from parade.wire.errors import Reason
from parade.wire.identity import Identity
from parade.wire.status import DETAILS_KEY, from_rpc_error
from tests.support.hostile.ports import Method, Port, Ports, said_by

TIMEOUT = 2.0
"""Seconds that a request may take; many of those that are understood wait for something."""
STREAM_TIMEOUT = 0.1
"""Seconds that a stream may go on."""
OWN_FAULT = "Internal error from Core"
"""What this side's gRPC makes of a message that it was to write after the other side had ended the stream."""
ALIVE = (
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
)
"""What gRPC itself, and its health service, answer without our details."""


class Intruder:
    """Everybody who may call a port, with one connection each."""

    def __init__(self, ports: Ports, port: Port) -> None:
        """Takes the ports and the one to send to."""
        self._ports = ports
        self.port = port
        self._channels: dict[Identity, grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        """Returns itself; its connections are closed at the end of the block."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the connections."""
        for channel in self._channels.values():
            await channel.close()

    async def send(self, method: Method, bodies: Sequence[bytes], first: bytes = b"") -> list[str]:
        """Sends each body as a request, or all of them as one stream after its first message; returns what is wrong with the answers."""
        if method.descriptor.client_streaming:
            return [fault async for fault in self._stream(method, [first, *bodies] if first else bodies)]
        answers = await asyncio.gather(*(self._request(method, body) for body in bodies))
        return [fault for fault in answers if fault]

    async def _request(self, method: Method, body: bytes) -> str:
        channel, metadata = self._channel(method.caller), said_by(method.caller)
        call: Any
        response = b""
        if method.descriptor.server_streaming:
            call = channel.unary_stream(method.path)(body, timeout=STREAM_TIMEOUT, metadata=metadata)  # type: ignore[arg-type]
            with suppress(grpc.aio.AioRpcError):
                response = await call.read()
            call.cancel()
        else:
            call = channel.unary_unary(method.path)(body, timeout=TIMEOUT, metadata=metadata)  # type: ignore[arg-type]
            with suppress(grpc.aio.AioRpcError):
                response = await call
        return await _fault(method, call, response)

    async def _stream(self, method: Method, bodies: Sequence[bytes]) -> AsyncIterator[str]:
        channel, metadata = self._channel(method.caller), said_by(method.caller)
        make = channel.stream_stream if method.descriptor.server_streaming else channel.stream_unary
        call: Any = make(method.path)(timeout=STREAM_TIMEOUT, metadata=metadata)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            for body in bodies:
                await call.write(body)
            await call.done_writing()
        responses = []
        with suppress(grpc.aio.AioRpcError):
            responses = [response async for response in call] if method.descriptor.server_streaming else [await call]
        for response in responses or [b""]:
            fault = await _fault(method, call, response)
            if fault:
                yield fault

    def _channel(self, caller: Identity) -> grpc.aio.Channel:
        if caller not in self._channels:
            self._channels[caller] = self._ports.channel(self.port, caller)
        return self._channels[caller]


async def _fault(method: Method, call: Any, response: object) -> str:
    """Returns what is wrong with an answer; empty for nothing."""
    code = await call.code()
    if code is not grpc.StatusCode.OK:
        details = dict(await call.trailing_metadata() or ()).get(DETAILS_KEY)
        if details is None:
            said = await call.details()
            return "" if code in ALIVE or said == OWN_FAULT else f"{method.path}: {code.name}: {said}"
        failure = from_rpc_error(grpc.aio.AioRpcError(code, await call.initial_metadata(), await call.trailing_metadata()))
        return f"{method.path}: {failure}" if failure.reason is Reason.INTERNAL else ""
    try:
        internal = _internal(method.response.FromString(response)) if isinstance(response, bytes) else None
    except DecodeError:
        return f"{method.path}: the answer cannot be decoded"
    return f"{method.path}: {internal.message}" if internal is not None else ""


def _internal(message: Message) -> error_pb2.Error | None:
    """Finds an internal error anywhere in a message."""
    if isinstance(message, error_pb2.Error):
        return message if message.reason == error_pb2.ERROR_REASON_INTERNAL else None
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.is_repeated else [value]:
            found = _internal(one)
            if found is not None:
                return found
    return None
