"""Tables in the workspace: stored by content, loaded by reference."""

import io
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_processing.files import digest, read_checked, write_atomically
from data_processing.model.table import TableReference


def store(frame: pl.DataFrame, workspace: Path) -> TableReference:
    """Stores a table as Parquet under the hash of its content; the same table again changes nothing.

    Args:
        frame: The table.
        workspace: The folder that the agents of a run share.

    Returns:
        Its reference, small enough to travel.
    """
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    content = buffer.getvalue()
    sha256 = digest(content)
    path = workspace.absolute() / "tables" / f"{sha256[:16]}.parquet"
    write_atomically(path, content)
    return TableReference(path=str(path), sha256=sha256, rows=frame.height, columns=frame.width)


def load(reference: TableReference, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Loads a table, or some of its columns.

    Raises:
        ValueError: The file is gone or was changed, or has no such column.
    """
    content = read_checked(Path(reference.path), reference.sha256)
    try:
        return pl.read_parquet(io.BytesIO(content), columns=None if columns is None else list(dict.fromkeys(columns)))
    except pl.exceptions.ColumnNotFoundError as error:
        raise ValueError(f"the table has no such column: {error}") from None
