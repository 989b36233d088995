"""What was done to a table to make it fit for analysis."""

from enum import StrEnum

from data_processing.model.base import Model
from data_processing.model.column import ColumnProfile
from data_processing.model.table import TableReference


class MissingNumbers(StrEnum):
    """What to do about numbers that are missing."""

    LEAVE = "leave"
    """Leave them out of what is computed."""
    MEDIAN = "median"
    """Put the column's median in their place."""


class ColumnCleaning(Model):
    """What was done to one column."""

    name: str
    """The column."""
    missing: int
    """How many values were missing, those that could not be read among them."""
    filled: int = 0
    """How many of these were given a value."""
    unified: int = 0
    """How many spellings of the same category were made one."""
    dropped: bool = False
    """Whether the column was left out."""
    done: str
    """All of it, in a sentence."""


class Grouping(Model):
    """Amounts to compare between the groups of a column."""

    group: str
    """The column whose values make the groups."""
    measures: list[str]
    """The amounts to compare."""


class TrendRequest(Model):
    """An amount to follow over time."""

    time: str
    """The column of times."""
    measure: str
    """The amount."""
    group: str | None = None
    """A column of few values, to follow each of them by itself too."""


class Cleaned(Model):
    """The cleaned table, what was done, and what is worth analysing in it."""

    table: TableReference
    """The table; its columns have proper types."""
    rows_before: int
    """How many rows there were."""
    duplicates_removed: int
    """How many rows repeated another one and were removed."""
    missing_cells: int
    """How many values were missing."""
    columns: list[ColumnProfile]
    """The columns that are left."""
    cleaning: list[ColumnCleaning]
    """What was done, column by column, those left out among them."""
    measures: list[str]
    """The columns that hold amounts."""
    groupings: list[Grouping]
    """The comparisons worth making."""
    trends: list[TrendRequest]
    """The amounts worth following over time."""
    colouring: str | None = None
    """A column of few values, to tell rows apart in a picture."""
    remarks: list[str]
    """What a reader should know, in sentences."""
