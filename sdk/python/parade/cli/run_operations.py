"""What can be done with one run: pause, resume, signal, approve, reject, branch off."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.arguments import Document, Pairs, named_values, value
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say

if TYPE_CHECKING:
    from parade.run import Run

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Step = Annotated[str, typer.Argument(metavar="STEP", help="The step that waits.")]
Task = Annotated[int, typer.Option(min=0, help="The task of the step, counted from 0, where it has several.")]
Note = Annotated[str, typer.Option(help="Why, for the run's history.")]
Reason = Annotated[str, typer.Option(help="Why, for the run's history.")]


def pause(run_id: RunId, reason: Reason = "") -> None:
    """Let nothing more begin in a run until it is resumed.

    What was handed out comes to its end; the run's timeout goes on.

    For example:

        parade run pause run_01hzy3 --reason "look at the data first"
    """
    _with_run(run_id, lambda run: run.pause(reason))
    say(f"run {run_id} is paused: `parade run resume {run_id}` lets it go on")


def resume(run_id: RunId) -> None:
    """Let a paused run go on.

    For example:

        parade run resume run_01hzy3
    """
    _with_run(run_id, lambda run: run.resume())
    say(f"run {run_id} goes on")


def signal(
    run_id: RunId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    content: Annotated[str, typer.Argument(metavar="VALUE", help="What it carries: JSON where it is JSON, or else text.")] = "null",
    request_id: Annotated[str, typer.Option(help="Names this request: a second one with the same name changes nothing.")] = "",
) -> None:
    """Send a run a signal.

    A step that waits for it takes it; until one does it is kept.

    For example:

        parade run signal run_01hzy3 delivered '{"parcels": 2}'
    """
    _with_run(run_id, lambda run: run.signal(name, value(content), request_id=request_id))
    say(f"run {run_id} has the signal {name}")


def approve(run_id: RunId, step: Step, task: Task = 0, note: Note = "") -> None:
    """Approve what a step waits for.

    For example:

        parade run approve run_01hzy3 pay --note "within the budget"
    """
    _with_run(run_id, lambda run: run.approve(step, task=task, note=note))
    say(f"{step} of run {run_id} is approved")


def reject(run_id: RunId, step: Step, task: Task = 0, note: Note = "") -> None:
    """Reject what a step waits for: the step fails.

    For example:

        parade run reject run_01hzy3 pay --note "too much"
    """
    _with_run(run_id, lambda run: run.reject(step, task=task, note=note))
    say(f"{step} of run {run_id} is rejected")


def fork(
    run_id: RunId,
    pairs: Pairs = None,
    *,
    after: Annotated[int, typer.Option(min=1, metavar="SEQUENCE", help="The last event that both runs have in common.")],
    document: Document = None,
    output: Output = Format.TABLE,
) -> None:
    """Start a run that is as another one was after an event, and goes on from there.

    Steps that had not ended by then run anew. Values replace inputs of the run. `parade run watch RUN -o json` shows the events by number.

    For example:

        parade run fork run_01hzy3 --after 12 limit=10
    """
    from parade.cli.run_view import print_started

    inputs = named_values(pairs, document)

    async def work(run: "Run") -> None:
        await print_started(await run.fork(after, inputs), output)

    _with_run(run_id, work)


def _with_run(run_id: str, act: "Callable[[Run], Awaitable[None]]") -> None:
    with_mesh(lambda mesh: act(mesh.run(run_id)))
