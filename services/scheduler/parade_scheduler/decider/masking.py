"""Takes the values of secrets out of what others say: of messages that are kept on record. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

import orjson

from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.model import Failure

MASK: Final = "***"
"""What stands in place of a secret."""
PIECE: Final = 12
"""The shortest piece of a secret, in characters, that is taken out where a message has shortened what it quotes."""

_OURS: Final = frozenset(
    {
        "attempts",
        "call_id",
        "cancellation",
        "cause",
        "exception_type",
        "function",
        "grpc_code",
        "instance",
        "limit",
        "retry_after",
        NOT_SENT,
    }
)
"""The facts of a failure that nobody's words are in. A short secret may look like one of them."""


def masked_failure(failure: Failure, secrets: Collection[str]) -> Failure:
    """Returns a failure in whose words no secret is left."""
    return replace(
        failure,
        message=masked(failure.message, secrets),
        violations=tuple(
            replace(one, field=masked(one.field, secrets), description=masked(one.description, secrets)) for one in failure.violations
        ),
        metadata={name: value if name in _OURS else masked(value, secrets) for name, value in failure.metadata.items()},
    )


def masked(text: str, secrets: Collection[str]) -> str:
    """Returns a text without the values of secrets, as they are or as a message quotes them, and without their longer pieces."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    for form in forms:
        text = text.replace(form, MASK)
    for form in forms:
        if len(form) > PIECE:
            text = _without_pieces(text, form)
    return text


def _forms(secret: str) -> Iterator[str]:
    """Yields a secret as it is, as JSON writes it, and as CEL and Python do."""
    yield secret
    yield orjson.dumps(secret).decode()[1:-1]
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]


def _without_pieces(text: str, form: str) -> str:
    pieces = {form[start : start + PIECE] for start in range(len(form) - PIECE + 1)}
    parts: list[str] = []
    end = -1
    for start in range(len(text) - PIECE + 1):
        if text[start : start + PIECE] in pieces:
            if start > end:
                parts += (text[max(end, 0) : start], MASK)
            end = start + PIECE
    return "".join((*parts, text[max(end, 0) :]))
