"""Between the model and the rows of the store, both ways; pure."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row

from parade.wire.errors import Reason, Violation
from parade_scheduler.document import Document
from parade_scheduler.model import (
    EventType,
    Failure,
    Progress,
    Run,
    RunEvent,
    RunState,
    Step,
    StepState,
    Task,
    TaskState,
    Workflow,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(time: datetime | None) -> int | None:
    """Writes a time."""
    return None if time is None else (time - _EPOCH) // timedelta(microseconds=1)


def to_time(micros: int | None) -> datetime | None:
    """Reads a time."""
    return None if micros is None else _time(micros)


def workflow_row(workflow: Workflow) -> dict[str, Any]:
    """Writes a workflow."""
    return {
        "namespace": workflow.namespace,
        "name": workflow.name,
        "version": workflow.version,
        "hash": workflow.hash,
        "description": workflow.description,
        "source": workflow.source,
        "created": to_micros(workflow.create_time),
    }


def workflow_of(row: Row[Any]) -> Workflow:
    """Reads a workflow."""
    return Workflow(row.namespace, row.name, row.version, row.hash, row.description, row.source, _time(row.created))


def run_row(run: Run) -> dict[str, Any]:
    """Writes a run."""
    return {
        "id": run.id,
        "namespace": run.namespace,
        "workflow": run.workflow,
        "version": run.version,
        "state": run.state.value,
        "inputs": run.inputs.data,
        "outputs": _bytes(run.outputs),
        "failure": _failure_text(run.failure),
        "labels": orjson.dumps(dict(run.labels)).decode(),
        "principal": run.principal,
        "request_id": run.request_id or None,
        "trace_parent": run.trace_parent,
        "created": to_micros(run.create_time),
        "deadline": to_micros(run.deadline),
        "ended": to_micros(run.end_time),
        "last_sequence": run.last_sequence,
    }


def run_of(row: Row[Any]) -> Run:
    """Reads a run; one that is read without its values has empty inputs and no outputs."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public way to a row's names
    return Run(
        id=row.id,
        namespace=row.namespace,
        workflow=row.workflow,
        version=row.version,
        inputs=Document(values.get("inputs", b"{}")),
        create_time=_time(row.created),
        state=RunState(row.state),
        labels=orjson.loads(row.labels),
        principal=row.principal,
        request_id=row.request_id or "",
        trace_parent=row.trace_parent,
        deadline=to_time(row.deadline),
        outputs=_document(values.get("outputs")),
        failure=_failure(row.failure),
        end_time=to_time(row.ended),
        last_sequence=row.last_sequence,
    )


def step_row(run: str, step: Step) -> dict[str, Any]:
    """Writes a step of a run, without its output."""
    return {
        "run": run,
        "id": step.id,
        "position": step.position,
        "call": step.call,
        "state": step.state.value,
        "tasks": step.tasks,
        "tasks_succeeded": step.tasks_succeeded,
        "tasks_failed": step.tasks_failed,
        "attempts": step.attempts,
        "items": _bytes(step.items),
        "failure": _failure_text(step.failure),
        "started": to_micros(step.start_time),
        "ended": to_micros(step.end_time),
    }


def step_of(row: Row[Any], outputs: list[Document]) -> Step:
    """Reads a step; `outputs` are those of its tasks, in their order."""
    items = _document(row.items)
    output = None
    if row.state == StepState.SUCCEEDED:
        output = Document.joined(outputs) if items is not None else outputs[0]
    return Step(
        id=row.id,
        position=row.position,
        call=row.call,
        state=StepState(row.state),
        tasks=row.tasks,
        tasks_succeeded=row.tasks_succeeded,
        tasks_failed=row.tasks_failed,
        attempts=row.attempts,
        items=items,
        output=output,
        failure=_failure(row.failure),
        start_time=to_time(row.started),
        end_time=to_time(row.ended),
    )


def task_row(run: str, task: Task) -> dict[str, Any]:
    """Writes a task of a run."""
    return {
        "run": run,
        "step": task.step,
        "index": task.index,
        "state": task.state.value,
        "attempt": task.attempt,
        "started": to_micros(task.started),
        "failures": task.failures,
        "outages": task.outages,
        "outage_started": to_micros(task.outage_started),
        "uncertain": task.uncertain,
        "retry_time": to_micros(task.retry_time),
        "instance_id": task.instance_id,
        "output": _bytes(task.output),
        "failure": _failure_text(task.failure),
    }


def task_of(row: Row[Any]) -> Task:
    """Reads a task."""
    return Task(
        step=row.step,
        index=row._mapping["index"],  # noqa: SLF001 - `row.index` is the method of a tuple
        state=TaskState(row.state),
        attempt=row.attempt,
        started=_time(row.started),
        failures=row.failures,
        outages=row.outages,
        outage_started=to_time(row.outage_started),
        uncertain=row.uncertain,
        retry_time=to_time(row.retry_time),
        instance_id=row.instance_id,
        output=_document(row.output),
        failure=_failure(row.failure),
    )


def event_row(run: str, event: RunEvent) -> dict[str, Any]:
    """Writes an event, without its output."""
    facts = {
        "tasks": event.tasks or None,
        "instance_id": event.instance_id or None,
        "progress": None if event.progress is None else [event.progress.fraction, event.progress.message],
        "failure": None if event.failure is None else _failure_facts(event.failure),
        "retry_time": to_micros(event.retry_time),
        "message": event.message or None,
    }
    return {
        "run": run,
        "sequence": event.sequence,
        "time": to_micros(event.time),
        "type": event.type.value,
        "step": event.step,
        "task": event.task,
        "attempt": event.attempt,
        "facts": orjson.dumps({name: value for name, value in facts.items() if value is not None}).decode(),
    }


def event_of(row: Row[Any], output: Document | None) -> RunEvent:
    """Reads an event; `output` is that of what it tells of."""
    facts: dict[str, Any] = orjson.loads(row.facts)
    progress, failure = facts.get("progress"), facts.get("failure")
    return RunEvent(
        sequence=row.sequence,
        time=_time(row.time),
        type=EventType(row.type),
        step=row.step,
        task=row.task,
        attempt=row.attempt,
        tasks=facts.get("tasks", 0),
        instance_id=facts.get("instance_id", ""),
        progress=None if progress is None else Progress(*progress),
        output=output,
        failure=None if failure is None else _failure_of(failure),
        retry_time=to_time(facts.get("retry_time")),
        message=facts.get("message", ""),
    )


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _bytes(document: Document | None) -> bytes | None:
    return None if document is None else document.data


def _document(data: bytes | None) -> Document | None:
    return None if data is None else Document(data)


def _failure_text(failure: Failure | None) -> str | None:
    return None if failure is None else orjson.dumps(_failure_facts(failure)).decode()


def _failure(text: str | None) -> Failure | None:
    return None if text is None else _failure_of(orjson.loads(text))


def _failure_facts(failure: Failure) -> dict[str, Any]:
    return {
        "reason": failure.reason.value,
        "message": failure.message,
        "violations": [[violation.field, violation.description, violation.line] for violation in failure.violations],
        "metadata": dict(failure.metadata),
        "retryable": failure.retryable,
    }


def _failure_of(facts: dict[str, Any]) -> Failure:
    return Failure(
        Reason(facts["reason"]),
        facts["message"],
        tuple(Violation(*violation) for violation in facts["violations"]),
        facts["metadata"],
        facts["retryable"],
    )
