import pytest

from data_processing.reading import parse, sniff_delimiter, unique_names


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_usual_separator_is_found(delimiter: str) -> None:
    table = parse(f"a{delimiter}b\n1{delimiter}2\n3{delimiter}4\n")

    assert table.delimiter == delimiter
    assert table.names == ["a", "b"]
    assert table.columns == [["1", "3"], ["2", "4"]]


def test_a_decimal_comma_does_not_pass_for_a_separator() -> None:
    assert sniff_delimiter("name;price\na;1,5\nb;2,5\n") == ";"


def test_one_column_is_a_table() -> None:
    table = parse("name\nHello, you\nWorld\n")

    assert table.names == ["name"]


def test_quoted_fields_keep_their_separators_and_line_ends() -> None:
    table = parse('a,b\n"x, y","two\nlines"\n')

    assert table.columns == [["x, y"], ["two\nlines"]]


def test_ragged_lines_are_straightened_and_counted() -> None:
    table = parse("a,b,c\n1,2,3\n4,5\n6,7,8,9\n1,2,3\n1,2,3\n1,2,3\n1,2,3\n")

    assert table.columns[2] == ["3", "", "8", "3", "3", "3", "3"]
    assert any("1 line has fewer" in remark for remark in table.remarks)
    assert any("1 line has more" in remark for remark in table.remarks)


def test_a_text_whose_lines_mostly_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="above the column names"):
        parse("Report of 2020\na,b\n1,2\n3,4\n5,6\n")


def test_a_header_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        parse("a,b\n")


def test_a_quote_that_is_never_closed_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="quote that is not closed"):
        parse('a,b\n1,"' + "x\n" * 100_000)


def test_numbers_in_the_first_line_are_values() -> None:
    table = parse("1,2\n3,4\n")

    assert table.names == ["column_1", "column_2"]
    assert table.columns == [["1", "3"], ["2", "4"]]


def test_columns_get_names_of_their_own() -> None:
    names, remarks = unique_names(["a", "", "a", " a ", "a_2"])

    assert len(set(names)) == 5
    assert names[:2] == ["a", "column_2"]
    assert names[4] == "a_2"
    assert len(remarks) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('[{"a": 1, "b": "x"}, {"a": null, "c": true}]', id="a list"),
        pytest.param('{"a": 1, "b": "x"}\n{"a": null, "c": true}\n', id="a line each"),
    ],
)
def test_json_objects_are_a_table(text: str) -> None:
    table = parse(text)

    assert table.names == ["a", "b", "c"]
    assert table.columns == [["1", None], ["x", None], [None, "true"]]


def test_json_that_is_no_list_of_objects_is_refused() -> None:
    with pytest.raises(ValueError, match="list of objects"):
        parse("[1, 2]")


def test_a_table_of_too_many_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10,000"):
        parse(",".join(f"c{number}" for number in range(10_001)) + "\n" + "," * 10_000 + "1\n")
