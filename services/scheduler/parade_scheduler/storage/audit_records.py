"""What the audit log is told in the transaction that stores changes to runs: what people and programs did, not what followed. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from parade.wire.audit import Kind
from parade_chassis.audit import Record
from parade_scheduler.model import EventType, Run, RunEvent
from parade_scheduler.model import Kind as StepKind
from parade_scheduler.storage.entries import Change

SERVICE: Final = "/parade.v1.SchedulerService/"
_START: Final = f"{SERVICE}StartRun"
_ACTIONS: Final = {
    EventType.RUN_PAUSED: f"{SERVICE}PauseRun",
    EventType.RUN_RESUMED: f"{SERVICE}ResumeRun",
    EventType.RUN_CANCELLING: f"{SERVICE}CancelRun",
    EventType.SIGNAL_RECEIVED: f"{SERVICE}SignalRun",
}
"""What somebody did where they stand in an event of the run itself."""
_RESOLVED: Final = frozenset({EventType.TASK_SUCCEEDED, EventType.TASK_FAILED})


def records_of(changes: Iterable[Change]) -> list[Record]:
    """Returns what is to be recorded of some changes; of most there is nothing, and this is on the way of every step."""
    records: list[Record] = []
    started: dict[tuple[str, str, str, int, str], list[Run]] = {}
    for change in changes:
        run = change.run
        if change.is_new and run.parent is None:
            started.setdefault((run.principal, run.namespace, run.workflow, run.version, run.origin), []).append(run)
        for event in change.events:
            if event.by:
                records += _done(change, event)
    records += map(_start, started.values())
    return records


def _start(runs: Sequence[Run]) -> Record:
    # One entry for all that are alike and stored together: an entry for each would cost a busy scheduler more than the runs themselves.
    first = runs[0]
    facts = {"runs": [run.id for run in runs]} | ({"origin": first.origin} if first.origin else {})
    resource = f"workflows/{first.workflow}@{first.version}"
    return Record(Kind.CHANGE, _START, first.principal, first.namespace, resource, first.create_time, facts)


def _done(change: Change, event: RunEvent) -> Iterator[Record]:
    run = change.run
    resource = f"runs/{run.id}"
    action = _ACTIONS.get(event.type)
    if action is not None:
        facts = {"signal" if event.type is EventType.SIGNAL_RECEIVED else "reason": event.message} if event.message else {}
        yield Record(Kind.CHANGE, action, event.by, run.namespace, resource, event.time, facts)
    elif event.type in _RESOLVED:
        task = change.tasks.get((event.step, event.task))
        if task is not None and task.kind is StepKind.APPROVAL:
            resolved = {"step": event.step, "task": event.task, "approved": event.type is EventType.TASK_SUCCEEDED, "note": event.message}
            yield Record(Kind.APPROVAL, f"{SERVICE}ResolveApproval", event.by, run.namespace, resource, event.time, resolved)
