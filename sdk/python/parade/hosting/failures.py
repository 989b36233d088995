"""What becomes of an exception that an author's function raises: AGENT_ERROR, with its type and its text, and no traceback."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from parade.function_error import FunctionError
from parade.wire.errors import ParadeError, Reason

MAX_MESSAGE = 500
"""Characters of a message: gRPC refuses an answer whose trailer is larger than 8 KiB, and sends other than ASCII in three bytes for one."""
MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    SystemExit,
    TypeError,
    ValueError,
)
"""What Python raises for a mistake in the program or in what it was given: the next attempt would end alike."""
MAX_DETAIL = 200
MAX_DETAILS = 8


@contextmanager
def raised_by_function() -> Iterator[None]:
    """Turns what the block raises into AGENT_ERROR. Only the author's own code stands in the block.

    Cancellation goes through, unless nobody cancelled: a function that raises CancelledError by itself has failed. SystemExit does not end
    the process: it would take the calls of others with it.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        raise _failure(error) from error
    except (Exception, SystemExit) as error:
        raise _failure(error) from error


def _failure(error: BaseException) -> ParadeError:
    kind = type(error).__name__
    if isinstance(error, FunctionError):
        details = {key[:40]: _text(value) for key, value in list(error.details.items())[:MAX_DETAILS]}
        metadata = {**details, "exception_type": kind}
        return ParadeError(Reason.AGENT_ERROR, _short(error.message), metadata=metadata, retryable=error.retryable)
    if isinstance(error, ParadeError):  # of a call that the function made: its own failure, and its cause's reason
        metadata = {"exception_type": kind, "cause": error.reason.value}
        return ParadeError(Reason.AGENT_ERROR, _short(str(error)), metadata=metadata, retryable=error.retryable)
    text = str(error)
    return ParadeError(
        Reason.AGENT_ERROR,
        _short(f"{kind}: {text}" if text else kind),
        metadata={"exception_type": kind},
        retryable=not isinstance(error, MISTAKES),
    )


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # in a thread, which nobody can cancel
        return False
    return task is not None and task.cancelling() > 0


def _text(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text[:MAX_DETAIL]


def _short(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
