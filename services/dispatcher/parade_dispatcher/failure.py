"""What a failed RPC to an instance means: the instance's answer, the end of the time, or the loss of the instance."""

import re
from dataclasses import dataclass

import grpc

from parade.wire.errors import ParadeError, Reason
from parade.wire.status import DETAILS_KEY
from parade_dispatcher.model import Instance

_NOT_CONNECTED = ("failed to connect to all addresses", "errors resolving ")
"""How gRPC's texts begin where it has no connection to send a call on. It tells this in no other way."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The instance went away before it answered."""

    message: str
    """What was seen of it."""
    sent: bool
    """Whether the call may have reached it; False only where it is certain that it did not."""


def of_rpc(error: ParadeError, instance: Instance) -> Loss | ParadeError:
    """Returns what a failed RPC means.

    Args:
        error: What the channel raised; its cause is gRPC's own error.
        instance: The instance that was called.

    Returns:
        A loss where the instance went away, otherwise what it answered; DEADLINE_EXCEEDED where the time passed, AGENT_ERROR where its
        answer was not one of Parade's.
    """
    cause = error.__cause__
    if not isinstance(cause, grpc.aio.AioRpcError):
        return error
    if DETAILS_KEY in dict(cause.trailing_metadata() or ()):
        error.__cause__ = None  # what the instance said itself is no failure of gRPC
        return error
    text = cause.details() or ""
    match cause.code():
        case grpc.StatusCode.UNAVAILABLE:
            return Loss(text, sent=not _never_sent(text, instance))
        case grpc.StatusCode.CANCELLED:  # nobody here has cancelled, so the instance is ending
            return Loss(text or "the instance dropped the call", sent=True)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return error
    message = f"the agent failed without saying why in Parade's terms: {cause.code().name}: {text}"
    return ParadeError(Reason.AGENT_ERROR, message, metadata={"grpc_code": cause.code().name})


def is_silence(meaning: Loss | ParadeError) -> bool:
    """Returns whether the time passed and the instance has not said so itself."""
    return isinstance(meaning, ParadeError) and meaning.reason is Reason.DEADLINE_EXCEEDED and isinstance(meaning.__cause__, grpc.RpcError)


def _never_sent(text: str, instance: Instance) -> bool:
    # An agent may pass on such a text of a server that it calls itself. That one names another port.
    port = instance.address.rpartition(":")[2]
    return text.startswith(_NOT_CONNECTED) and re.search(rf":{re.escape(port)}(?!\d)", text) is not None
