"""A run as a live tree: its steps, how far each is, and what fails. It grows by events and knows neither the network nor the terminal."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich.text import Text
from rich.tree import Tree

from parade.cli.output import style_of
from parade.cli.plain import state_name
from parade.cli.progress import progress_text
from parade.cli.trace import duration_text
from parade.run import EventType, RunEvent
from parade.v1 import scheduler_pb2

MAX_TASKS = 6
"""How many running tasks of one step are shown."""
_SYMBOLS = {"pending": "·", "running": "▸", "succeeded": "✓", "failed": "✗", "skipped": "–", "cancelled": "–"}
_ENDED = ("succeeded", "failed", "skipped", "cancelled")
_PLAIN_KINDS = ("", "UNSPECIFIED", "CALL")
_COMPENSATION = ".compensate"
"""What the id of a step ends with that undoes another."""


@dataclass(slots=True)
class _Step:
    """Where one step stands."""

    id: str
    kind: str = ""
    state: str = "pending"
    tasks: int = 0
    succeeded: int = 0
    notes: dict[int, str] = field(default_factory=dict)
    """What is known of each task that runs or waits."""
    runs: dict[int, "RunTree"] = field(default_factory=dict)
    """The runs that tasks have started and that go on, where they are followed too."""
    because: str = ""
    started: datetime | None = None
    ended: datetime | None = None


class RunTree:
    """What a run looks like now; rich can show it."""

    def __init__(self, run: scheduler_pb2.Run) -> None:
        """Takes the run for its steps; where they stand, its events tell from the first one on.

        Steps that were taken over from an earlier run have no events here: they stand as they ended.
        """
        self._title = f"{run.workflow} {run.id}"
        self._state = "running"
        self._because = ""
        self._started: datetime = run.create_time.ToDatetime(UTC)
        self._ended: datetime | None = None
        self._steps = {step.id: _kept(step, run) or _Step(step.id, state_name(step, "kind")) for step in run.steps}

    def apply(self, event: RunEvent) -> None:
        """Takes in what has happened next."""
        who, _, what = event.type.value.lower().partition("_")
        if who == "run":
            self._apply_to_run(what, event)
            return
        if who == "signal":
            return  # the step that takes it tells
        step = self._steps.setdefault(event.step, _Step(event.step))
        if who == "task":
            _apply_to_task(step, event)
        elif what == "started":
            step.state, step.tasks, step.started = "running", event.tasks, event.time
        else:
            step.state, step.ended, step.because = what, event.time, _reason(event)
            step.notes.clear()
            step.runs.clear()

    def adopt(self, event: RunEvent, tree: "RunTree") -> None:
        """Shows the run that a task has started beneath it, for as long as the task goes on."""
        step = self._steps[event.step]
        if event.task in step.notes:
            step.runs[event.task] = tree

    def lose(self, event: RunEvent, because: str) -> None:
        """Says of the run that a task has started why nothing more is known of it; how the task ends is told all the same."""
        step = self._steps[event.step]
        if event.child_run_id in step.notes.get(event.task, ""):
            step.runs.pop(event.task, None)
            step.notes[event.task] = f"runs {event.child_run_id}, which cannot be followed: {because}"

    def __rich__(self) -> Tree:
        """Returns the tree of this moment."""
        now = datetime.now(UTC)
        title = Text.assemble((self._title, "bold"), "  ", (self._state, style_of(self._state)), _took(self._started, self._ended or now))
        if self._because:
            title.append(f"  {self._because}", style="red")
        tree = Tree(title, guide_style="dim")
        for step in self._steps.values():
            branch = tree.add(_label(step, now))
            for task, note in sorted(step.notes.items())[:MAX_TASKS]:
                if task in step.runs:
                    branch.children.append(step.runs[task].__rich__())
                elif note or step.tasks > 1:
                    branch.add(Text(f"{task}: {note}" if step.tasks > 1 else note, style="dim"))
            if len(step.notes) > MAX_TASKS:
                branch.add(Text(f"and {len(step.notes) - MAX_TASKS} more", style="dim"))
        return tree

    def _apply_to_run(self, what: str, event: RunEvent) -> None:
        if what == "started":
            self._started = event.time
            self._state = "running"
            return
        if what == "resumed":
            self._state, self._because = "running", ""
            return
        self._state, self._because = what, _reason(event)
        if event.by and what == "paused":
            self._because = f"by {event.by}{f': {self._because}' if self._because else ''}"
        if what in _ENDED:
            self._ended = event.time


def _apply_to_task(step: _Step, event: RunEvent) -> None:
    if event.type is not EventType.TASK_PROGRESS:
        step.runs.pop(event.task, None)
    match event.type:
        case EventType.TASK_STARTED:
            parts = [f"attempt {event.attempt}" if event.attempt > 1 else "", f"runs {event.child_run_id}" if event.child_run_id else ""]
            step.notes[event.task] = ", ".join(part for part in parts if part)
        case EventType.TASK_WAITING:
            step.notes[event.task] = waiting_text(step.kind, event)
        case EventType.TASK_PROGRESS if event.progress is not None:
            step.notes[event.task] = progress_text(event.progress)
        case EventType.TASK_RETRYING:
            step.notes[event.task] = f"tried again: {_reason(event)}"
        case EventType.TASK_SUCCEEDED:
            step.succeeded += 1
            step.notes.pop(event.task, None)
        case EventType.TASK_FAILED | EventType.TASK_CANCELLED:
            step.notes.pop(event.task, None)


def waiting_text(kind: str, event: RunEvent) -> str:
    """Returns what a task waits for, and until when."""
    until = f"{event.retry_time.astimezone():%Y-%m-%d %H:%M:%S}" if event.retry_time is not None else ""
    if kind == "TIMER" or not event.message:
        return f"waits until {until}" if until else "waits"
    awaited = {"SIGNAL": "the signal ", "EVENT": "the event ", "APPROVAL": "approval: "}.get(kind, "")
    return f"waits for {awaited}{event.message}" + (f", until {until}" if until else "")


def _kept(step: scheduler_pb2.StepRun, run: scheduler_pb2.Run) -> _Step | None:
    """Returns a step as it ended in an earlier run; None where this run itself has it to do."""
    if not run.origin_run_id or not step.HasField("end_time") or step.end_time.ToNanoseconds() > run.create_time.ToNanoseconds():
        return None
    started = step.start_time.ToDatetime(UTC) if step.HasField("start_time") else None
    because = f"kept from {run.origin_run_id}"
    return _Step(
        step.id,
        state_name(step, "kind"),
        state_name(step).lower(),
        step.tasks,
        step.tasks_succeeded,
        because=because,
        started=started,
        ended=step.end_time.ToDatetime(UTC),
    )


def _label(step: _Step, now: datetime) -> Text:
    name = step.id
    if name.endswith(_COMPENSATION):
        name = f"undo {name.removesuffix(_COMPENSATION)}"
    label = Text.assemble((f"{_SYMBOLS.get(step.state, '▸')} ", style_of(step.state)), name)
    if step.kind not in _PLAIN_KINDS:
        label.append(f"  {step.kind.lower()}", style="dim")
    if step.tasks > 1:
        label.append(f"  {step.succeeded}/{step.tasks}")
    if step.started is not None:
        label.append_text(_took(step.started, step.ended or now))
    if step.because:
        label.append(f"  {step.because}", style="red" if step.state == "failed" else "dim")
    return label


def _took(start: datetime, end: datetime) -> Text:
    return Text(f"  {duration_text(max((end - start).total_seconds(), 0.0))}", style="dim")


def _reason(event: RunEvent) -> str:
    return event.error.message if event.error is not None else event.message
