"""What arrives and cannot be decoded: the sender's fault, and said so. gRPC by itself answers UNKNOWN and logs a traceback for each."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from parade.wire.errors import ParadeError, Reason

REQUEST_TIMEOUT: Final = 10.0
"""Seconds in which the request of a method that takes one must have come, once its metadata have."""


def decoding(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Returns a decoder that fails as everything of ours fails.

    Args:
        decode: Decodes one message, as `FromString` of its class does; None for one that is taken as bytes.

    Returns:
        A decoder that raises `ParadeError`, INVALID_ARGUMENTS, for bytes that are no such message.
    """

    def decoded(data: bytes) -> Any:
        try:
            return decode(data) if decode is not None else data
        except DecodeError:
            message = f"{len(data)} bytes cannot be decoded as the message that belongs here: they were damaged, or follow another contract"
            raise ParadeError(Reason.INVALID_ARGUMENTS, message) from None

    return decoded


async def the_request(decode: Callable[[bytes], Any], context: Any) -> Any:
    """Reads the request of a method that takes one, where gRPC takes the method for one that takes a stream.

    For others gRPC waits by itself, for as long as it takes, and only then asks who sends it: so whoever gets through TLS could fill a
    server with requests that never come. Read like this, nothing is waited for before it is known who asks, and then not for ever.

    Args:
        decode: Decodes it, as `decoding` returns.
        context: gRPC's.

    Raises:
        ParadeError: INVALID_ARGUMENTS where it cannot be decoded, or there is none; DEADLINE_EXCEEDED where it does not come.
    """
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            data = await context.read()
    except TimeoutError:
        raise ParadeError(Reason.DEADLINE_EXCEEDED, f"no request came within {REQUEST_TIMEOUT:g} s of its metadata") from None
    if data is grpc.aio.EOF:
        raise ParadeError(Reason.INVALID_ARGUMENTS, "the request is missing")
    return decode(data)
