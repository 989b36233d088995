"""From text to columns of text: separators, ragged lines, headers. What the values mean is not asked here."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

DELIMITERS = (",", ";", "\t", "|")
"""What may separate fields."""

SAMPLE = 200
"""How many lines decide about the separator."""

WIDEST = 10_000
"""The most columns of a table."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table as it stood in its source."""

    names: list[str]
    """The columns, each name once."""
    columns: list[list[str | None]]
    """Their values, all of one length; None where a line was too short."""
    delimiter: str
    """What separated the fields; empty for JSON."""
    remarks: list[str] = field(default_factory=list)
    """What had to be put right, in sentences."""


def parse(text: str) -> TextTable:
    """Reads CSV with any usual separator, or a JSON list of objects.

    Raises:
        ValueError: There are no rows, or the text is no table; the message says what to do.
    """
    if text.lstrip()[:1] in ("[", "{"):
        records = _records(text)
        if records is not None:
            return _from_records(records)
    return _from_lines(text)


def sniff_delimiter(text: str) -> str:
    """Returns the separator that splits most lines into as many fields as the first line; a comma where none does."""
    best, delimiter = (0.0, 1), ","
    for candidate in DELIMITERS:
        widths = [len(row) for row in islice(_rows(text, candidate), SAMPLE)]
        if not widths or widths[0] == 1:
            continue
        agreeing = sum(width == widths[0] for width in widths) / len(widths)
        if (agreeing, widths[0]) > best:
            best, delimiter = (agreeing, widths[0]), candidate
    return delimiter


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num} cannot be read ({error}): look for a quote that is not closed before it") from None
        if any(cell.strip() for cell in row):
            yield row


def _from_lines(text: str) -> TextTable:
    delimiter = sniff_delimiter(text)
    rows = list(_rows(text, delimiter))
    remarks: list[str] = []
    if all(_is_number(cell) for cell in rows[0]) and len(rows) > 1:
        header = [""] * len(rows[0])
        remarks.append("The first line holds numbers only, so it was taken for values; the columns were numbered.")
    else:
        header = rows.pop(0)
    if not rows:
        raise ValueError("the source has column names but no values: it needs at least one line below the names")
    width = len(header)
    if width > WIDEST:
        raise ValueError(f"the source has {width:,} columns; at most {WIDEST:,} are read: take the ones that matter")
    remarks += _straighten(rows, width)
    columns: list[list[str | None]] = [list(column) for column in zip(*rows, strict=True)]
    names, renamed = unique_names(header)
    return TextTable(names, columns, delimiter, remarks + renamed)


def _straighten(rows: list[list[str]], width: int) -> list[str]:
    short = long = 0
    for index, row in enumerate(rows):
        if len(row) < width:
            short += 1
            rows[index] = row + [""] * (width - len(row))
        elif len(row) > width:
            long += any(cell.strip() for cell in row[width:])
            rows[index] = row[:width]
    if (short + long) * 2 > len(rows) and len(rows) > 2:
        raise ValueError(
            f"{short + long:,} of {len(rows):,} lines do not have the {width} fields of the first line: "
            "remove what stands above the column names, and use one separator throughout"
        )
    remarks = []
    if short:
        remarks.append(f"{_lines(short)} fewer fields than there are columns; what is absent counts as missing.")
    if long:
        remarks.append(f"{_lines(long)} more fields than there are columns; what is beyond was left out.")
    return remarks


def _lines(count: int) -> str:
    return "1 line has" if count == 1 else f"{count:,} lines have"


def unique_names(header: Sequence[str]) -> tuple[list[str], list[str]]:
    """Gives every column a name of its own.

    Returns:
        The names, and sentences about those that were made up.
    """
    wanted = [" ".join(cell.split()) or f"column_{position}" for position, cell in enumerate(header, start=1)]
    occupied = set(wanted)
    names: dict[str, None] = {}
    for name in wanted:
        chosen, number = name, 1
        while chosen in names or (number > 1 and chosen in occupied):
            number += 1
            chosen = f"{name}_{number}"
        names[chosen] = None
    blank = [name for name, cell in zip(names, header, strict=True) if not cell.strip()]
    repeated = [name for name, first in zip(names, wanted, strict=True) if name != first]
    remarks = []
    if blank and len(blank) < len(names):
        remarks.append(f"Columns without a name are called {', '.join(blank[:5])}{' …' if len(blank) > 5 else ''}.")
    if repeated:
        remarks.append(f"Names that came twice were numbered: {', '.join(repeated[:5])}{' …' if len(repeated) > 5 else ''}.")
    return list(names), remarks


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _records(text: str) -> list[object] | None:
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return _records_by_line(text)
    return document if isinstance(document, list) else [document]


def _records_by_line(text: str) -> list[object] | None:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError:
        return None


def _from_records(records: list[object]) -> TextTable:
    rows = [record for record in records if isinstance(record, dict)]
    if not rows or len(rows) != len(records):
        raise ValueError('the JSON source is no list of objects: give [{"column": value, …}, …]')
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if len(keys) > WIDEST:
        raise ValueError(f"the source has {len(keys):,} columns; at most {WIDEST:,} are read: take the ones that matter")
    names, remarks = unique_names(keys)
    return TextTable(names, [[_text(row.get(key)) for row in rows] for key in keys], "", remarks)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
