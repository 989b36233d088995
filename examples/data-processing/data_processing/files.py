"""Files that appear whole or not at all."""

import hashlib
import os
from pathlib import Path
from uuid import uuid4


def write_atomically(path: Path, content: bytes) -> None:
    """Puts a file in place in one move, so that no reader ever sees half of it; a repeat leaves the same file.

    Args:
        path: The file. Its folder is made where there is none.
        content: All of it.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def digest(content: bytes) -> str:
    """Returns the SHA-256 of the content, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_checked(path: Path, sha256: str) -> bytes:
    """Reads a file of the workspace and makes sure that it is the one that was meant.

    Raises:
        ValueError: It is gone, or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} is gone: start the run again, and leave its folder alone while it goes on") from None
    if digest(content) != sha256:
        raise ValueError(f"{path} was changed after it was written: start the run again")
    return content
