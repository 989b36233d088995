from collections.abc import Sequence

import polars as pl
import pytest

from data_processing.model.column import ColumnProfile, Kind
from data_processing.number_text import read_with as read_numbers_with
from data_processing.profile import profile
from data_processing.time_text import read_with as read_times_with


def profiled(values: Sequence[str | None], name: str = "column") -> ColumnProfile:
    return profile(pl.Series(name, values, dtype=pl.String))


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        pytest.param(["1", "2.5", "-3e2"], [1, 2.5, -300], id="plain"),
        pytest.param(["1,234.50", "12", "1,000,000"], [1234.5, 12, 1_000_000], id="English thousands"),
        pytest.param(["1.234,50", "12,5", "7"], [1234.5, 12.5, 7], id="continental"),
        pytest.param(["1 234,5", "12,5", "7"], [1234.5, 12.5, 7], id="thousands by space"),
        pytest.param(["$1,234.50", "-$3", "$ 7"], [1234.5, -3, 7], id="currency before"),
        pytest.param(["1.234,50 €", "3 €", "7 EUR"], [1234.5, 3, 7], id="currency after"),
        pytest.param(["12%", "7.5 %", "-3%"], [12, 7.5, -3], id="per cent"),
        pytest.param(["(1,234)", "5", "6"], [-1234, 5, 6], id="brackets for minus"),
        pytest.param(["−5", "+5", "5."], [-5, 5, 5], id="typographic minus"),
    ],
)
def test_numbers_are_read_however_they_are_written(values: list[str], numbers: list[float]) -> None:
    found = profiled(values)

    assert found.kind is Kind.NUMBER
    assert read_numbers_with(pl.Series(values), found.decimal).to_list() == numbers


def test_a_unit_is_kept() -> None:
    assert profiled(["12%", "7%"]).unit == "%"
    assert profiled(["€12", "€7", "3"]).unit == "€"
    assert profiled(["12", "7"]).unit == ""


@pytest.mark.parametrize(
    ("values", "first"),
    [
        pytest.param(["2020-01-31", "2020-02-29"], "2020-01-31T00:00:00", id="ISO"),
        pytest.param(["2020/01/31", "2020/02/29"], "2020-01-31T00:00:00", id="ISO with slashes"),
        pytest.param(["31.01.2020", "29.02.2020"], "2020-01-31T00:00:00", id="day first with points"),
        pytest.param(["1/31/2020", "2/29/2020"], "2020-01-31T00:00:00", id="month first"),
        pytest.param(["31/1/2020", "1/2/2020"], "2020-01-31T00:00:00", id="day first, told by the 31st"),
        pytest.param(["Jan 31 2020", "Feb 29 2020"], "2020-01-31T00:00:00", id="English words"),
        pytest.param(["31 January 2020", "29 February 2020"], "2020-01-31T00:00:00", id="day and English words"),
        pytest.param(["20200131", "20200229"], "2020-01-31T00:00:00", id="eight digits"),
        pytest.param(["2020-01-31 13:45:10", "2020-02-29 00:00:00"], "2020-01-31T13:45:10", id="with the time of day"),
        pytest.param(["2020-01-31T13:45:10+02:00", "2020-02-29T00:00:00Z"], "2020-01-31T11:45:10", id="with a zone, in UTC"),
        pytest.param(["2020-01", "2020-02"], "2020-01-01T00:00:00", id="months"),
        pytest.param(["Jan 2020", "Feb 2020"], "2020-01-01T00:00:00", id="months in words"),
    ],
)
def test_times_are_read_however_they_are_written(values: list[str], first: str) -> None:
    found = profiled(values)

    assert found.kind is Kind.TIME
    assert read_times_with(pl.Series(values), found.formats)[0].isoformat() == first


def test_several_formats_in_one_column_are_all_read_and_said() -> None:
    found = profiled(["2020-01-31", "31.01.2020", "Jan 31, 2020", "2020-02-01"])

    assert found.kind is Kind.TIME
    assert found.unreadable == 0
    assert len(found.formats) == 3
    assert "3 ways" in found.remarks[0]


def test_a_day_that_could_be_a_month_is_said() -> None:
    assert any("other way round" in remark for remark in profiled(["01/02/2020", "03/04/2020"]).remarks)
    assert not any("other way round" in remark for remark in profiled(["01/02/2020", "13/04/2020"]).remarks)


def test_four_digits_are_years_only_in_a_column_of_years() -> None:
    assert profiled(["1999", "2005", "2010"], "Year").kind is Kind.TIME
    assert profiled(["1999", "2005", "2010"], "price").kind is Kind.NUMBER


@pytest.mark.parametrize("values", [["true", "FALSE"], ["yes", "No"], ["0", "1", "1"], ["y", "n"]])
def test_yes_and_no_are_booleans(values: list[str]) -> None:
    assert profiled(values).kind is Kind.BOOLEAN


def test_few_values_that_come_again_are_categories() -> None:
    assert profiled(["red", "green", "red", "blue"] * 5).kind is Kind.CATEGORY


def test_different_words_without_spaces_are_identifiers() -> None:
    assert profiled([f"k{number}" for number in range(50)]).kind is Kind.IDENTIFIER


def test_counted_rows_are_identifiers_and_amounts_are_not() -> None:
    assert profiled([str(number) for number in range(1, 50)]).kind is Kind.IDENTIFIER
    assert profiled([str(number * 7 + 3) for number in range(50)], "customer_id").kind is Kind.IDENTIFIER
    assert profiled([str(number * 7 + 3) for number in range(50)], "weight").kind is Kind.NUMBER


def test_leading_zeros_make_codes_of_numbers() -> None:
    assert profiled(["00501", "10115", "00501"] * 5).kind is Kind.CATEGORY


def test_sentences_are_text() -> None:
    assert profiled([f"This is what customer {number} wrote." for number in range(30)]).kind is Kind.TEXT


@pytest.mark.parametrize("nothing", ["", "NA", "n/a", "NaN", "null", "-", " ? ", None])
def test_what_stands_for_nothing_is_missing(nothing: str | None) -> None:
    found = profiled(["1", nothing, "3"])

    assert (found.kind, found.present, found.missing) == (Kind.NUMBER, 2, 1)


def test_a_few_words_among_numbers_are_counted_as_unreadable() -> None:
    found = profiled([str(number) for number in range(0, 200, 2)] + ["about ten", "many"])

    assert found.kind is Kind.NUMBER
    assert found.unreadable == 2
    assert set(found.unreadable_examples) == {"about ten", "many"}


def test_infinite_numbers_are_unreadable() -> None:
    assert profiled([str(number) for number in range(0, 200, 2)] + ["inf"]).unreadable == 1


def test_a_column_without_values_is_empty() -> None:
    assert profiled(["", None, "n/a"]).kind is Kind.EMPTY


def test_one_value_throughout_is_said() -> None:
    assert profiled(["x", "x", "x"]).remarks == ["Every value is the same."]
