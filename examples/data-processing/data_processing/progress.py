"""How a run goes, as a table that changes while it does."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from parade.run import EventType, RunEvent

ENDS = {
    EventType.STEP_SUCCEEDED: "done",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
MARKS = {"waiting": ("·", "dim"), "done": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim"), "cancelled": ("–", "yellow")}


@dataclass(slots=True)
class StepProgress:
    """How one step goes."""

    call: str
    """The function that it calls."""
    state: str = "waiting"
    """waiting, running, done, failed, skipped or cancelled."""
    tasks: int = 0
    """How many tasks it has, once it has started."""
    fractions: dict[int, float] = field(default_factory=dict)
    """How far each task is, 0 to 1."""
    note: str = ""
    """The newest word from its function, or why it is tried again or failed."""
    instances: Counter[str] = field(default_factory=Counter)
    """How many tasks each instance has answered."""
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def done(self) -> int:
        """How many tasks are done."""
        return sum(fraction >= 1 for fraction in self.fractions.values())

    @property
    def fraction(self) -> float:
        """How far the step is, 0 to 1."""
        return 1.0 if self.state == "done" else sum(self.fractions.values()) / self.tasks if self.tasks else 0.0


class RunProgress:
    """How all steps of a run go; feed it the run's events."""

    def __init__(self, steps: Mapping[str, str]) -> None:
        """Takes the steps by id in their order, each with the function that it calls."""
        self.steps = {step: StepProgress(call) for step, call in steps.items()}
        self._spinner = Spinner("dots", style="cyan")

    def apply(self, event: RunEvent) -> None:
        """Takes in what happened."""
        step = self.steps.get(event.step)
        if step is None:
            return
        match event.type:
            case EventType.STEP_STARTED:
                step.state, step.tasks, step.started = "running", event.tasks, event.time
            case EventType.TASK_PROGRESS if event.progress is not None:
                step.fractions[event.task] = min(event.progress.fraction, 0.99)
                step.note = event.progress.message
            case EventType.TASK_SUCCEEDED:
                step.fractions[event.task] = 1.0
                step.instances[event.instance_id] += 1
            case EventType.TASK_RETRYING:
                step.note = f"trying again: {event.error.message if event.error else ''}"
            case EventType.TASK_FAILED | EventType.STEP_FAILED if event.error is not None:
                step.note = event.error.message
            case _:
                pass
        if event.type in ENDS:
            step.state, step.ended = ENDS[event.type], event.time

    def __rich__(self) -> RenderableType:
        """Returns the table as it stands."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("", width=1)
        table.add_column("step", no_wrap=True)
        table.add_column("function", no_wrap=True, style="dim")
        table.add_column("", width=18)
        table.add_column("tasks", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("", overflow="ellipsis", no_wrap=True, style="dim", ratio=1)
        for name, step in self.steps.items():
            mark: RenderableType = self._spinner if step.state == "running" else Text(*MARKS[step.state])
            bar = ProgressBar(total=1.0, completed=step.fraction, width=18) if step.state != "waiting" else ""
            tasks = f"{step.done}/{step.tasks}" if step.tasks else ""
            table.add_row(mark, name, step.call, bar, tasks, seconds(step), remark(step))
        return Group(table)

    def line(self, name: str) -> str:
        """Returns a step in one line, for an output that cannot be changed once written."""
        step = self.steps[name]
        return (
            f"{MARKS[step.state][0]} {name:<10} {step.call:<26} {step.done}/{step.tasks} tasks {seconds(step):>7}  {remark(step)}".rstrip()
        )


def seconds(step: StepProgress) -> str:
    """Returns how long a step has taken, once it is over."""
    return f"{(step.ended - step.started).total_seconds():.2f} s" if step.started and step.ended else ""


def remark(step: StepProgress) -> str:
    """Returns what is worth saying about a step: how its tasks were shared out, or its newest note."""
    if step.state == "done" and len(step.instances) > 1:
        return f"{len(step.instances)} instances, {' + '.join(str(count) for _, count in step.instances.most_common())} tasks"
    return "" if step.state == "done" else step.note
