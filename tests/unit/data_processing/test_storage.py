from pathlib import Path

import polars as pl
import pytest

from data_processing.files import digest, read_checked, write_atomically
from data_processing.tables import load, store


def test_storing_a_table_twice_leaves_one_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, 2], "ü": ["x", None]})

    first, second = store(frame, tmp_path), store(frame, tmp_path)

    assert first == second
    assert (first.rows, first.columns) == (2, 2)
    assert [path.name for path in (tmp_path / "tables").iterdir()] == [f"{first.sha256[:16]}.parquet"]
    assert load(first, ["ü", "ü"]).to_dict(as_series=False) == {"ü": ["x", None]}


def test_a_table_that_was_changed_is_refused(tmp_path: Path) -> None:
    reference = store(pl.DataFrame({"a": [1]}), tmp_path)
    Path(reference.path).write_bytes(b"something else")

    with pytest.raises(ValueError, match="was changed"):
        load(reference)


def test_a_table_that_is_gone_is_refused(tmp_path: Path) -> None:
    reference = store(pl.DataFrame({"a": [1]}), tmp_path)
    Path(reference.path).unlink()

    with pytest.raises(ValueError, match="is gone"):
        load(reference)


def test_a_column_that_the_table_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such column"):
        load(store(pl.DataFrame({"a": [1]}), tmp_path), ["b"])


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"content")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_is_read_where_it_is_the_one_that_was_meant(tmp_path: Path) -> None:
    write_atomically(tmp_path / "folder" / "file", b"content")

    assert read_checked(tmp_path / "folder" / "file", digest(b"content")) == b"content"
