"""Runs as people see them: followed live on a terminal, a line for each event elsewhere, and in full when asked for."""

import asyncio
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from parade import values
from parade.cli.output import Format, encoded, stderr, style_of, table, write
from parade.cli.plain import local_time, plain, state_name
from parade.cli.run_tree import RunTree
from parade.cli.trace import duration_text
from parade.run import EventType, RunEvent
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import from_record

if TYPE_CHECKING:
    from rich.console import RenderableType

    from parade.run import Run
    from parade.v1 import scheduler_pb2

REFRESHES_PER_SECOND = 4
MAX_CHILDREN = 50
"""How many of the runs that a run has started are followed with it at once."""
CHILD_WITHIN = 30.0
"""Seconds in which a run that another has started must be there."""


async def follow(run: "Run", run_of: "Callable[[str], Run]") -> None:
    """Shows on standard error what happens in a run until it has ended.

    Args:
        run: The run.
        run_of: Gives a run by its id. On a terminal the runs that its steps have started are followed too.
    """
    screen = stderr()
    tree = RunTree(await run.get())
    if not screen.is_terminal:
        async for event in run.events():
            line = describe(event)
            if line:
                print(f"{run.id}  {line}", file=sys.stderr, flush=True)
        return
    with Live(tree, console=screen, refresh_per_second=REFRESHES_PER_SECOND) as live:
        await Follower(run_of).follow(run, tree)
        live.refresh()


class Follower:
    """Follows a run, and the runs that it starts, into a tree."""

    def __init__(self, run_of: "Callable[[str], Run]") -> None:
        """Takes what gives a run by its id."""
        self._run_of = run_of
        self._count = 0

    async def follow(self, run: "Run", tree: RunTree) -> None:
        """Follows a run to its end. By then nobody follows those that it has started."""
        following: set[asyncio.Task[None]] = set()
        try:
            async for event in run.events():
                tree.apply(event)
                if event.child_run_id and event.type is EventType.TASK_STARTED and self._count < MAX_CHILDREN:
                    self._count += 1
                    following.add(asyncio.create_task(self._follow_child(event, tree)))
        finally:
            for task in following:
                task.cancel()
            if following:
                await asyncio.wait(following)
        for task in following:
            if not task.cancelled():
                task.result()  # what may go wrong stands in the tree; anything else is a fault that is not to be lost

    async def _follow_child(self, event: RunEvent, parent: RunTree) -> None:
        """Follows a run that a task has started. Where that fails the tree says so, and the run above is followed all the same."""
        child = self._run_of(event.child_run_id)
        try:
            tree = RunTree(await _as_soon_as_it_is_there(child))
            parent.adopt(event, tree)
            await self.follow(child, tree)
        except ParadeError as error:
            parent.lose(event, error.message)
        finally:
            self._count -= 1


async def _as_soon_as_it_is_there(run: "Run") -> "scheduler_pb2.Run":
    """Returns a run, which may be told of a moment before it is stored.

    Raises:
        ParadeError: NOT_FOUND, where it does not come; UNAVAILABLE.
    """
    until = time.monotonic() + CHILD_WITHIN
    while True:
        try:
            return await run.get()
        except ParadeError as error:
            if error.reason is not Reason.NOT_FOUND or time.monotonic() > until:
                raise
        await asyncio.sleep(1 / REFRESHES_PER_SECOND)


async def print_started(run: "Run", output: Format) -> None:
    """Prints a run that was started: for people its id."""
    if output is Format.TABLE:
        print(run.id)
        return
    write(plain(await run.get()), output)


def describe(event: RunEvent) -> str:
    """Returns an event as a line of text; empty for what is too small to tell."""
    started = event.type is EventType.TASK_STARTED and event.attempt <= 1 and not event.child_run_id
    if event.type is EventType.TASK_PROGRESS or started:
        return ""
    if event.type is EventType.SIGNAL_RECEIVED:
        return f"signal {event.message} received from {event.by}"
    who, _, what = event.type.value.lower().partition("_")
    line = f"run {what}" if who == "run" else f"{event.step} {what}"
    if who == "task":
        line = f"{event.step}[{event.task}] {what}"
    if event.by:
        line += f" by {event.by}"
    if event.child_run_id:
        line += f" as {event.child_run_id}"
    if event.tasks > 1:
        line += f", {event.tasks} tasks"
    if event.attempt > 1:
        line += f", attempt {event.attempt}"
    if event.type is EventType.TASK_WAITING and event.retry_time is not None:
        line += f" until {event.retry_time.astimezone():%Y-%m-%d %H:%M:%S}"
    because = event.error or event.message
    return f"{line}: {because}" if because else line


def plain_event(event: RunEvent) -> dict[str, Any]:
    """Returns an event as plain values."""
    error = event.error
    return {
        "sequence": event.sequence,
        "time": event.time.isoformat(),
        "type": event.type.value,
        "step": event.step,
        "task": event.task,
        "attempt": event.attempt,
        "tasks": event.tasks,
        "instanceId": event.instance_id,
        "progress": dataclasses.asdict(event.progress) if event.progress else None,
        "output": event.output,
        "error": error and {"reason": error.reason.value, "message": str(error), "metadata": error.metadata, "retryable": error.retryable},
        "message": event.message,
        "retryTime": event.retry_time and event.retry_time.isoformat(),
        "by": event.by,
        "childRunId": event.child_run_id,
    }


def details(run: "scheduler_pb2.Run") -> "Iterator[RenderableType]":
    """Yields what there is to see of a run."""
    facts = [
        ("run", run.id),
        ("workflow", f"{run.workflow}, version {run.workflow_version}" if run.workflow_version else run.workflow),
        ("state", state_name(run)),
        ("started", f"{local_time(run.create_time):%Y-%m-%d %H:%M:%S} by {run.principal}"),
        ("took", length_of(run)),
        ("labels", ", ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))),
        ("priority", str(run.priority) if run.priority else ""),
        ("group", run.concurrency_group),
        ("parent", run.parent_run_id),
        ("origin", run.origin_run_id),
        ("trace", run.trace_id),
    ]
    for name, text in facts:
        if text:
            yield Text.assemble((f"{name:9} ", "bold"), (text, style_of(text)))
    yield ""
    rows = [
        (step.id, state_name(step), state_name(step, "kind"), step.call, _tasks(step), str(step.attempts), length_of(step))
        for step in run.steps
    ]
    yield table(("STEP", "STATE", "KIND", "CALL", "TASKS", "ATTEMPTS", "TOOK"), rows, "It has no steps.")
    for name, value in (("inputs", run.inputs), ("outputs", run.outputs)):
        if value.data:
            yield Text.assemble("\n", (name, "bold"), "\n", encoded(values.decode(value), Format.JSON).rstrip())
    for failed in (step for step in run.steps if step.HasField("error")):
        yield Text.assemble(
            "\n", (failed.id, "bold red"), f": {from_record(failed.error)}", (f"  [{plain(failed.error)['reason']}]", "dim")
        )
    if run.HasField("error"):
        yield Text.assemble("\n", ("error", "bold red"), f": {from_record(run.error)}")


def length_of(entry: "scheduler_pb2.Run | scheduler_pb2.StepRun") -> str:
    """Returns how long a run or a step took; empty where it has not ended or never started."""
    start = entry.create_time if hasattr(entry, "create_time") else entry.start_time
    if not entry.HasField("end_time") or start.ToNanoseconds() == 0:
        return ""
    return duration_text((entry.end_time.ToNanoseconds() - start.ToNanoseconds()) / 1e9)


def _tasks(step: "scheduler_pb2.StepRun") -> str:
    failed = f", {step.tasks_failed} failed" if step.tasks_failed else ""
    return f"{step.tasks_succeeded}/{step.tasks}{failed}" if step.tasks else ""
