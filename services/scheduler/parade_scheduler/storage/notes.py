"""What is noted beside a run in the transaction that writes it, so that others find it: who waits for an event, who is in a group. Pure."""

from collections.abc import Iterator
from typing import Final

from parade_scheduler.model import Kind, RunState, Task, TaskState
from parade_scheduler.storage.approval_notes import approval_note
from parade_scheduler.storage.entries import Change
from parade_scheduler.storage.statement import Row, Statement

AWAIT_EVENT: Final = Statement(
    "INSERT INTO awaited_event (run, step, task, namespace, type, term) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
NO_LONGER_AWAIT_EVENT: Final = Statement("DELETE FROM awaited_event WHERE run = ? AND step = ? AND task = ?")
JOIN_GROUP: Final = Statement(
    "INSERT INTO group_member (namespace, name, run, workflow, version, rank, admitted, cancelled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
LEAVE_GROUP: Final = Statement("DELETE FROM group_member WHERE namespace = ? AND name = ? AND run = ?")


def notes_of(change: Change) -> Iterator[tuple[Statement, Row]]:
    """Yields what is to be noted of a change. Most changes have nothing; this is on the way of every step."""
    run = change.run
    for task in change.tasks.values():
        if task.kind is Kind.EVENT:
            yield _awaiting(run.namespace, run.id, task)
        elif task.kind is Kind.APPROVAL:
            yield from approval_note(change, task)
    if run.group:
        if run.ended:
            yield LEAVE_GROUP, (run.namespace, run.group, run.id)
        elif change.is_new:
            admitted = run.state is not RunState.QUEUED
            yield JOIN_GROUP, (run.namespace, run.group, run.id, run.workflow, run.version, -run.priority, admitted, False)


def _awaiting(namespace: str, run: str, task: Task) -> tuple[Statement, Row]:
    if task.state is not TaskState.WAITING:
        return NO_LONGER_AWAIT_EVENT, (run, task.step, task.index)
    wanted = task.arguments.value if task.arguments is not None else None
    term = str(wanted.get("term", "")) if isinstance(wanted, dict) else ""
    return AWAIT_EVENT, (run, task.step, task.index, namespace, task.name, term)
