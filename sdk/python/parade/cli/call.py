"""`parade call`: one function, one answer."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.arguments import Document, Pairs, duration, labels, named_values
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, write, write_next, write_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from parade.call_options import ApprovalMode, CallOptions
    from parade.client import Mesh
    from parade.outcome import Outcome
    from parade.started_call import StartedCall


def call(
    function: Annotated[str, typer.Argument(help="Its full name, agent.function.", metavar="FUNCTION")],
    pairs: Pairs = None,
    document: Document = None,
    timeout: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="How long it may take; 60s where not given.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each item as a line of JSON as soon as it comes.")] = False,
    start: Annotated[bool, typer.Option("--start", help="Print the call's id and return; `parade calls` looks after it.")] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Tell on standard error where the time went.")] = False,
    idempotency_key: Annotated[
        str, typer.Option(metavar="KEY", help="What the call is to bring about: a second one with the same key brings its outcome.")
    ] = "",
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Which calls go first where they must wait: the higher.")] = 0,
    affinity: Annotated[str, typer.Option(metavar="KEY", help="Calls with the same key go to the same instance.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label that the instance must carry; can be given again.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="FUNCTION", help="What the call may make agents call: agent.function or agent.*; can be given again."),
    ] = None,
    fail_unapproved: Annotated[
        bool, typer.Option("--fail-unapproved", help="Fail at once where the call needs somebody's approval, in place of waiting for it.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Call a function and print its result.

    A function that yields items is called with --stream. On a terminal its progress is shown while it runs.
    With --start the call goes on when this command has ended, for as long as the function may run.

    For example:

        parade call greeter.greet name=Ada --timeout 5s
        parade call planner.plan trip=Rome --only flights.search --only 'hotels.*'
    """
    arguments, found_labels = named_values(pairs, document), labels(label)
    if start and (stream or timing):
        raise typer.BadParameter("it returns before there is anything to print; use `parade calls wait`", param_hint="--start")
    if stream and timing:
        raise typer.BadParameter("it is told of a result, and a stream has none", param_hint="--timing")

    async def work(mesh: "Mesh") -> None:
        from parade.call_options import CallOptions

        mode: ApprovalMode = "fail" if fail_unapproved else "wait"
        options = CallOptions(idempotency_key, priority, affinity, found_labels, functions=only or (), approval=mode)
        if start:
            await _print_started(await mesh.start_call(function, arguments, timeout=timeout, options=options), output)
        elif stream:
            await show_events(mesh.events(function, arguments, timeout=timeout, options=options), output)
        else:
            outcome = await _outcome(mesh, function, arguments, timeout, options)
            write_value(outcome.value, output)
            if timing:
                _tell_timing(outcome)

    with_mesh(work, traced=True)


async def show_events(events: "AsyncIterator[Any]", output: Format) -> None:
    """Prints items as they come, and shows the progress between them on a terminal."""
    from parade.calls import Progress
    from parade.cli.progress import ProgressLine

    with ProgressLine() as line:
        async for event in events:
            if isinstance(event, Progress):
                line.show(event)
                continue
            line.clear()
            write_next(event, output)


async def _outcome(mesh: "Mesh", function: str, arguments: dict[str, Any], timeout: float | None, options: "CallOptions") -> "Outcome":
    import sys

    from parade.cli.progress import ProgressLine

    with ProgressLine() as line:
        progress = line.show if sys.stderr.isatty() else None
        return await mesh.outcome(function, arguments, timeout=timeout, options=options, progress=progress)


async def _print_started(call: "StartedCall", output: Format) -> None:
    if output is Format.TABLE:
        print(call.id)
        return
    from parade.cli.plain import plain

    write(plain(await call.status()), output)


def _tell_timing(outcome: "Outcome") -> None:
    from parade.cli.trace import duration_text

    timing = outcome.timing
    parts = (("queued", timing.queued), ("transport", timing.transport), ("executing", timing.executing))
    say(", ".join(f"{name} {duration_text(seconds)}" for name, seconds in parts))
