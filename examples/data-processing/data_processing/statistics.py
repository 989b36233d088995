"""What can be said about one column of a cleaned table."""

import math

import polars as pl

from data_processing.model.column import ColumnProfile, Kind
from data_processing.model.statistics import Bin, ColumnStatistics, Level, NumberStatistics, TextStatistics, TimeStatistics
from data_processing.periods import counts, period_of, span, written
from data_processing.profile import FEW, shortened

MOST_LEVELS = 12
MOST_BINS = 30
SKEWED = 1.0
"""From this skewness on a distribution is called lopsided (Bulmer 1979)."""


def describe(values: pl.Series, profile: ColumnProfile) -> ColumnStatistics:
    """Describes one column.

    Args:
        values: The column with its proper type; null where a value is missing.
        profile: What the column is.
    """
    present = values.drop_nulls()
    distinct = present.n_unique()
    number = describe_numbers(present) if profile.kind is Kind.NUMBER and present.len() else None
    levelled = profile.kind in (Kind.CATEGORY, Kind.BOOLEAN) or (number is not None and profile.whole and distinct <= FEW)
    return ColumnStatistics(
        name=profile.name,
        kind=profile.kind,
        unit=profile.unit,
        present=present.len(),
        missing=values.null_count(),
        distinct=distinct,
        number=number,
        time=describe_times(present) if profile.kind is Kind.TIME and present.len() else None,
        text=describe_text(present) if profile.kind in (Kind.TEXT, Kind.IDENTIFIER) and present.len() else None,
        levels=levels(present) if levelled else [],
        remarks=[*profile.remarks, *_remarks(values, number)],
    )


def describe_numbers(values: pl.Series) -> NumberStatistics:
    """Describes amounts.

    Args:
        values: Float64, without nulls, at least one.
    """
    figures = pl.DataFrame({"v": values}).select(
        pl.col("v").min().alias("minimum"),
        pl.col("v").max().alias("maximum"),
        pl.col("v").mean().alias("mean"),
        pl.col("v").std().alias("deviation"),
        pl.col("v").quantile(0.25, "linear").alias("quartile_low"),
        pl.col("v").median().alias("median"),
        pl.col("v").quantile(0.75, "linear").alias("quartile_high"),
        pl.col("v").skew(bias=False).alias("skewness"),
        (pl.col("v") == 0).sum().alias("zeros"),
        (pl.col("v") < 0).sum().alias("negatives"),
    )
    row = {name: finite(value) for name, value in figures.row(0, named=True).items()}
    low, high = row["quartile_low"] or 0.0, row["quartile_high"] or 0.0
    reach = 1.5 * (high - low)
    outliers = int(((values < low - reach) | (values > high + reach)).sum())
    return NumberStatistics.model_validate({**row, "outliers": outliers, "histogram": histogram(values)})


def histogram(values: pl.Series) -> list[Bin]:
    """Counts amounts in bars of one width, as many as Sturges and Freedman-Diaconis ask for, at most 30.

    Args:
        values: Float64, without nulls, at least one.

    Returns:
        The bars from the smallest to the largest; one bar where all values are the same.
    """
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    if low == high or not math.isfinite(high - low):
        return [Bin(start=low, end=high, count=values.len())]
    quarter = float(values.quantile(0.75) or 0) - float(values.quantile(0.25) or 0)
    sturges = math.ceil(math.log2(values.len())) + 1
    freedman = math.ceil((high - low) / (2 * quarter / values.len() ** (1 / 3))) if quarter else sturges
    wanted = max(1, min(MOST_BINS, max(sturges, freedman)))
    width = _round_width((high - low) / wanted, whole=bool((values == values.floor()).all()))
    start = math.floor(low / width) * width
    bins = math.floor((high - start) / width) + 1
    places = ((values - start) / width).floor().clip(0, bins - 1).cast(pl.Int64)
    found = dict(places.value_counts().iter_rows())
    return [Bin(start=start + place * width, end=start + (place + 1) * width, count=found.get(place, 0)) for place in range(bins)]


def _round_width(width: float, *, whole: bool) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    rounded = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= width * 0.999)
    return max(1.0, math.ceil(rounded)) if whole else rounded


def describe_times(times: pl.Series) -> TimeStatistics:
    """Describes moments, without nulls, at least one."""
    earliest, latest = span(times)
    period = period_of(times)
    return TimeStatistics(
        earliest=written(earliest),
        latest=written(latest),
        days=(latest - earliest).total_seconds() / 86_400,
        period=period,
        counts=counts(times, period),
    )


def describe_text(text: pl.Series) -> TextStatistics:
    """Describes text, without nulls, at least one."""
    lengths = text.str.len_chars().cast(pl.Float64)
    words = text.str.count_matches(r"\S+").cast(pl.Float64)
    return TextStatistics.model_validate(
        {"shortest": int(lengths.min()), "longest": int(lengths.max()), "mean_length": lengths.mean(), "mean_words": words.mean()},  # type: ignore[arg-type]
    )


def levels(values: pl.Series) -> list[Level]:
    """Returns the most frequent values, the most frequent first; numbers in their own order."""
    frequent = (
        pl.DataFrame({"value": values}).group_by("value").len("count").sort(["count", "value"], descending=[True, False]).head(MOST_LEVELS)
    )
    named = frequent.sort("value") if values.dtype.is_numeric() else frequent
    return [Level(value=level_name(value), count=count, share=count / values.len()) for value, count in named.iter_rows()]


def level_name(value: object) -> str:
    """Returns a value as people write it: yes and no, whole numbers without a fraction, long text cut."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return shortened(str(value))


def finite(value: float | None) -> float | None:
    """Returns the value, or None where it is no finite number."""
    return value if value is not None and math.isfinite(value) else None


def _remarks(values: pl.Series, number: NumberStatistics | None) -> list[str]:
    remarks = []
    if values.null_count() * 3 > values.len():
        remarks.append(f"{values.null_count() / values.len():.0%} of its values are missing.")
    if number is not None and number.skewness is not None and abs(number.skewness) >= SKEWED:
        remarks.append(
            f"It is lopsided, with a long tail of {'large' if number.skewness > 0 else 'small'} values: its median says more than its mean."
        )
    if number is not None and number.outliers:
        remarks.append(f"{number.outliers:,} value{'s lie' if number.outliers > 1 else ' lies'} far outside the rest.")
    return remarks
