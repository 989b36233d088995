"""Artifacts as files: content under its SHA-256, a folder a namespace. It knows the disk, and neither RPCs nor the event loop.

`<folder>/<namespace>/<two digits>/<64 digits>` holds the bytes, the file beside it with `.type` their media type, and `_uploads` what is
still arriving. A file appears under its name by a rename of what has reached the disk, so it is whole or not there. Several processes
may share a folder: names change under a lock of the file system, and each upload holds a lock while its process lives.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import NAME
from parade_chassis.quotas import Quotas
from parade_gateway.artifact_usage import Usage
from parade_gateway.quotas import GatewayLimits

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(\s*;\s*[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+-]+){0,4}")
DEFAULT_MEDIA_TYPE = "application/octet-stream"
PIECE_BYTES = 256 * 1024
"""How much is read or written at once."""
SWEEP_ENTRIES = 1000
"""How many files one step of a sweep looks at."""

_UPLOADS = "_uploads"  # no namespace begins with an underscore
_LOCK = "_lock"
_TYPE = ".type"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Reference:
    """What names an artifact, or what is said of one that is to come: then an empty digest and a size of 0 say nothing."""

    digest: str = ""
    size: int = 0
    media_type: str = ""


class TooLargeError(ParadeError):
    """An artifact is larger than may be stored.

    Attributes:
        limit: How many bytes are allowed.
    """

    def __init__(self, limit: int) -> None:
        """Takes how many bytes are allowed."""
        super().__init__(Reason.INVALID_ARGUMENTS, f"an artifact may have {limit} bytes; this one has more")
        self.limit = limit


class ArtifactStore:
    """The artifacts of every namespace. Its methods block; each may be called from any thread."""

    def __init__(self, folder: Path, limit: int, quotas: Quotas[GatewayLimits]) -> None:
        """Makes the folder where it does not exist, and removes what processes that were killed left of their uploads.

        Args:
            folder: Where the files lie.
            limit: How many bytes one artifact may have.
            quotas: How much each namespace may have.
        """
        self._folder = folder
        self._uploads = folder / _UPLOADS
        self.limit = limit
        self.usage = Usage(quotas, self._measured)
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._uploads.iterdir():
            _remove_unless_held(left)

    def find(self, namespace: str, announced: Reference) -> Reference | None:
        """Returns an artifact that is stored already, which counts as stored now; None where it is not."""
        if not announced.digest:
            return None
        path = self._path(namespace, announced.digest)
        with self._locked():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                return None
            if announced.size not in (0, size):
                raise invalid([Violation("artifact.size", f"is {announced.size}, and the artifact of this digest has {size} bytes")])
            os.utime(path)
        return Reference(announced.digest, size, self._media_type(path))

    def begin(self, namespace: str, announced: Reference) -> "Upload":
        """Begins to store an artifact.

        Raises:
            ParadeError: INVALID_ARGUMENTS where what is said of it cannot be; NO_CAPACITY where the disk has no room, or the namespace has
                as much as it may.
        """
        self._path(namespace, announced.digest or f"sha256:{'0' * 64}")
        if announced.media_type and not MEDIA_TYPE.fullmatch(announced.media_type):
            raise invalid([Violation("artifact.media_type", 'must be a media type, as "text/csv"')])
        if announced.size > self.limit:
            raise TooLargeError(self.limit)
        self.usage.demand(namespace, announced.size)
        with _room():
            if announced.size > shutil.disk_usage(self._folder).free:
                raise OSError(errno.ENOSPC, "the artifact is larger than what is free")
            return Upload(self, namespace, announced, self._uploads / secrets.token_hex(16))

    def open(self, namespace: str, digest: str) -> "Download":
        """Opens an artifact.

        Raises:
            ParadeError: NOT_FOUND where the namespace has none of this digest; INVALID_ARGUMENTS where it is no digest.
        """
        path = self._path(namespace, digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise ParadeError(Reason.NOT_FOUND, f"there is no artifact {digest}") from None
        return Download(descriptor, Reference(digest, os.fstat(descriptor).st_size, self._media_type(path)))

    def sweep(self, before: float) -> Iterator[int]:
        """Removes what was last stored before a time, in seconds since 1970. Yields how many were removed, once every so many files."""
        removed = 0
        for seen, path in enumerate(self._files(), 1):
            removed += self._expire(path, before)
            if seen % SWEEP_ENTRIES == 0:
                yield removed
                removed = 0
        yield removed

    def keep(self, namespace: str, digest: str, media_type: str, upload: Path) -> None:
        """Gives an upload that is whole and on the disk its name."""
        path = self._path(namespace, digest)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kind = upload.with_suffix(_TYPE)
        try:
            _write(kind, (media_type or DEFAULT_MEDIA_TYPE).encode())
            with self._locked():
                if not path.exists():
                    self.usage.changed(namespace, 1, upload.stat().st_size)
                kind.replace(path.with_suffix(_TYPE))
                upload.replace(path)
            _sync_folder(path.parent)
        finally:
            kind.unlink(missing_ok=True)

    def _path(self, namespace: str, digest: str) -> Path:
        match = DIGEST.fullmatch(digest)
        if match is None:
            raise invalid([Violation("digest", 'must be "sha256:" and 64 hexadecimal digits')])
        if not NAME.fullmatch(namespace):
            raise ParadeError(Reason.INVALID_ARGUMENTS, "an artifact belongs to a namespace, and none was said")
        name = match.group(1)
        return self._folder / namespace / name[:2] / name

    def _media_type(self, path: Path) -> str:
        try:
            return path.with_suffix(_TYPE).read_text()
        except FileNotFoundError:
            return DEFAULT_MEDIA_TYPE

    def _files(self) -> Iterator[Path]:
        for namespace in self._folder.iterdir():
            if NAME.fullmatch(namespace.name):
                for shard in namespace.iterdir():
                    yield from shard.iterdir()

    def _measured(self, namespace: str) -> tuple[int, int]:
        artifacts = stored = 0
        with suppress(FileNotFoundError):
            for shard in os.scandir(self._folder / namespace):
                for file in os.scandir(shard):
                    if not file.name.endswith(_TYPE):
                        with suppress(FileNotFoundError):  # it was removed meanwhile
                            stored += file.stat().st_size
                            artifacts += 1
        return artifacts, stored

    def _expire(self, path: Path, before: float) -> int:
        with self._locked(), suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                if path.suffix != _TYPE:
                    self.usage.changed(path.parent.parent.name, -1, -path.stat().st_size)
                    path.unlink()
                    path.with_suffix(_TYPE).unlink(missing_ok=True)
                    return 1
                if not path.with_suffix("").exists():
                    path.unlink()
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps every other thread and process from giving and taking names."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class Upload:
    """An artifact that is arriving. Ended by `finish` or `discard`, which may overtake a `write` in another thread."""

    def __init__(self, store: ArtifactStore, namespace: str, announced: Reference, path: Path) -> None:
        """Takes what is known and opens the file; made by `ArtifactStore.begin`."""
        self._store = store
        self._namespace = namespace
        self._announced = announced
        self._path = path
        self._hash = sha256()
        self._size = 0
        self._taken = 0
        """The bytes that the namespace's room was taken for."""
        self._lock = threading.Lock()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Adds bytes.

        Raises:
            ParadeError: INVALID_ARGUMENTS where they are too many; NO_CAPACITY where the disk is full, or the namespace has as many as it
                may.
        """
        with self._lock, _room():
            if self._descriptor < 0:
                return
            self._store.usage.take(self._namespace, len(data))
            self._taken += len(data)
            self._size += len(data)
            if self._size > self._store.limit:
                raise TooLargeError(self._store.limit)
            if self._announced.size and self._size > self._announced.size:
                raise invalid([Violation("artifact.size", f"is {self._announced.size}, and more bytes came")])
            self._hash.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def finish(self) -> Reference:
        """Stores what came.

        Raises:
            ParadeError: INVALID_ARGUMENTS where it is not what was said; NO_CAPACITY where the disk is full.
        """
        digest = f"sha256:{self._hash.hexdigest()}"
        faults = []
        if self._announced.size not in (0, self._size):
            faults.append(Violation("artifact.size", f"is {self._announced.size}, and {self._size} bytes came"))
        if self._announced.digest not in ("", digest):
            faults.append(Violation("artifact.digest", f"is {self._announced.digest}, and what came has {digest}"))
        if faults:
            raise invalid(faults)
        with self._lock, _room():
            os.fsync(self._descriptor)
            self._store.keep(self._namespace, digest, self._announced.media_type, self._path)
            self._close()
        return Reference(digest, self._size, self._announced.media_type or DEFAULT_MEDIA_TYPE)

    def discard(self) -> None:
        """Leaves nothing behind. After `finish` it does nothing."""
        with self._lock:
            if self._descriptor >= 0:
                self._path.unlink(missing_ok=True)
                self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._store.usage.give_back(self._namespace, self._taken)


class Download:
    """An artifact that is being read. Ended by `close`, which may overtake a `read` in another thread."""

    def __init__(self, descriptor: int, reference: Reference) -> None:
        """Takes the open file; made by `ArtifactStore.open`."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self.reference = reference

    def read(self, offset: int) -> bytes:
        """Returns the next bytes from an offset on; none at the end."""
        with self._lock:
            return os.pread(self._descriptor, PIECE_BYTES, offset) if self._descriptor >= 0 else b""

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


@contextmanager
def _room() -> Iterator[None]:
    """Says by type that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ParadeError(Reason.NO_CAPACITY, "the gateway's disk is full", metadata={"retry_after": "60s"}) from error


def _remove_unless_held(path: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
