"""Which comparisons and trends a cleaned table invites, and where to stop."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_processing.model.cleaning import Grouping, TrendRequest
from data_processing.model.column import ColumnProfile, Kind

MOST_MEASURES = 12
"""Amounts a comparison, and trends altogether."""

MOST_GROUPINGS = 6
MOST_GROUPS = 12
MOST_SERIES = 5
"""Groups that are told apart in one picture."""

LEAST_TIMES = 3
"""Different times that a trend needs."""


@dataclass(frozen=True, slots=True)
class Opportunities:
    """What is worth analysing in a table."""

    measures: list[str]
    """The columns that hold amounts which differ."""
    groupings: list[Grouping]
    """The comparisons worth making."""
    trends: list[TrendRequest]
    """The amounts worth following over time."""
    colouring: str | None
    """A column of few values, to tell rows apart in a picture."""
    remarks: list[str]
    """What was left out, in sentences."""


def opportunities(columns: Sequence[ColumnProfile], rows: int) -> Opportunities:
    """Finds what a table invites.

    Args:
        columns: Its columns.
        rows: How many rows it has.
    """
    measures = [column.name for column in columns if column.kind is Kind.NUMBER and column.distinct > 1]
    groups = [column.name for column in sorted(columns, key=_numbers_last) if _groups(column, rows)]
    words = [column for column in columns if column.kind in (Kind.CATEGORY, Kind.BOOLEAN)]
    few = [column.name for column in words if 2 <= column.distinct <= min(MOST_SERIES, rows / 10)]
    colouring = few[0] if few else None
    groupings = [
        Grouping(group=group, measures=others[:MOST_MEASURES])
        for group in groups
        if (others := [name for name in measures if name != group])
    ]
    time = _time(columns)
    trends = [TrendRequest(time=time, measure=measure, group=colouring) for measure in measures[:MOST_MEASURES]] if time else []
    remarks = []
    if len(measures) > MOST_MEASURES and (groupings or trends):
        remarks.append(f"Groups and trends were looked at for the first {MOST_MEASURES} of {len(measures)} columns of numbers.")
    if len(groupings) > MOST_GROUPINGS:
        remarks.append(f"Groups were compared for the first {MOST_GROUPINGS} of {len(groupings)} columns that make groups.")
    return Opportunities(measures, groupings[:MOST_GROUPINGS], trends, colouring, remarks)


def _groups(column: ColumnProfile, rows: int) -> bool:
    """Few groups, at least two, each with three rows on average; whole numbers such as a count of doors make groups too."""
    fitting = column.kind in (Kind.CATEGORY, Kind.BOOLEAN) or (column.kind is Kind.NUMBER and column.whole and not column.unit)
    return fitting and 2 <= column.distinct <= min(MOST_GROUPS, rows / 3)


def _numbers_last(column: ColumnProfile) -> bool:
    return column.kind is Kind.NUMBER


def _time(columns: Sequence[ColumnProfile]) -> str | None:
    """The fullest column of times, of equally full ones the first."""
    times = [column for column in columns if column.kind is Kind.TIME and column.distinct >= LEAST_TIMES]
    return max(times, key=lambda column: column.present).name if times else None
