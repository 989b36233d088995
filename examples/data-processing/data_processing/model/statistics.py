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
    """The smallest value."""
    maximum: float
    """The largest value."""
    mean: float
    """The sum by the count."""
    deviation: float | None
    """The sample standard deviation; none for a single value."""
    quartile_low: float
    """A quarter of the values lie below it (linear interpolation)."""
    median: float
    """Half of the values lie below it."""
    quartile_high: float
    """Three quarters of the values lie below it."""
    skewness: float | None
    """The adjusted Fisher-Pearson coefficient; none where the values do not differ."""
    zeros: int
    """How many are 0."""
    negatives: int
    """How many lie below 0."""
    outliers: int
    """How many lie more than 1.5 times the quartile distance outside the quartiles (Tukey 1977)."""
    histogram: list[Bin]
    """How the values are spread, from the smallest to the largest."""


class TimeStatistics(Model):
    """Times in figures."""

    earliest: str
    """The first moment, ISO 8601."""
    latest: str
    """The last moment, ISO 8601."""
    days: float
    """From the earliest to the latest."""
    period: str
    """How fine `counts` is: hour, day, week, month, quarter or year."""
    counts: list[Point]
    """Rows a period, the periods without any among them."""


class TextStatistics(Model):
    """Text in figures."""

    shortest: int
    """The fewest letters."""
    longest: int
    """The most letters."""
    mean_length: float
    """Letters on average."""
    mean_words: float
    """Words on average."""


class ColumnStatistics(Model):
    """What was found out about one column."""

    name: str
    """The column."""
    kind: Kind
    """What its values mean."""
    unit: str
    """"%", a currency sign, or nothing."""
    present: int
    """How many values there are."""
    missing: int
    """How many are missing."""
    distinct: int
    """How many different values there are."""
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
