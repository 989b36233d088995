"""The rows that one transaction of the writer inserts, updates and deletes; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from parade_chassis.audit import Record
from parade_scheduler.storage.audit_records import records_of
from parade_scheduler.storage.entries import Change, entry_of
from parade_scheduler.storage.notes import notes_of
from parade_scheduler.storage.rows import RunRow, RunUpdate, run_row, run_update, terms_of
from parade_scheduler.storage.statement import Row, Statement

EntryRow = tuple[str, int, int, str, bytes]
"""Run, last sequence, number, facts, documents."""
TermRow = tuple[str, str, str]
"""Namespace, term, run."""


@dataclass(slots=True)
class Batch:
    """Rows, each kind in the order of the columns of its table."""

    new_runs: list[RunRow] = field(default_factory=list)
    terms: list[TermRow] = field(default_factory=list)
    runs: list[RunUpdate] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    """The ids of commands that are deleted."""
    notes: dict[Statement, list[Row]] = field(default_factory=dict)
    """What else is executed, in this order: for each statement the rows of its values."""
    audit: list[Record] = field(default_factory=list)
    """What the audit log is told, as the last act."""


def batch_of(changes: Sequence[Change]) -> Batch:
    """Returns what writes some changes."""
    batch = Batch()
    for change in changes:
        run = change.run
        if change.is_new:
            batch.new_runs.append(run_row(change))
            batch.terms += [(run.namespace, term, run.id) for term in terms_of(run)]
        elif change.row_changed:
            batch.runs.append(run_update(change))
        entry = entry_of(change)
        batch.entries.append((run.id, entry.last_sequence, entry.number, entry.facts, entry.documents))
        batch.settled += change.commands
        for statement, row in notes_of(change):
            batch.notes.setdefault(statement, []).append(row)
    batch.audit = records_of(changes)
    # Two replicas whose new runs have the same request meet in one order, so that neither waits for the other.
    batch.new_runs.sort(key=lambda row: (row.namespace, row.request_id or "", row.id))
    for rows in batch.notes.values():
        rows.sort()
    return batch
