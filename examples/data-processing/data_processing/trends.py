"""How an amount goes over time: its line, its change, its year."""

import math
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from data_processing.groups import explained
from data_processing.model.relation import MonthMean, SeriesOfGroup, TrendAnalysis
from data_processing.periods import means, period_of, span
from data_processing.statistics import level_name

SECONDS_PER_YEAR = 365.25 * 86_400
LEAST_MONTHS = 6
"""Different months of the year that a usual year needs."""

LEAST_YEARS = 2.0
"""Years that a usual year needs."""

LEAST_VALUES = 3
STEADY = 0.6
"""The part of the periods that a group must have values in to be followed by itself: a line across gaps would invent values."""


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line."""

    slope: float
    """A unit of x."""
    intercept: float
    """Its value where x is 0."""
    fit: float
    """The part of the variance that it explains, 0 to 1."""
    certain: bool
    """Whether the slope is more than two standard errors from none."""


def fit_line(x: pl.Series, y: pl.Series) -> Line:
    """Fits a line by least squares; a level one where x does not vary.

    Args:
        x: Float64, without nulls.
        y: Float64, as long as x, without nulls.
    """
    mean_x, mean_y = float(x.mean() or 0), float(y.mean() or 0)  # type: ignore[arg-type]
    across, up = x - mean_x, y - mean_y
    sxx, sxy, syy = float((across * across).sum()), float((across * up).sum()), float((up * up).sum())
    if not sxx or not syy or not math.isfinite(syy):
        return Line(0.0, mean_y, 0.0, certain=False)
    slope = sxy / sxx
    fit = min(1.0, sxy * sxy / (sxx * syy))
    error = math.sqrt(max(0.0, (1 - fit) * syy / max(1, x.len() - 2) / sxx))
    return Line(slope, mean_y - slope * mean_x, fit, certain=abs(slope) > 2 * error)


def follow(frame: pl.DataFrame, time: str, measure: str, group: str | None = None) -> TrendAnalysis:
    """Follows an amount over time.

    Args:
        frame: At least the columns named.
        time: A column of moments.
        measure: A column of amounts.
        group: A column of few values, each followed by itself too.

    Raises:
        ValueError: Fewer than three rows have both a time and an amount.
    """
    names = {"time": time, "value": measure} | ({"group": group} if group else {})
    named = frame.select(pl.col(column).alias(alias) for alias, column in names.items())
    pairs = named.drop_nulls(["time", "value"]).sort("time", maintain_order=True)
    if pairs.height < LEAST_VALUES:
        raise ValueError(f"{measure} has {pairs.height} values with a {time}; a trend needs {LEAST_VALUES}")
    earliest, latest = span(pairs["time"])
    years = pairs.select(((pl.col("time") - earliest).dt.total_seconds() / SECONDS_PER_YEAR).alias("years"))["years"]
    line = fit_line(years, pairs["value"])
    period = period_of(pairs["time"])
    points = means(pairs, period)
    start, end = line.intercept, line.intercept + line.slope * _years(earliest, latest)
    months, seasonality = _usual_year(pairs, years, line)
    return TrendAnalysis(
        time=time,
        measure=measure,
        period=period,
        points=points,
        slope_per_year=line.slope,
        fit=line.fit,
        direction="level" if not line.certain else "rising" if line.slope > 0 else "falling",
        line_start=start,
        line_end=end,
        change=_relative_change(start, end, pairs["value"]),
        months=months,
        seasonality=seasonality,
        group=group,
        series=_series(pairs, period, len(points)) if group else [],
    )


def _years(earliest: datetime, latest: datetime) -> float:
    return (latest - earliest).total_seconds() / SECONDS_PER_YEAR


def _relative_change(start: float, end: float, values: pl.Series) -> float | None:
    """A change in per cent means something for amounts that never pass zero, and start well away from it."""
    smallest = float(values.min() or 0)  # type: ignore[arg-type]
    typical = float(values.abs().mean() or 0)  # type: ignore[arg-type]
    return (end - start) / start if smallest >= 0 and start > 0.05 * typical else None


def _usual_year(pairs: pl.DataFrame, years: pl.Series, line: Line) -> tuple[list[MonthMean], float | None]:
    months = pl.col("time").dt.month().alias("group")
    by_month = pairs.group_by(months).agg(pl.col("value").mean(), pl.len().alias("count")).sort("group")
    span_of_years = float(years.max() or 0)  # type: ignore[arg-type]
    if by_month.height < LEAST_MONTHS or span_of_years < LEAST_YEARS * 0.99:
        return [], None
    around = pairs.select(months, value=pl.col("value") - (years * line.slope + line.intercept))
    means_of_months = [MonthMean(month=month, mean=mean, count=count) for month, mean, count in by_month.iter_rows()]
    return means_of_months, explained(around)


def _series(pairs: pl.DataFrame, period: str, periods: int) -> list[SeriesOfGroup]:
    parts = pairs.drop_nulls("group").partition_by("group", as_dict=True)
    series = [SeriesOfGroup(value=level_name(value), points=means(part, period)) for (value,), part in sorted(parts.items())]
    steady = [one for one in series if len(one.points) >= STEADY * periods]
    return steady if len(steady) > 1 else []
