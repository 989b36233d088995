"""How long a run's history may grow: a run that goes round in circles is cancelled before it fills the disk."""

from collections.abc import Callable

from parade_scheduler.decider import CancelRequested, Occurrence
from parade_scheduler.storage.batch import Batch


class HistoryLimit:
    """Watches what is written, and cancels runs whose histories have become too long."""

    def __init__(self, max_history: int, report: Callable[[str, Occurrence], None]) -> None:
        """Takes how many events a history may have, and what lets something happen to a run."""
        self._max_history = max_history
        self._report = report
        self._cancelled: set[str] = set()
        """Those that were told and have not ended; what undoes them is written to their histories as well."""

    def written(self, batch: Batch) -> None:
        """Looks at a transaction that is committed."""
        for run, last_sequence, *_ in batch.entries:
            if last_sequence >= self._max_history:
                self._cancel(run, batch)

    def _cancel(self, run: str, batch: Batch) -> None:
        if any(row.id == run and row.ended is not None for row in batch.runs):
            self._cancelled.discard(run)
        elif run not in self._cancelled:
            self._cancelled.add(run)
            self._report(run, CancelRequested(f"its history has reached {self._max_history:,} events, which is the limit"))
