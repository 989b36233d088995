import pytest

from parade.cli.group import exit_code
from parade.cli.output import Format, show_error, table, write, write_next, write_value
from parade.wire.errors import ParadeError, Reason, Violation


def test_a_value_for_people_is_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write_value("Hello", Format.TABLE)

    assert capsys.readouterr().out == "Hello\n"


@pytest.mark.parametrize(
    ("format", "text"),
    [(Format.TABLE, '{\n  "a": "é"\n}\n'), (Format.JSON, '{\n  "a": "é"\n}\n'), (Format.YAML, "a: é\n")],
)
def test_a_value_with_parts_is_a_document(capsys: pytest.CaptureFixture[str], format: Format, text: str) -> None:
    write_value({"a": "é"}, format)

    assert capsys.readouterr().out == text


def test_items_are_a_line_of_json_each(capsys: pytest.CaptureFixture[str]) -> None:
    for item in ("a", {"b": 1}):
        write_next(item, Format.TABLE)

    assert capsys.readouterr().out == '"a"\n{"b":1}\n'


def test_items_are_a_document_of_yaml_each(capsys: pytest.CaptureFixture[str]) -> None:
    for item in ({"a": 1}, {"b": 1}):
        write_next(item, Format.YAML)

    assert capsys.readouterr().out == "---\na: 1\n---\nb: 1\n"


def test_a_table_for_a_program_is_neither_broken_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    write([], Format.TABLE, table(("A", "B"), [("x" * 300, "failed"), ("y", "z")], "nothing"))

    space = " " * 301
    assert capsys.readouterr().out == f"A{space}B\n{'x' * 300}  failed\ny{space}z\n"


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    write([], Format.TABLE, table(("A", "B"), [], "nothing here"))

    assert capsys.readouterr().out == "nothing here\n"


def test_an_error_is_shown_with_every_fault_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [Violation("steps.clean.call", "no such function", 7), Violation("inputs", "is missing")]
    error = ParadeError(Reason.UNKNOWN_FUNCTION, "it [bold]failed[/bold]", violations=faults, metadata={"exception_type": "KeyError"})

    show_error(error)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: it [bold]failed[/bold]  [UNKNOWN_FUNCTION]",
        "  - line 7: steps.clean.call: no such function",
        "  - inputs: is missing",
        "  exception type: KeyError",
        "`parade function list` shows the functions there are.",
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_the_exit_code_is_2_only_where_the_mesh_was_not_reached(reason: Reason) -> None:
    code = exit_code(ParadeError(reason, "it failed"))

    assert code == (2 if reason in (Reason.UNAVAILABLE, Reason.UNAUTHENTICATED) else 1)
