"""Tasks that wait: for a time, an approval, a signal, an event."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.decider import outcomes
from parade_scheduler.decider.arguments import task_bindings
from parade_scheduler.decider.decisions import SetTimer
from parade_scheduler.decider.occurrences import ApprovalResolved, EventReceived, SignalReceived, WaitDue
from parade_scheduler.decider.takers import MAX_SIGNALS, SIGNALS
from parade_scheduler.decider.transition import Transition
from parade_scheduler.document import Document, type_name
from parade_scheduler.expression import correlation
from parade_scheduler.language import StepDefinition, computed
from parade_scheduler.language.definition import Approval, Event, Signal, Timer
from parade_scheduler.language.duration import MAX_SECONDS, seconds
from parade_scheduler.model import EventType, Failure, Kind, RunState, Task, TaskState

MAX_MESSAGE: Final = 10_000
"""How many characters those are told at most who are asked for an approval."""
_OPEN: Final = frozenset({RunState.QUEUED, RunState.RUNNING, RunState.PAUSED})
"""Where a signal may still be taken."""


def begin(transition: Transition, definition: StepDefinition, index: int) -> None:
    """Begins a wait; what is there already is taken at once."""
    step, wait = definition.id, definition.wait
    now = transition.now
    name = note = ""
    asked: Document | None = None
    try:
        match wait:
            case Timer():
                due: datetime | None = _time(wait, _bindings(transition, step, index), now, f"steps.{step}.wait.timer")
            case _:
                due = None if definition.timeout is None else now + timedelta(seconds=definition.timeout)
        match wait:
            case Approval():
                note = _text(wait.message.fill(_bindings(transition, step, index), f"steps.{step}.wait.approval.message"))
                asked = Document.of({"approvers": wait.approvers, "message": note})
            case Signal():
                name = note = wait.name
            case Event():
                name = note = wait.type
                asked = _wanted(wait, _bindings(transition, step, index))
    except ParadeError as error:
        outcomes.refuse(transition, step, index, definition.kind, Failure.of(error))
        return
    task = transition.new_task(Task(step, index, TaskState.WAITING, 1, now, kind=definition.kind, due=due, name=name, arguments=asked))
    transition.event(EventType.TASK_WAITING, step=step, task=index, attempt=1, retry_time=due, message=note)
    kept = transition.take_signal(name) if definition.kind is Kind.SIGNAL else None
    if kept is not None and kept.output is not None:
        outcomes.succeed(transition, task, kept.output, by=kept.by)
    elif due is not None:
        transition.effect(SetTimer(due, WaitDue(step, index, due)))


def end(transition: Transition, task: Task) -> None:
    """Ends a wait whose time has come."""
    if task.kind is Kind.TIMER:
        outcomes.succeed(transition, task, Document(b"null"))
        return
    awaited = {
        Kind.APPROVAL: "nobody approved or rejected it",
        Kind.SIGNAL: f"no signal `{task.name}` came",
        Kind.EVENT: f"no event `{task.name}` that it waits for came",
    }[task.kind]
    timeout = transition.execution.definition_for(task).timeout or 0.0
    outcomes.fail(transition, task, Failure(Reason.DEADLINE_EXCEEDED, f"{awaited} within {timeout:g}s"))


def signalled(transition: Transition, occurrence: SignalReceived) -> None:
    """Gives a signal to the task that waits for it, or keeps it. One whose request is known was sent again and changes nothing."""
    execution = transition.execution
    if execution.run.state not in _OPEN or occurrence.request_id in execution.signals.requests:
        return
    taker = execution.takers.first(Kind.SIGNAL, occurrence.name, execution.steps)
    if taker is None and execution.signals_waiting >= MAX_SIGNALS:
        return
    transition.event(EventType.SIGNAL_RECEIVED, message=occurrence.name, output=occurrence.value, by=occurrence.by)
    if taker is not None:
        step, index = taker
        execution.signals.note_request(occurrence.request_id)
        task = transition.task(execution.tasks[step][index], request_id=occurrence.request_id)
        outcomes.succeed(transition, task, occurrence.value, by=occurrence.by)
        return
    transition.keep_signal(
        Task(
            SIGNALS,
            execution.signals.count,
            TaskState.WAITING,
            0,
            transition.now,
            kind=Kind.SIGNAL,
            name=occurrence.name,
            output=occurrence.value,
            by=occurrence.by,
            request_id=occurrence.request_id,
        )
    )


def resolved(transition: Transition, occurrence: ApprovalResolved) -> None:
    """Ends an approval as somebody decided."""
    task = transition.execution.waiting_task(occurrence.step, occurrence.task, Kind.APPROVAL)
    if task is None:
        return
    by, note = occurrence.by, occurrence.note
    if occurrence.approved:
        outcomes.succeed(transition, task, Document.of({"approved": True, "by": by, "note": note}), by=by, note=note)
        return
    message = "rejected" + (f" by {by}" if by else "") + (f": {note}" if note else "")
    outcomes.fail(transition, task, Failure(Reason.FAILED_PRECONDITION, message), by=by, note=note)


def published(transition: Transition, occurrence: EventReceived) -> None:
    """Gives an event to every task that waits for one like it."""
    execution = transition.execution
    waiting = execution.takers.waiting(Kind.EVENT, occurrence.type)
    for step in sorted(waiting, key=lambda step: execution.steps[step].position):
        for index in waiting[step]:
            if _is_meant(transition, step, index, occurrence.value):
                outcomes.succeed(transition, execution.tasks[step][index], occurrence.value)


def _is_meant(transition: Transition, step: str, index: int, event: Document) -> bool:
    """Tells whether a task waits for this event. One of which its condition cannot be computed is another."""
    wait = transition.execution.definition_of(step).wait
    if not isinstance(wait, Event) or wait.condition is None:
        return True
    try:
        bindings = {**_bindings(transition, step, index), "event": event.value}
        return computed(wait.condition, bindings, f"steps.{step}.wait.event.if") is True
    except ParadeError:
        return False


def _wanted(event: Event, bindings: dict[str, Any]) -> Document | None:
    """Returns by which of its values an event is found that is wanted, where the condition tells; see `correlation`."""
    found = correlation(event.condition.text) if event.condition is not None else None
    term = found.term(bindings) if found is not None else ""
    return Document.of({"term": term}) if term else None


def _bindings(transition: Transition, step: str, index: int) -> dict[str, Any]:
    execution = transition.execution
    return {**execution.bindings.recorded, **task_bindings(execution, step, index)}


def _text(value: object) -> str:
    """Returns what somebody is told, shortened where nobody would read it."""
    text = value if isinstance(value, str) else Document.of(value).data.decode()
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"


def _time(timer: Timer, bindings: dict[str, Any], now: datetime, place: str) -> datetime:
    """Returns when a timer rings.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where that cannot be computed.
    """
    if timer.until is not None:
        return _moment(timer.until.fill(bindings, place), place)
    return now + timedelta(seconds=_duration(timer.duration.fill(bindings, place) if timer.duration is not None else 0, place))


def _moment(value: object, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = f"{place}: a time with its zone stands here, for example 2026-01-31T12:00:00Z, not {_shown(value)}"
    raise ParadeError(Reason.INVALID_ARGUMENTS, message)


def _duration(value: object, place: str) -> float:
    found = seconds(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS:
        found = float(value)
    if found is None:
        message = f"{place}: a duration of at most a year stands here, for example 5m or a number of seconds, not {_shown(value)}"
        raise ParadeError(Reason.INVALID_ARGUMENTS, message)
    return found


def _shown(value: object) -> str:
    """Returns a value as a message shows it: by itself where it is short."""
    if isinstance(value, str):
        return f"`{value[:80]}`"
    return type_name(value) if isinstance(value, bool) or not isinstance(value, int | float) else f"{value:g}"
