"""What was found out about columns together."""

from calendar import month_name

from data_processing.model.base import Model
from data_processing.model.statistics import Point


class GroupMeasure(Model):
    """An amount within one group."""

    value: str
    """The group."""
    count: int
    """How many values there are."""
    mean: float
    """The sum by the count."""
    deviation: float | None
    """The sample standard deviation; none for a single value."""
    minimum: float
    """The smallest value."""
    quartile_low: float
    """A quarter of the values lie below it."""
    median: float
    """Half of the values lie below it."""
    quartile_high: float
    """Three quarters of the values lie below it."""
    maximum: float
    """The largest value."""


class GroupComparison(Model):
    """One amount compared between groups."""

    measure: str
    """The amount."""
    explained: float
    """The part of the variance that lies between the groups, 0 to 1 (eta squared)."""
    groups: list[GroupMeasure]
    """The groups in the order of their values."""


class GroupAnalysis(Model):
    """Every amount compared between the groups of one column."""

    group: str
    """The column that makes the groups."""
    comparisons: list[GroupComparison]
    """The telling ones first."""
    remarks: list[str] = []
    """What a reader should know, in sentences."""


class MonthMean(Model):
    """What is usual in a month of the year."""

    month: int
    """1 to 12."""
    mean: float
    """The sum by the count."""
    count: int
    """How many values it stands for."""

    @property
    def name(self) -> str:
        """The month's name."""
        return month_name[self.month]


class SeriesOfGroup(Model):
    """How an amount of one group goes over time."""

    value: str
    """The group."""
    points: list[Point]
    """Its mean in each period."""


class TrendAnalysis(Model):
    """How an amount goes over time."""

    time: str
    """The column of times."""
    measure: str
    """The amount."""
    period: str
    """How fine the points are: hour, day, week, month, quarter or year."""
    points: list[Point]
    """The mean of each period that has values."""
    slope_per_year: float
    """Of the least-squares line through all values."""
    fit: float
    """The part of the variance that the line explains, 0 to 1."""
    direction: str
    """rising, falling or level: level where the slope is within two standard errors of none."""
    line_start: float
    """The line at the first period."""
    line_end: float
    """The line at the last period."""
    change: float | None
    """From start to end of the line as a part of its start; none where that is not meaningful."""
    months: list[MonthMean] = []
    """For two years and more of times within the year."""
    seasonality: float | None = None
    """The part of the variance around the line that the month of the year explains, 0 to 1."""
    group: str | None = None
    """The column that makes the groups."""
    series: list[SeriesOfGroup] = []
    """Each group that has values in most periods; none where fewer than two have."""


class Spot(Model):
    """A point of a scatter plot."""

    x: float
    """Where it stands along."""
    y: float
    """Where it stands up."""
    value: str | None = None
    """Its group."""


class Pair(Model):
    """Two amounts that go together, with a sample to draw."""

    x: str
    """One amount."""
    y: str
    """The other amount."""
    pearson: float
    """The correlation of the values, -1 to 1."""
    spearman: float
    """Of the ranks: near `pearson` for a straight relation, further from zero for a bent one."""
    rows: int
    """How many rows have both."""
    slope: float
    """Of the least-squares line of y over x."""
    intercept: float
    """The value of that line where x is 0."""
    spots: list[Spot]
    """A sample of the rows, evenly taken."""


class Correlation(Model):
    """How strongly two amounts go together."""

    x: str
    """One amount."""
    y: str
    """The other amount."""
    pearson: float
    """The correlation of the values, -1 to 1."""


class Correlations(Model):
    """How the amounts of a table go together."""

    columns: list[str]
    """The amounts, in the order of the table."""
    cells: list[Correlation]
    """Every pair once."""
    pairs: list[Pair]
    """The strongest ones, with a sample of their rows."""
    group: str | None = None
    """The column that groups the spots."""
    remarks: list[str] = []
    """What a reader should know, in sentences."""
