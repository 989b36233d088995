"""What a vocabulary is made of: words, the mappings that have them, and names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Name:
    """What a name of some kind looks like."""

    what: str
    """What it is a name of, for messages."""
    pattern: re.Pattern[str]
    rule: str
    """The pattern in words."""

    @property
    def value(self) -> Mapping[str, Any]:
        """The names as JSON Schema."""
        return {"type": "string", "pattern": f"^{self.pattern.pattern}$"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word."""

    description: str
    """What it means, for people."""
    value: Mapping[str, Any]
    """The values that may stand there, as JSON Schema. It takes every value that the reader takes."""
    required: bool = False
    beside: tuple[str, ...] = ()
    """The words of which one must stand there for this one to have a meaning; none where it stands alone."""
    without: tuple[str, ...] = ()
    """The words that it excludes."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one mapping of the document."""

    what: str
    """What the mapping is, for messages."""
    words: Mapping[str, Word]
    one_of: tuple[str, ...] = ()
    """Words of which exactly one stands there."""
