"""The runs that tasks start."""

from hashlib import blake2b
from typing import Final

_PREFIX: Final = "run"
_DIGITS: Final = 2


def child_id(parent: str, step: str, task: int, attempt: int) -> str:
    """Returns the id of the run that an attempt starts: always the same, in the shard of its parent, and no longer for a child of a child.

    Args:
        parent: The id of the run that the task belongs to: `run-<body>-<shard>`.
        step: The step of the task.
        task: Its index.
        attempt: Which attempt.
    """
    digest = blake2b(f"{parent}/{step}/{task}/{attempt}".encode(), digest_size=6).hexdigest()
    parts = parent.removeprefix(f"{_PREFIX}-").split("-")
    shard = parts[-1] if len(parts) > 1 and len(parts[-1]) == _DIGITS and parts[-1].isdecimal() else ""
    return "-".join([_PREFIX, parts[0], digest, shard] if shard else [_PREFIX, parts[0], digest])
