import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from parade.calls import Progress
from parade.cli.run_tree import MAX_TASKS, RunTree
from parade.cli.run_view import Follower, describe, details, plain_event
from parade.run import EventType, RunEvent
from parade.v1 import error_pb2, scheduler_pb2, step_kind_pb2
from parade.wire.errors import ParadeError, Reason

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def event(type: EventType, step: str = "", seconds: float = 0, **given: Any) -> RunEvent:
    fields = {
        "sequence": 1,
        "task": 0,
        "attempt": 0,
        "tasks": 0,
        "instance_id": "",
        "progress": None,
        "output": None,
        "error": None,
        "message": "",
    }
    return RunEvent(time=START + timedelta(seconds=seconds), type=type, step=step, **{**fields, **given})


def shown(tree: RunTree) -> list[str]:
    screen = Console(file=io.StringIO(), width=200)
    screen.print(tree)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    return [line.strip(" │├└─") for line in text.splitlines()]


def run_of(*steps: str) -> scheduler_pb2.Run:
    run = scheduler_pb2.Run(id="run_1", workflow="sales-report", workflow_version=2, state=scheduler_pb2.RUN_STATE_RUNNING)
    run.create_time.FromDatetime(START)
    for step in steps:
        run.steps.add(id=step, call=f"agent.{step}", state=scheduler_pb2.STEP_STATE_PENDING)
    return run


def test_steps_stand_in_the_tree_before_they_start() -> None:
    lines = shown(RunTree(run_of("collect", "clean")))

    assert lines[0].startswith("sales-report run_1  running")
    assert lines[1:] == ["· collect", "· clean"]


def test_a_step_shows_its_tasks_and_how_long_it_took() -> None:
    tree = RunTree(run_of("clean"))
    tree.apply(event(EventType.STEP_STARTED, "clean", 1, tasks=3))
    tree.apply(event(EventType.TASK_STARTED, "clean", 1, task=0, attempt=1))
    tree.apply(event(EventType.TASK_STARTED, "clean", 1, task=1, attempt=1))
    tree.apply(event(EventType.TASK_PROGRESS, "clean", 2, task=1, progress=Progress(0.4, "dropping rows")))
    tree.apply(event(EventType.TASK_SUCCEEDED, "clean", 2, task=0))

    lines = shown(tree)

    assert lines[1].startswith("▸ clean  1/3")
    assert lines[2] == "1: 40% dropping rows"

    tree.apply(event(EventType.STEP_SUCCEEDED, "clean", 3.5))
    tree.apply(event(EventType.RUN_SUCCEEDED, seconds=4))

    assert shown(tree) == ["sales-report run_1  succeeded  4.00 s", "✓ clean  1/3  2.50 s"]


def test_many_tasks_are_counted_not_listed() -> None:
    tree = RunTree(run_of("clean"))
    tree.apply(event(EventType.STEP_STARTED, "clean", tasks=50))
    for task in range(MAX_TASKS + 4):
        tree.apply(event(EventType.TASK_STARTED, "clean", task=task, attempt=1))

    assert shown(tree)[-1] == "and 4 more"
    assert len(shown(tree)) == 2 + MAX_TASKS + 1


def test_what_fails_says_why() -> None:
    tree = RunTree(run_of("clean", "report"))
    why = ParadeError(Reason.AGENT_ERROR, "no column 'price'")
    tree.apply(event(EventType.STEP_STARTED, "clean", tasks=1))
    tree.apply(event(EventType.STEP_FAILED, "clean", 1, error=why))
    tree.apply(event(EventType.STEP_SKIPPED, "report", 1, message="clean did not succeed"))
    tree.apply(event(EventType.RUN_FAILED, seconds=1, error=why))

    assert shown(tree) == [
        "sales-report run_1  failed  1.00 s  no column 'price'",
        "✗ clean  1.00 s  no column 'price'",
        "– report  clean did not succeed",
    ]


@pytest.mark.parametrize(
    ("happened", "line"),
    [
        (event(EventType.RUN_STARTED), "run started"),
        (event(EventType.STEP_STARTED, "clean", tasks=3), "clean started, 3 tasks"),
        (event(EventType.TASK_STARTED, "clean", task=2, attempt=1), ""),
        (event(EventType.TASK_STARTED, "clean", task=2, attempt=2), "clean[2] started, attempt 2"),
        (event(EventType.TASK_PROGRESS, "clean", progress=Progress(0.1, "")), ""),
        (event(EventType.STEP_SKIPPED, "clean", message="its condition is false"), "clean skipped: its condition is false"),
        (event(EventType.RUN_FAILED, error=ParadeError(Reason.AGENT_LOST, "gone")), "run failed: gone"),
    ],
)
def test_an_event_is_a_line_where_it_matters(happened: RunEvent, line: str) -> None:
    assert describe(happened) == line


def test_an_event_as_plain_values_keeps_the_error() -> None:
    plain = plain_event(
        event(EventType.TASK_FAILED, "clean", error=ParadeError(Reason.AGENT_ERROR, "it raised", metadata={"function": "clean"}))
    )

    assert plain["type"] == "TASK_FAILED"
    assert plain["time"] == "2026-01-31T09:30:00+00:00"
    assert plain["error"] == {"reason": "AGENT_ERROR", "message": "it raised", "metadata": {"function": "clean"}, "retryable": False}


def test_details_show_steps_values_and_errors() -> None:
    run = run_of("clean")
    run.state = scheduler_pb2.RUN_STATE_FAILED
    run.inputs.data = b'{"source": "sales.csv"}'
    run.end_time.FromDatetime(START + timedelta(seconds=2))
    run.steps[0].state = scheduler_pb2.STEP_STATE_FAILED
    run.steps[0].tasks, run.steps[0].tasks_failed, run.steps[0].attempts = 3, 1, 5
    run.steps[0].error.CopyFrom(error_pb2.Error(reason=error_pb2.ERROR_REASON_AGENT_ERROR, message="it raised"))
    run.error.CopyFrom(run.steps[0].error)

    screen = Console(file=io.StringIO(), width=200)
    for part in details(run):
        screen.print(part)

    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "sales-report, version 2" in text
    assert "0/3, 1 failed" in text
    assert '"source": "sales.csv"' in text
    assert "clean: it raised  [AGENT_ERROR]" in text
    assert "2.00 s" in text


def kinds_of(**kinds: str) -> scheduler_pb2.Run:
    run = scheduler_pb2.Run(id="run_1", workflow="sales-report", workflow_version=2, state=scheduler_pb2.RUN_STATE_RUNNING)
    run.create_time.FromDatetime(START)
    for step, kind in kinds.items():
        run.steps.add(id=step, kind=step_kind_pb2.StepKind.Value(f"STEP_KIND_{kind}"))
    return run


@pytest.mark.parametrize(
    ("kind", "message", "until", "expected"),
    [
        ("APPROVAL", "pay 5?", None, "waits for approval: pay 5?"),
        ("SIGNAL", "go", None, "waits for the signal go"),
        ("EVENT", "order.paid", START, "waits for the event order.paid, until "),
        ("TIMER", "", START, "waits until "),
        ("CALL", "more data", None, "waits for more data"),
    ],
)
def test_a_step_that_waits_says_for_what_and_until_when(kind: str, message: str, until: datetime | None, expected: str) -> None:
    tree = RunTree(kinds_of(wait=kind))
    tree.apply(event(EventType.STEP_STARTED, "wait", tasks=1))
    tree.apply(event(EventType.TASK_WAITING, "wait", message=message, retry_time=until))

    line, note = shown(tree)[1:]

    assert line.startswith("▸ wait")
    assert (f"  {kind.lower()}" in line) is (kind != "CALL")
    assert note == (expected if until is None else f"{expected}{START.astimezone():%Y-%m-%d %H:%M:%S}")


def test_what_came_of_a_wait_is_not_shown_as_waiting() -> None:
    tree = RunTree(kinds_of(wait="SIGNAL"))
    tree.apply(event(EventType.STEP_STARTED, "wait", tasks=1))
    tree.apply(event(EventType.TASK_WAITING, "wait", message="go"))
    tree.apply(event(EventType.SIGNAL_RECEIVED, message="go", by="spiffe://x"))
    tree.apply(event(EventType.TASK_CANCELLED, "wait"))

    assert len(shown(tree)) == 2


def test_a_step_that_runs_a_workflow_names_its_run() -> None:
    tree = RunTree(kinds_of(sub="RUN"))
    tree.apply(event(EventType.STEP_STARTED, "sub", tasks=1))
    tree.apply(event(EventType.TASK_STARTED, "sub", attempt=2, child_run_id="run_2"))

    assert shown(tree)[2] == "attempt 2, runs run_2"


def test_the_run_of_a_step_is_shown_beneath_it_while_it_goes_on() -> None:
    tree, child = RunTree(kinds_of(sub="RUN")), RunTree(run_of("clean"))
    started = event(EventType.TASK_STARTED, "sub", attempt=1, child_run_id="run_2")
    tree.apply(event(EventType.STEP_STARTED, "sub", tasks=1))
    tree.apply(started)
    tree.adopt(started, child)
    child.apply(event(EventType.STEP_STARTED, "clean", tasks=1))

    lines = shown(tree)
    assert lines[2].startswith("sales-report run_1  running")
    assert lines[3].startswith("▸ clean")

    tree.apply(event(EventType.TASK_SUCCEEDED, "sub"))
    tree.adopt(started, child)
    assert len(shown(tree)) == 2


def test_what_undoes_a_step_stands_after_the_steps() -> None:
    tree = RunTree(kinds_of(book="CALL"))
    tree.apply(event(EventType.RUN_COMPENSATING))
    tree.apply(event(EventType.STEP_STARTED, "book.compensate", tasks=1))

    lines = shown(tree)

    assert lines[0].startswith("sales-report run_1  compensating")
    assert lines[2].startswith("▸ undo book")


def test_a_paused_run_says_by_whom_and_a_resumed_one_no_more() -> None:
    tree = RunTree(kinds_of(book="CALL"))
    tree.apply(event(EventType.RUN_PAUSED, by="spiffe://ada", message="look first"))
    assert "paused" in shown(tree)[0]
    assert "by spiffe://ada: look first" in shown(tree)[0]

    tree.apply(event(EventType.RUN_RESUMED, by="spiffe://ada"))
    assert "running" in shown(tree)[0]
    assert "ada" not in shown(tree)[0]


def test_a_step_that_was_taken_over_stands_as_it_ended() -> None:
    run = kinds_of(kept="CALL", fresh="CALL")
    run.origin_run_id = "run_0"
    run.steps[0].state = scheduler_pb2.STEP_STATE_SUCCEEDED
    run.steps[0].end_time.FromDatetime(START - timedelta(minutes=1))

    assert shown(RunTree(run))[1:] == ["✓ kept  kept from run_0", "· fresh"]


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        (event(EventType.SIGNAL_RECEIVED, message="go", by="spiffe://ada"), "signal go received from spiffe://ada"),
        (event(EventType.RUN_PAUSED, by="spiffe://ada", message="look"), "run paused by spiffe://ada: look"),
        (event(EventType.TASK_STARTED, "sub", attempt=1, child_run_id="run_2"), "sub[0] started as run_2"),
        (event(EventType.TASK_WAITING, "ask", message="pay 5?"), "ask[0] waiting: pay 5?"),
    ],
)
def test_what_people_do_is_told_in_a_line(happened: RunEvent, expected: str) -> None:
    assert describe(happened) == expected


class Told:
    """A run of which the test tells what happens, and which ends with another one where it has one."""

    def __init__(self, id: str, *events: RunEvent, error: Exception | None = None, until: "Told | None" = None) -> None:
        self.id = id
        self.over = asyncio.Event()
        self._events = events
        self._error = error
        self._until = until

    async def get(self) -> scheduler_pb2.Run:
        return run_of("sub")

    async def events(self) -> AsyncIterator[RunEvent]:
        for one in self._events:
            yield one
        if self._until is not None:
            await self._until.over.wait()
        self.over.set()
        if self._error is not None:
            raise self._error


async def followed(child: Told) -> RunTree:
    begun = event(EventType.TASK_STARTED, "sub", attempt=1, child_run_id=child.id)
    parent = Told("run_1", event(EventType.STEP_STARTED, "sub", tasks=1), begun, until=child)
    tree = RunTree(await parent.get())
    await Follower({child.id: child}.__getitem__).follow(parent, tree)  # type: ignore[arg-type]  # it stands in for a run
    return tree


async def test_a_run_that_cannot_be_followed_says_so_in_the_tree_of_the_one_that_started_it() -> None:
    tree = await followed(Told("run_2", error=ParadeError(Reason.UNAVAILABLE, "the scheduler is away")))

    assert shown(tree)[-1] == "runs run_2, which cannot be followed: the scheduler is away"


async def test_a_fault_of_following_is_not_lost() -> None:
    with pytest.raises(RuntimeError, match="a fault"):
        await followed(Told("run_2", error=RuntimeError("a fault")))
