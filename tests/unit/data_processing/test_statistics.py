import random
from statistics import mean, median, stdev

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_processing.model.column import ColumnProfile, Kind
from data_processing.profile import profile
from data_processing.statistics import describe, describe_numbers, describe_times, histogram, levels

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def number_profile(values: pl.Series) -> ColumnProfile:
    return ColumnProfile(name=values.name, kind=Kind.NUMBER, present=values.len(), missing=0, distinct=values.n_unique())


def test_figures_agree_with_the_standard_library() -> None:
    values = [random.Random(7).gauss(10, 3) for _ in range(101)]  # noqa: S311  # the same values every time

    found = describe_numbers(pl.Series("v", values))

    assert found.mean == pytest.approx(mean(values))
    assert found.median == pytest.approx(median(values))
    assert found.deviation == pytest.approx(stdev(values))


def test_one_value_has_no_deviation() -> None:
    found = describe_numbers(pl.Series("v", [5.0]))

    assert found.deviation is None
    assert found.skewness is None
    assert [bar.count for bar in found.histogram] == [1]


def test_values_far_outside_are_counted_and_said() -> None:
    values = pl.Series("v", [float(number % 10) for number in range(100)] + [1000.0])

    found = describe(values, number_profile(values))

    assert found.number is not None
    assert found.number.outliers == 1
    assert any("far outside" in remark for remark in found.remarks)
    assert any("lopsided" in remark for remark in found.remarks)


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    bars = histogram(pl.Series("v", values, dtype=pl.Float64))

    assert sum(bar.count for bar in bars) == len(values)
    assert bars[0].start <= min(values)
    assert 1 <= len(bars) <= 40


def test_whole_numbers_get_bars_of_whole_width() -> None:
    bars = histogram(pl.Series("v", [float(number % 20) for number in range(100)]))

    assert all((bar.end - bar.start).is_integer() for bar in bars)


def test_levels_come_by_frequency_and_numbers_in_order() -> None:
    assert [level.value for level in levels(pl.Series(["b", "a", "b", "c"]))] == ["b", "a", "c"]
    assert [level.value for level in levels(pl.Series([4.0, 8.0, 8.0, 3.0]))] == ["3", "4", "8"]


def test_times_are_counted_by_a_period_that_suits_them() -> None:
    times = pl.Series("t", [f"{year}-{month:02}-01" for year in range(2000, 2008) for month in range(1, 13)]).str.to_datetime()

    found = describe_times(times)

    assert found.period == "month"
    assert len(found.counts) == 96
    assert (found.earliest, found.latest) == ("2000-01-01", "2007-12-01")


def test_periods_without_rows_are_counted_as_none() -> None:
    times = pl.Series("t", ["2020-01-01", "2020-01-02", "2020-01-05"]).str.to_datetime()

    assert [point.value for point in describe_times(times).counts] == [1, 1, 0, 0, 1]


def test_a_column_of_text_is_described_by_its_lengths() -> None:
    values = pl.Series("t", [f"some words about number {number}" for number in range(30)])

    found = describe(values, profile(values))

    assert found.text is not None
    assert found.text.mean_words == 5
