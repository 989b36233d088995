"""Refusals: which of them pass, and those that name their faults, as many of them as an answer can carry."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid

PASSING: Final = frozenset({Reason.UNAVAILABLE, Reason.NO_CAPACITY})
"""Why something cannot be done now and may be done later."""
MAX_BYTES: Final = 6_000
"""How large all faults are together. An error travels in gRPC's trailers, and these may be refused from 8 KiB on."""
MAX_FIELD: Final = 160
MAX_DESCRIPTION: Final = 320
"""How long, in characters, the parts of one fault are: what is wrong may be a word of a megabyte."""
_OVERHEAD: Final = 24
"""About what a fault takes beside its texts."""


def refused(violations: Sequence[Violation], message: str) -> ParadeError:
    """Makes the error for faults in what was sent.

    Args:
        violations: The faults, the most important first; at least one.
        message: What was refused. Where not all faults find place it says how many do.
    """
    told: list[Violation] = []
    size = 0
    for violation in violations:
        short = replace(
            violation, field=shortened(violation.field, MAX_FIELD), description=shortened(violation.description, MAX_DESCRIPTION)
        )
        size += len(short.field.encode()) + len(short.description.encode()) + _OVERHEAD
        if told and size > MAX_BYTES:
            return invalid(told, f"{message}; these are the first {len(told)}")
        told.append(short)
    return invalid(told, message)


def shortened(text: str, length: int) -> str:
    """Returns a text of at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
