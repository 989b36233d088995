import math
import random
from datetime import datetime, timedelta

import polars as pl
import pytest

from data_processing.correlations import correlate
from data_processing.groups import compare
from data_processing.trends import fit_line, follow


def days(count: int) -> list[datetime]:
    return [datetime(2018, 1, 1) + timedelta(days=number) for number in range(count)]  # noqa: DTZ001  # times of a table carry no zone


def test_a_straight_rise_has_its_slope_and_its_change() -> None:
    frame = pl.DataFrame({"day": days(731), "value": [100 + number / 365.25 * 10 for number in range(731)]})

    found = follow(frame, "day", "value")

    assert found.direction == "rising"
    assert found.slope_per_year == pytest.approx(10)
    assert found.fit == pytest.approx(1)
    assert found.change == pytest.approx(0.2, abs=0.001)


def test_noise_has_no_direction() -> None:
    source = random.Random(3)  # noqa: S311  # the same values every time
    frame = pl.DataFrame({"day": days(400), "value": [source.gauss(0, 1) for _ in range(400)]})

    assert follow(frame, "day", "value").direction == "level"


def test_a_year_that_repeats_is_found() -> None:
    frame = pl.DataFrame({"day": days(1461), "value": [math.cos(number / 365.25 * math.tau) for number in range(1461)]})

    found = follow(frame, "day", "value")

    assert found.seasonality is not None
    assert found.seasonality > 0.9
    assert [month.month for month in found.months] == list(range(1, 13))
    assert max(found.months, key=lambda month: month.mean).name in ("January", "December")


def test_less_than_two_years_have_no_usual_year() -> None:
    frame = pl.DataFrame({"day": days(500), "value": [float(number) for number in range(500)]})

    assert follow(frame, "day", "value").seasonality is None


def test_a_trend_of_two_values_is_refused() -> None:
    frame = pl.DataFrame({"day": days(3), "value": [1.0, None, 2.0]})

    with pytest.raises(ValueError, match="a trend needs 3"):
        follow(frame, "day", "value")


def test_groups_are_followed_where_they_have_values_throughout() -> None:
    group = ["a", "b", "a"] * 40
    group[5] = "once"
    frame = pl.DataFrame(
        {"day": [day for day in days(40) for _ in range(3)], "value": [float(number) for number in range(120)], "group": group}
    )

    assert [series.value for series in follow(frame, "day", "value", "group").series] == ["a", "b"]


def test_a_line_over_one_place_is_level() -> None:
    line = fit_line(pl.Series([1.0, 1.0]), pl.Series([2.0, 4.0]))

    assert (line.slope, line.intercept, line.certain) == (0.0, 3.0, False)


def test_groups_that_differ_explain_the_variance() -> None:
    frame = pl.DataFrame({"group": ["a"] * 50 + ["b"] * 50, "far": [0.0] * 50 + [10.0] * 50, "same": [1.0, 2.0] * 50})

    found = compare(frame, "group", ["same", "far"])

    assert [comparison.measure for comparison in found.comparisons] == ["far", "same"]
    assert found.comparisons[0].explained == pytest.approx(1)
    assert found.comparisons[1].explained == pytest.approx(0)
    assert [group.mean for group in found.comparisons[0].groups] == [0, 10]


def test_small_groups_are_said_and_missing_values_left_out() -> None:
    frame = pl.DataFrame({"group": ["a"] * 9 + ["b", None], "value": [1.0] * 8 + [None, 3.0, 99.0]})

    found = compare(frame, "group", ["value"])

    assert found.remarks == ["Groups of fewer than 5 rows: b."]
    assert [(group.value, group.count) for group in found.comparisons[0].groups] == [("a", 8), ("b", 1)]


def test_amounts_that_go_together_are_found_with_their_direction() -> None:
    x = [float(number) for number in range(1000)]
    frame = pl.DataFrame({"x": x, "up": [2 * value + 1 for value in x], "down": [-(value**3) for value in x], "constant": [1.0] * 1000})

    found = correlate(frame, ["x", "up", "down", "constant"])

    pairs = {(pair.x, pair.y): pair for pair in found.pairs}
    assert pairs["x", "up"].pearson == pytest.approx(1)
    assert pairs["x", "up"].slope == pytest.approx(2)
    assert pairs["x", "down"].spearman == pytest.approx(-1)
    assert abs(pairs["x", "down"].pearson) < 1
    assert len(pairs["x", "up"].spots) == 400
    assert not any("constant" in (cell.x, cell.y) for cell in found.cells)


def test_too_few_common_rows_say_nothing() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, None], "y": [1.0, 2.0, 3.0]})

    assert correlate(frame, ["x", "y"]).cells == []
