"""From a source to a table of text in the workspace."""

from pathlib import Path

import polars as pl

from data_processing.decoding import decode
from data_processing.model.table import Collected
from data_processing.reading import parse
from data_processing.source import title_of
from data_processing.tables import store

MOST_COLUMNS = 60
"""Columns that are analysed; of a wider table the first ones."""


def collect(content: bytes, source: str, workspace: Path) -> Collected:
    """Reads a source's bytes as a table and stores it.

    Args:
        content: The bytes.
        source: Where they are from.
        workspace: The folder that the agents of a run share.

    Raises:
        ValueError: The bytes are no table; the message says what to do.
    """
    decoded = decode(content)
    table = parse(decoded.text)
    frame = pl.DataFrame([pl.Series(name, values, dtype=pl.String) for name, values in zip(table.names, table.columns, strict=True)])
    remarks = list(table.remarks)
    if decoded.encoding in ("cp1252", "latin-1"):
        remarks.append("The text is not UTF-8; it was read as Windows-1252 (western European), so look twice at letters with accents.")
    if len(table.names) > MOST_COLUMNS:
        remarks.append(f"The table has {len(table.names):,} columns; the first {MOST_COLUMNS} were analysed.")
    return Collected(
        table=store(frame, workspace),
        title=title_of(source),
        source=source,
        size=len(content),
        encoding=decoded.encoding,
        delimiter=table.delimiter,
        columns=table.names[:MOST_COLUMNS],
        remarks=remarks,
    )
