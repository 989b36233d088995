"""Periods of time: how fine to look at a span, and the mean of each period."""

from datetime import datetime, timedelta

import polars as pl

from data_processing.model.statistics import Point

PERIODS = (
    ("hour", "1h", timedelta(hours=1)),
    ("day", "1d", timedelta(days=1)),
    ("week", "1w", timedelta(weeks=1)),
    ("month", "1mo", timedelta(days=30.4)),
    ("quarter", "1q", timedelta(days=91.3)),
    ("year", "1y", timedelta(days=365.25)),
)
"""Their names, their polars words, how long they are."""

MOST_POINTS = 150
"""The most periods of a picture."""


def period_of(times: pl.Series) -> str:
    """Returns the finest period that needs at most 150 points and is no finer than the times themselves.

    Args:
        times: Moments, without nulls, at least one.
    """
    earliest, latest = span(times)
    steps = times.unique().sort().diff().drop_nulls().dt.total_seconds()
    usual = timedelta(seconds=steps.quantile(0.1, "lower") or 0)
    for name, _, length in PERIODS:
        if (latest - earliest) / length <= MOST_POINTS and usual <= length * 1.05:
            return name
    return "year"


def every(period: str) -> str:
    """Returns polars' word for a period."""
    return next(word for name, word, _ in PERIODS if name == period)


def span(times: pl.Series) -> tuple[datetime, datetime]:
    """Returns the earliest and latest of the times."""
    earliest, latest = times.min(), times.max()
    if not isinstance(earliest, datetime) or not isinstance(latest, datetime):
        raise ValueError(f"column {times.name} holds no times")
    return earliest, latest


def means(frame: pl.DataFrame, period: str) -> list[Point]:
    """Returns the mean of `value` in each period of `time` that has any, in order; at most the newest 2,000 periods."""
    grouped = (
        frame.group_by(pl.col("time").dt.truncate(every(period)))
        .agg(pl.col("value").mean(), pl.len().alias("count"))
        .sort("time")
        .tail(2_000)
    )
    return [Point(time=written(time), value=value, count=count) for time, value, count in grouped.iter_rows()]


def counts(times: pl.Series, period: str) -> list[Point]:
    """Returns how many times lie in each period, periods without any among them; at most the newest 2,000."""
    grouped = pl.DataFrame({"time": times.dt.truncate(every(period))}).group_by("time").len("count").sort("time")
    whole = grouped.upsample("time", every=every(period)).with_columns(pl.col("count").fill_null(0)).tail(2_000)
    return [Point(time=written(time), value=count, count=count) for time, count in whole.iter_rows()]


def written(moment: datetime) -> str:
    """Returns a moment as ISO 8601, as a day where it is midnight."""
    return moment.date().isoformat() if moment.time() == datetime.min.time() else moment.isoformat(timespec="seconds")
