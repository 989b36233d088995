"""A table that lies in the workspace, and how it came there."""

from data_processing.model.base import Model


class TableReference(Model):
    """Names a table in the workspace instead of carrying it."""

    path: str
    """The Parquet file, absolute."""
    sha256: str
    """The SHA-256 of that file, hexadecimal: whoever loads the table checks it."""
    rows: int
    """How many rows it has."""
    columns: int
    """How many columns it has."""


class Collected(Model):
    """A source that was read, stored as a table of text."""

    table: TableReference
    """The table; every column is text, exactly as it stood in the source."""
    title: str
    """A name for people, from the source's file name."""
    source: str
    """The path or address that was read."""
    size: int
    """How many bytes the source has."""
    encoding: str
    """How the text was encoded."""
    delimiter: str
    """What separates the fields; empty for a JSON source."""
    columns: list[str]
    """The columns to look at: all of them, or the first ones of a very wide table."""
    remarks: list[str]
    """What had to be put right while reading, in sentences."""
