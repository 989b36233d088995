"""What arrives and cannot be decoded: the sender's fault, and said so. gRPC by itself answers UNKNOWN and logs a traceback for each."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from parade.wire.errors import ParadeError, Reason


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
