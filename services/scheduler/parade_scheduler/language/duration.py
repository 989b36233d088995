"""Durations as people write them: `500ms`, `2s`, `5m`, `1h`, `1h30m`."""

import re
from typing import Final

_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

PATTERN: Final = f"({_PART.pattern})+"
"""The texts that are durations, but for those that are longer than `MAX_SECONDS`, or zero."""
MAX_SECONDS: Final = 366 * 86400.0
"""The longest duration."""


def seconds(text: str) -> float | None:
    """Returns a duration in seconds; None where the text is none, or it is longer than `MAX_SECONDS`."""
    total, position = 0.0, 0
    while match := _PART.match(text, position):
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    return total if position == len(text) > 0 and total <= MAX_SECONDS else None
