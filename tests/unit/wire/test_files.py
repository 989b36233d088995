"""Files that belong together: nobody reads one of them new and another old."""

import multiprocessing
from pathlib import Path

import pytest

from parade.wire.files import NEWEST, FileGroup, locked, replace_all

NAMES = ("a", "b", "c")


def write(folder: Path, version: int) -> None:
    replace_all(folder, {name: f"{name}{version:06}".encode() for name in NAMES})


def test_files_are_replaced_and_others_stay(tmp_path: Path) -> None:
    replace_all(tmp_path, {"a": b"1", "b": b"1"})
    replace_all(tmp_path, {"b": b"2"})

    assert [(tmp_path / name).read_bytes() for name in ("a", "b")] == [b"1", b"2"]
    assert [path.name for path in tmp_path.glob("..version-*")] == [(tmp_path / NEWEST).resolve().name]


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    replace_all(tmp_path, {"a": b"1"})

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / NEWEST).resolve().stat().st_mode & 0o777 == 0o700


def test_files_from_before_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0")

    replace_all(tmp_path, {"a": b"1"})

    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"1"


def test_what_a_writer_left_that_was_killed_is_cleared_away(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "..version-left").mkdir()
    (tmp_path / "..version-left" / "a").write_bytes(b"half")
    (tmp_path / f"{NEWEST}_tmp").symlink_to("..version-left")

    write(tmp_path, 2)

    assert len(list(tmp_path.glob("..version-*"))) == 1
    assert (tmp_path / "a").read_bytes() == b"a000002"


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, 1)

    with pytest.raises(OSError, match="name"):
        replace_all(tmp_path, {"a": b"2", "x" * 300: b"2"})

    assert (tmp_path / "a").read_bytes() == b"a000001"
    assert len(list(tmp_path.glob("..version-*"))) == 1


def _write_many(folder: Path, versions: int) -> None:
    for version in range(versions):
        with locked(folder):
            write(folder, version)


def test_a_reader_never_sees_two_versions_at_once(tmp_path: Path) -> None:
    write(tmp_path, 0)
    group = FileGroup(*(tmp_path / name for name in NAMES))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, 200)) for _ in range(2)]
    for writer in writers:
        writer.start()

    seen = set()
    while any(writer.is_alive() for writer in writers):
        try:
            _, contents = group.read()
        except OSError:  # it was replaced eight times while it was read; who reads asks again
            continue
        seen.add(contents)

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(seen) > 10
    assert all(len({content[1:] for content in contents}) == 1 for contents in seen)


def test_a_stamp_changes_with_every_version(tmp_path: Path) -> None:
    write(tmp_path, 1)
    group = FileGroup(*(tmp_path / name for name in NAMES))
    before, _ = group.read()

    write(tmp_path, 2)

    assert group.stamp() != before


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileGroup(tmp_path / "nowhere").read()


def _note(folder: Path) -> None:
    with locked(folder):
        (folder / "after").write_bytes((folder / "before").read_bytes())


def test_one_writer_waits_for_the_other(tmp_path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=_note, args=(tmp_path,))
    with locked(tmp_path):
        other.start()
        other.join(1)
        waited = other.is_alive()
        (tmp_path / "before").write_bytes(b"done")
    other.join()

    assert waited
    assert (other.exitcode, (tmp_path / "after").read_bytes()) == (0, b"done")
