import polars as pl
import pytest

from data_processing.cleaning import CleanTable, clean, unify_spellings
from data_processing.model.cleaning import MissingNumbers
from data_processing.profile import profile


def cleaned(columns: dict[str, list[str | None]], missing_numbers: MissingNumbers = MissingNumbers.LEAVE) -> CleanTable:
    raw = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return clean(raw, [profile(column) for column in raw.get_columns()], missing_numbers)


def test_repeated_rows_are_removed_and_counted() -> None:
    table = cleaned({"a": ["1", "2", " 1 ", "4", "5"], "b": ["x", "y", "x", "z", "x"]})

    assert table.duplicates_removed == 1
    assert table.frame["a"].to_list() == [1, 2, 4, 5]


def test_a_single_column_keeps_values_that_come_again() -> None:
    table = cleaned({"a": ["1", "1", "3"]})

    assert table.duplicates_removed == 0
    assert table.frame.height == 3
    assert "no duplicate" in table.remarks[0]


def test_rows_that_are_mostly_alike_are_observations() -> None:
    table = cleaned({"a": ["x", "y"] * 20, "b": ["1", "0"] * 20})

    assert table.duplicates_removed == 0
    assert table.frame.height == 40
    assert "observations" in table.remarks[0]


def test_blank_rows_are_left_out_and_said() -> None:
    table = cleaned({"a": ["1", "", "3"], "b": ["x", None, "y"]})

    assert table.frame.height == 2
    assert "1 rows without any value" in table.remarks[0]


def test_missing_numbers_are_left_or_given_the_median() -> None:
    columns: dict[str, list[str | None]] = {"a": ["1", None, "3", "8"], "b": ["w", "x", "y", "z"]}

    left, filled = cleaned(columns), cleaned(columns, MissingNumbers.MEDIAN)

    assert left.frame["a"].to_list() == [1, None, 3, 8]
    assert filled.frame["a"].to_list() == [1, 3, 3, 8]
    assert (left.missing_cells, left.cleaning[0].filled) == (1, 0)
    assert (filled.missing_cells, filled.cleaning[0].filled) == (1, 1)
    assert filled.columns[0].missing == 0


def test_columns_without_values_are_left_out_and_said() -> None:
    table = cleaned({"a": ["1", "2"], "b": ["", "n/a"]})

    assert table.frame.columns == ["a"]
    assert table.cleaning[1].dropped


def test_a_table_without_any_value_is_refused() -> None:
    with pytest.raises(ValueError, match="no column has any value"):
        cleaned({"a": ["", None], "b": ["n/a", "-"]})


def test_spellings_of_a_category_become_the_most_frequent_one() -> None:
    text, changed = unify_spellings(pl.Series("c", ["USA", "usa", "USA", "New  York", "new york", None, "New  York"]))

    assert text.to_list() == ["USA", "USA", "USA", "New  York", "New  York", None, "New  York"]
    assert changed == 2


def test_what_was_done_is_said_column_by_column() -> None:
    table = cleaned({"price": ["€1.234,50", "€3,00", "n/a", "€5,10"], "day": ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]})

    assert "1 missing values" in table.cleaning[0].done
    assert "in € with a decimal comma" in table.cleaning[0].done
    assert "%Y-%m-%d" in table.cleaning[1].done
