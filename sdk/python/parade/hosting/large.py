"""Large values of a call: fetched before its function runs, stored when it has ended. Whatever becomes of that is a `ParadeError`."""

from parade.hosting.host import Artifacts
from parade.v1 import value_pb2
from parade.wire.errors import ParadeError, Reason

_TELLING = frozenset({Reason.INVALID_ARGUMENTS, Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL})
"""Failures that mean the same to who called."""


async def fetched(artifacts: Artifacts, value: value_pb2.Value) -> bytes:
    """Returns the arguments that lie in an artifact.

    Raises:
        ParadeError: They cannot be read.
    """
    try:
        return await artifacts.resolve(value)
    except ParadeError as error:
        if error.reason in _TELLING:
            raise
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the arguments cannot be read: {error.message}") from error
    except Exception as error:
        raise ParadeError(Reason.INTERNAL, f"the arguments could not be read: {type(error).__name__}") from error


async def stored(artifacts: Artifacts, data: bytes, function: str) -> value_pb2.Value:
    """Stores a function's result and returns what stands for it.

    Raises:
        ParadeError: It cannot be stored, which is the function's failure.
    """
    try:
        return await artifacts.shrink(data)
    except ParadeError as error:
        message = f"what {function} returned cannot be stored: {error.message}"
        raise ParadeError(Reason.AGENT_ERROR, message, metadata={"cause": error.reason.value}, retryable=error.retryable) from error
    except Exception as error:
        message = f"what {function} returned could not be stored: {type(error).__name__}"
        raise ParadeError(Reason.AGENT_ERROR, message, metadata={"cause": Reason.INTERNAL.value}) from error
