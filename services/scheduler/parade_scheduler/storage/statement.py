"""Statements in the words of both databases."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

Row = tuple[Any, ...]
"""The values of one execution of a statement."""


@dataclass(frozen=True)
class Statement:
    """A statement that is executed once for each of some rows of values."""

    sqlite: str
    """As SQLite has it: a `?` for each value."""

    @cached_property
    def postgres(self) -> str:
        """As PostgreSQL has it: a number for each value."""
        numbers = count(1)
        return "".join(f"${next(numbers)}" if part == "?" else part for part in self.sqlite)
