"""What stands on the command line, as values: `key=value`, JSON, durations, labels. Knows no command."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_AGO = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Pairs = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values by name: JSON where it is JSON, or else text.")]
Document = Annotated[
    str | None, typer.Option("--json", metavar="OBJECT|@FILE|-", help="Values as a JSON object, in a file, or on standard input.")
]


def named_values(pairs: Sequence[str] | None, document: str | None) -> dict[str, Any]:
    """Returns the values that were given by name; a pair goes before the document.

    Raises:
        typer.BadParameter: Something is not understood.
    """
    values = _object(document) if document is not None else {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not understood; write name=value")
        values[name] = value(text)
    return values


def labels(pairs: Sequence[str] | None) -> dict[str, str]:
    """Returns labels, whose values are text as they stand.

    Raises:
        typer.BadParameter: A label is not understood.
    """
    found: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"the label {pair!r} is not understood; write name=value")
        found[name] = text
    return found


def duration(text: str) -> float:
    """Returns a duration in seconds: `500ms`, `30s`, `1.5m`, `1h`; a number alone is seconds.

    Raises:
        typer.BadParameter: It is none.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s?(ms|s|m|h|)", text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise typer.BadParameter(f"{text!r} is no duration; write for example 500ms, 30s, 5m or 1h")
    return seconds


def moment(text: str) -> datetime:
    """Returns a time: one as RFC 3339 writes it, or how long ago it was, `30m`, `2h`, `7d`. One without a zone is local.

    Raises:
        typer.BadParameter: It is none.
    """
    match = re.fullmatch(r"(\d{1,6})\s?(s|m|h|d)", text.strip())
    try:
        if match:
            return datetime.now(UTC) - timedelta(seconds=int(match[1]) * _AGO[match[2]])
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is no time; write for example 2026-01-31, 2026-01-31T09:30:00Z, or 2h for two hours ago"
        raise typer.BadParameter(message) from error


def value(text: str) -> Any:
    """Returns a value: JSON where it is JSON, or else the text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _object(document: str) -> dict[str, Any]:
    source, text = _read(document)
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"{source} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{source} must be a JSON object, whose members are the values by name")
    return content


def _read(document: str) -> tuple[str, bytes | str]:
    if document == "-":
        return "standard input", sys.stdin.read()
    if not document.startswith("@"):
        return "--json", document
    path = Path(document[1:])
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from error
