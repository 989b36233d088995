"""What was found out about one column."""

from data_processing.model.base import Model
from data_processing.model.column import Kind


class Bin(Model):
    """One bar of a histogram."""

    start: float
    """Where it starts, inclusive."""
    end: float
    """Where it ends, exclusive but for the last one."""
    count: int
    """How many values lie in it."""


class Level(Model):
    """One value of a column and how often it comes."""

    value: str
    """The value, shortened where it is long."""
    count: int
    """How many rows have it."""
    share: float
    """That as a part of the values present."""


class Point(Model):
    """A value in time."""

    time: str
    """The start of the period, ISO 8601."""
    value: float
    """The value."""
    count: int
    """How many rows it stands for."""


class NumberStatistics(Model):
    """An amount in figures."""

    minimum: float
    maximum: float
    mean: float
    deviation: float | None
    """The sample standard deviation; none for a single value."""
    quartile_low: float
    median: float
    quartile_high: float
    skewness: float | None
    """The adjusted Fisher-Pearson coefficient; none where the values do not differ."""
    zeros: int
    negatives: int
    outliers: int
    """How many lie more than 1.5 times the quartile distance outside the quartiles (Tukey 1977)."""
    histogram: list[Bin]


class TimeStatistics(Model):
    """Times in figures."""

    earliest: str
    latest: str
    days: float
    """From the earliest to the latest."""
    period: str
    """How fine `counts` is: hour, day, week, month, quarter or year."""
    counts: list[Point]
    """Rows a period, the periods without any among them."""


class TextStatistics(Model):
    """Text in figures."""

    shortest: int
    longest: int
    mean_length: float
    mean_words: float


class ColumnStatistics(Model):
    """What was found out about one column."""

    name: str
    kind: Kind
    unit: str
    present: int
    missing: int
    distinct: int
    number: NumberStatistics | None = None
    """For an amount."""
    time: TimeStatistics | None = None
    """For times."""
    text: TextStatistics | None = None
    """For text and identifiers."""
    levels: list[Level] = []
    """The most frequent values, where values come again."""
    remarks: list[str] = []
    """What a reader should know, in sentences."""
