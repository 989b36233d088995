"""What the table of approvals is told in the transaction that makes a task wait for one, or end. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import orjson

from parade_scheduler.approval import Approval, ApprovalState
from parade_scheduler.model import EventType, RunEvent, Task, TaskState
from parade_scheduler.storage.entries import Change
from parade_scheduler.storage.records import micros_of, to_micros
from parade_scheduler.storage.statement import Row, Statement

ASK: Final = Statement(
    "INSERT INTO approval (run, step, task, namespace, workflow, state, created, expires, resolver, note, message, approvers)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?) ON CONFLICT DO NOTHING"
)
_ENDS: Final = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED, EventType.TASK_CANCELLED})
RESOLVE: Final = Statement(
    "UPDATE approval SET state = ?, resolved = ?, resolver = ?, note = ? WHERE run = ? AND step = ? AND task = ? AND state = 'PENDING'"
)


def approval_note(change: Change, task: Task) -> Iterator[tuple[Statement, Row]]:
    """Yields what is to be noted of a task that is an APPROVAL and changed."""
    if task.state is TaskState.WAITING:
        yield ASK, _asked(asked_of(change, task))
    elif task.state is not TaskState.RUNNING:
        event = _end(change, task)
        note = event.message if event is not None and task.by else ""
        yield (
            RESOLVE,
            (_state(task).value, micros_of(_time(change, task, event)), task.by, note, change.run.id, task.step, task.index),
        )


def asked_of(change: Change, task: Task) -> Approval:
    """Returns the approval that a task waits for: whom it asks and what it tells them is among its arguments."""
    told: Any = task.arguments.value if task.arguments is not None else {}
    approvers = told.get("approvers")
    return Approval(
        change.run.namespace,
        change.run.id,
        task.step,
        task.index,
        change.run.workflow,
        str(told.get("message") or "").replace("\x00", ""),  # which PostgreSQL keeps in no text
        tuple(map(str, approvers)) if isinstance(approvers, list) else (),
        ApprovalState.PENDING,
        task.started,
        task.due,
    )


def _asked(approval: Approval) -> Row:
    return (
        approval.run,
        approval.step,
        approval.task,
        approval.namespace,
        approval.workflow,
        approval.state.value,
        micros_of(approval.create_time),
        to_micros(approval.expire_time),
        approval.message,
        orjson.dumps(approval.approvers).decode(),
    )


def _state(task: Task) -> ApprovalState:
    if not task.by:
        return ApprovalState.WITHDRAWN
    return ApprovalState.APPROVED if task.state is TaskState.SUCCEEDED else ApprovalState.REJECTED


def _end(change: Change, task: Task) -> RunEvent | None:
    """Returns the event that tells of a task's end."""
    found = (event for event in change.events if event.type in _ENDS and event.step == task.step and event.task == task.index)
    return next(found, None)


def _time(change: Change, task: Task, event: RunEvent | None) -> datetime:
    if event is not None:
        return event.time
    return change.events[-1].time if change.events else task.started
