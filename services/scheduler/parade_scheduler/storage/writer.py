"""What a writer of batches is, and how its work can fail."""

from collections.abc import Mapping
from typing import Protocol

from parade_scheduler.storage.batch import Batch


class TakenError(Exception):
    """New runs could not be written because there are others with their id, or with their namespace and request. Nothing was written."""

    def __init__(self, runs: frozenset[str]) -> None:
        """Takes the ids of the runs that were to be new."""
        super().__init__(f"there are others in the place of: {', '.join(sorted(runs))}")
        self.runs = runs


class LostError(Exception):
    """Some shards are no longer ours. Nothing was written."""

    def __init__(self, shards: frozenset[int]) -> None:
        """Takes the shards."""
        super().__init__(f"lost the shards {', '.join(map(str, sorted(shards)))}")
        self.shards = shards


class Writer(Protocol):
    """Writes batches, one at a time."""

    async def write(self, batch: Batch, epochs: Mapping[int, int] | None) -> None:
        """Writes everything or nothing; see `Store.write`."""
        ...

    async def close(self) -> None:
        """Closes the connection."""
        ...


def check_changed(changed: int, expected: int) -> None:
    """Raises where rows that must be there are not."""
    if changed != expected:
        raise RuntimeError(f"{expected} runs were to be written and the database has {changed} of them")
