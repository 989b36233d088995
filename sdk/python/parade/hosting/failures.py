"""What becomes of an exception that an author's function raises: AGENT_ERROR, with its type and its text, and no traceback."""

import orjson

from parade.function import ResultError
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


def failure_of(error: BaseException) -> ParadeError:
    """Returns what an exception of the author's own code means for who called: AGENT_ERROR, caused by it.

    A function that raises CancelledError though nobody cancelled it has failed. So has one that raises SystemExit: that does not end the
    process, which would take the calls of others with it. What already is the AGENT_ERROR of this function's result stays as it is.
    """
    if isinstance(error, ResultError):
        return error
    failure = _failure(error)
    failure.__cause__ = error
    return failure


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


def _text(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text[:MAX_DETAIL]


def _short(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
