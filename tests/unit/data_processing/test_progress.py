from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from data_processing.progress import RunProgress
from parade.calls import Progress
from parade.run import EventType, RunEvent
from parade.wire.errors import ParadeError, Reason

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: EventType, step: str = "columns", seconds: float = 0, **more: Any) -> RunEvent:
    fields = {"task": 0, "attempt": 1, "tasks": 0, "instance_id": "", "progress": None, "output": None, "error": None, "message": ""}
    return RunEvent(sequence=1, time=START + timedelta(seconds=seconds), type=kind, step=step, **{**fields, **more})


def progress_after(events: Sequence[RunEvent]) -> RunProgress:
    progress = RunProgress({"collect": "collector.collect", "columns": "analyst.analyse_column"})
    for one in events:
        progress.apply(one)
    return progress


def drawn(progress: RunProgress) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(progress)
    return capture.get()


def test_a_step_shows_how_many_of_its_tasks_are_done() -> None:
    progress = progress_after(
        [
            event(EventType.STEP_STARTED, tasks=3),
            event(EventType.TASK_SUCCEEDED, task=0, instance_id="one"),
            event(EventType.TASK_PROGRESS, task=1, progress=Progress(0.5, "half way")),
        ]
    )

    assert "1/3" in drawn(progress)
    assert "half way" in drawn(progress)
    assert progress.steps["columns"].fraction == 0.5
    assert progress.steps["collect"].state == "waiting"


def test_a_step_that_is_done_says_how_its_tasks_were_shared_out() -> None:
    progress = progress_after(
        [
            event(EventType.STEP_STARTED, tasks=3),
            event(EventType.TASK_SUCCEEDED, task=0, instance_id="one"),
            event(EventType.TASK_SUCCEEDED, task=1, instance_id="other"),
            event(EventType.TASK_SUCCEEDED, task=2, instance_id="one"),
            event(EventType.STEP_SUCCEEDED, seconds=1.5),
        ]
    )

    assert progress.line("columns") == "✓ columns    analyst.analyse_column     3/3 tasks  1.50 s  2 instances, 2 + 1 tasks"


def test_a_step_that_fails_says_why() -> None:
    error = ParadeError(Reason.AGENT_ERROR, "ValueError: the source is empty")

    progress = progress_after([event(EventType.STEP_STARTED, tasks=1), event(EventType.STEP_FAILED, error=error)])

    assert "✗ columns" in progress.line("columns")
    assert "the source is empty" in progress.line("columns")


def test_what_happens_to_the_run_itself_changes_no_step() -> None:
    progress = progress_after([event(EventType.RUN_STARTED, step="")])

    assert {step.state for step in progress.steps.values()} == {"waiting"}
