import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from parade.cli.arguments import duration, labels, moment, named_values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ('"7"', "7"),
        ("[1, 2]", [1, 2]),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("Ada", "Ada"),
        ("", ""),
        ("007", "007"),
        ("NaN", "NaN"),
        ("a=b", "a=b"),
    ],
)
def test_a_pair_is_json_where_it_is_json_and_text_otherwise(text: str, value: object) -> None:
    assert named_values([f"x={text}"], None) == {"x": value}


@pytest.mark.parametrize("pair", ["x", "=1", ""])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(typer.BadParameter, match="write name=value"):
        named_values([pair], None)


def test_a_pair_goes_before_the_document() -> None:
    assert named_values(["b=3"], '{"a": 1, "b": 2}') == {"a": 1, "b": 3}


def test_a_document_can_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "arguments.json"
    path.write_text('{"a": 1}')

    assert named_values(None, f"@{path}") == {"a": 1}


def test_a_document_can_come_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))

    assert named_values(None, "-") == {"a": 1}


@pytest.mark.parametrize(
    ("document", "fault"), [("[1]", "must be a JSON object"), ("{", "is not JSON"), ("@nowhere.json", "cannot be read")]
)
def test_a_bad_document_is_refused(document: str, fault: str) -> None:
    with pytest.raises(typer.BadParameter, match=fault):
        named_values(None, document)


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("1h", 3600), ("2", 2), (" 10 s", 10)])
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "0", "0s", "-1s", "1d", "1e3", "inf", "one"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no duration"):
        duration(text)


def test_the_value_of_a_label_is_text() -> None:
    assert labels(["team=7", "owner=a=b"]) == {"team": "7", "owner": "a=b"}


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800)])
def test_a_moment_can_be_said_by_how_long_ago_it_was(text: str, seconds: int) -> None:
    assert abs((datetime.now(UTC) - moment(text)).total_seconds() - seconds) < 5


def test_a_moment_can_be_said_as_a_time() -> None:
    assert moment("2026-01-31T09:30:00Z") == datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert moment("2026-01-31") == datetime(2026, 1, 31).astimezone(UTC)


@pytest.mark.parametrize("text", ["", "soon", "2 weeks", "2026-13-01", "-1h"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        moment(text)
