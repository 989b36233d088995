"""Files that belong together: read as they were at one moment, and replaced at one moment.

They are replaced as Kubernetes replaces those of a `Secret` in a volume: each version is a folder, `..data` links to the newest, and every
file links to `..data/<file>`, so that one rename changes them all.
Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

Stamp = tuple[tuple[int, int, int], ...]
"""What tells a version of files from another: when each was changed, its inode and its size."""

NEWEST = "..data"
"""The link to the newest version."""
_TRIES = 8
"""How often files are read that change while they are read; each time they were replaced once more."""
_LOCK = ".lock"
_VERSION = "..version-"


class FileGroup:
    """Several files that are read together."""

    def __init__(self, *paths: Path) -> None:
        """Takes the files, and reads none."""
        self._paths = paths

    def stamp(self) -> Stamp:
        """Returns what changes with every change of the files.

        Raises:
            OSError: A file is not there.
        """
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in map(os.stat, self._paths))

    def read(self) -> tuple[Stamp, tuple[bytes, ...]]:
        """Returns what the files held at one moment, and their stamp.

        Who replaces them one after the other may still be at it: that they fit together is for the caller to see.

        Raises:
            OSError: A file cannot be read.
        """
        failure = OSError(f"{self._paths[0].parent} is replaced again and again")
        for _ in range(_TRIES):
            try:
                before = self.stamp()
                contents = tuple(path.read_bytes() for path in self._paths)
                # Each was what it is now since before the first was read: so there was a moment at which all of them were.
                if self.stamp() == before:
                    return before, contents
            except FileNotFoundError as error:  # a version that was looked up and has been removed since
                failure = error
        raise failure


def replace_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replaces files of a folder, all of them at once or none; others that were replaced so before stay as they are.

    Only their owner can read them. It is for one writer at a time; see `locked`.

    Args:
        folder: The folder, which must exist.
        files: What the files are to hold, by name.
    """
    newest = folder / NEWEST
    version = Path(tempfile.mkdtemp(prefix=_VERSION, dir=folder))
    try:
        kept = {path.name: path.read_bytes() for path in newest.iterdir()} if newest.is_dir() else {}
        for name, content in {**kept, **files}.items():
            _write(version / name, content)
        _sync(version)
        _link(version.name, newest)
    except BaseException:
        shutil.rmtree(version, ignore_errors=True)
        raise
    for name in files:
        path = folder / name
        if not path.is_symlink():
            _link(f"{NEWEST}/{name}", path)
    _sync(folder)
    for path in folder.glob(f"{_VERSION}*"):  # the one before, and those of writers that were killed
        if path.is_dir() and not path.is_symlink() and path != version:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other writers of a folder waiting while the block runs."""
    import fcntl  # not on every system that only reads

    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(target: str, path: Path) -> None:
    temporary = path.with_name(f"{path.name}_tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()  # of a writer that was killed
    temporary.symlink_to(target)
    temporary.replace(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
