"""What a column is."""

from enum import StrEnum

from data_processing.model.base import Model


class Kind(StrEnum):
    """What the values of a column mean."""

    NUMBER = "number"
    """An amount: it can be added up and averaged."""
    TIME = "time"
    """A day or a moment."""
    BOOLEAN = "boolean"
    """Yes or no."""
    CATEGORY = "category"
    """One of few values that come again."""
    IDENTIFIER = "identifier"
    """A value that names its row."""
    TEXT = "text"
    """Anything written freely."""
    EMPTY = "empty"
    """No value at all."""


class ColumnProfile(Model):
    """What a column was found to be, and how its text is to be read."""

    name: str
    """The column."""
    kind: Kind
    """What its values mean."""
    formats: list[str] = []
    """How times are written, in strptime words, the most frequent first."""
    decimal: str = "."
    """What separates the fraction of a number: "." or ","."""
    unit: str = ""
    """"%", a currency sign, or nothing."""
    whole: bool = False
    """Whether every number is a whole one."""
    present: int
    """How many values there are."""
    missing: int
    """How many are missing or stand for nothing, such as "n/a"."""
    unreadable: int = 0
    """How many cannot be read as this kind and count as missing from then on."""
    unreadable_examples: list[str] = []
    """At most three of them."""
    distinct: int
    """How many different values there are."""
    remarks: list[str] = []
    """What a reader should know, in sentences."""
