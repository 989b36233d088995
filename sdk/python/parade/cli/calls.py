"""`parade calls`: calls that were started to outlive their caller."""

from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.arguments import duration
from parade.cli.call import show_events
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, encoded, say, style_of, table, write, write_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from parade.client import Mesh
    from parade.started_call import StartedCall
    from parade.v1.call_pb2 import Call

app = typer.Typer(no_args_is_help=True, help="Calls that were started with `parade call --start`.")

CallId = Annotated[str, typer.Argument(metavar="CALL", help="The call's id.")]


@app.command("list")
def list_calls(
    function: Annotated[str, typer.Option(help="Only of this function, or of this agent.")] = "",
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; can be given again.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 20,
    output: Output = Format.TABLE,
) -> None:
    """List calls that were started, newest first. Those that ended are kept for a day.

    For example:

        parade calls list --function worker.train --state running
    """
    from parade.cli.plain import local_time, plain, state_name
    from parade.started_call import CallState

    known = {name.lower() for name in CallState}
    unknown = [name for name in state or () if name.lower() not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no state of a call; there are {', '.join(sorted(known))}", param_hint="--state")
    states = [CallState(name.upper()) for name in state or ()]
    calls = with_mesh(lambda mesh: mesh.calls(function=function, states=states, limit=limit))
    rows = [
        (call.id, call.function, state_name(call), f"{local_time(call.create_time):%Y-%m-%d %H:%M:%S}", _length(call), _progress(call))
        for call in calls
    ]
    headings = ("CALL", "FUNCTION", "STATE", "STARTED", "TOOK", "PROGRESS")
    write([plain(call) for call in calls], output, table(headings, rows, "There is no such call."))


@app.command()
def get(call_id: CallId, output: Output = Format.TABLE) -> None:
    """Show a call: where it stands, its arguments, and its result where it has one.

    For example:

        parade calls get call-01hzy3
    """
    from parade.cli.plain import plain

    call = with_mesh(lambda mesh: mesh.started_call(call_id).status())
    write(plain(call), output, *_details(call))


@app.command()
def wait(
    call_id: CallId,
    timeout: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="How long to wait; for ever where not given.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print each item as a line of JSON, from the first.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Wait until a call has ended and print its result.

    Ctrl-C ends the waiting, not the call. The exit code is 1 where the call does not succeed, or not in time.

    For example:

        parade calls wait call-01hzy3 --timeout 10m
    """

    async def work(mesh: "Mesh") -> None:
        import asyncio

        from parade.wire.errors import ParadeError, Reason

        call = mesh.started_call(call_id)
        try:
            async with asyncio.timeout(timeout):
                if stream:
                    await show_events(call.items(), output)
                    return
                await _show_progress(call)
                value = await call.result()
        except TimeoutError as error:
            raise ParadeError(Reason.DEADLINE_EXCEEDED, f"call {call_id} has not ended within {timeout:g} s; it goes on") from error
        write_value(value, output)

    with_mesh(work)


@app.command()
def cancel(
    call_id: CallId,
    wait: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="How long to wait for its end; 2s where not given.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Ask a call to end now, and say how far that has come.

    `stopped`: the function has ended. `could not stop`: it runs on in a thread, and what it returns is dropped. `requested` and
    `acknowledged`: it has not ended yet.

    For example:

        parade calls cancel call-01hzy3
    """
    from parade.cli.plain import plain, state_name
    from parade.started_call import CANCEL_TIMEOUT

    async def work(mesh: "Mesh") -> "Call":
        call = mesh.started_call(call_id)
        await call.cancel(wait or CANCEL_TIMEOUT)
        return await call.status()

    call = with_mesh(work)
    if output is not Format.TABLE:
        write(plain(call), output)
    elif call.cancellation:
        print(state_name(call, "cancellation").lower().replace("_", " "))
    else:
        say(f"it had ended before: {state_name(call).lower()}")


async def _show_progress(call: "StartedCall") -> None:
    """Shows on a terminal how far a call has come until it has ended; returns at once elsewhere."""
    import sys

    from parade.cli.progress import ProgressLine

    if sys.stderr.isatty():
        with ProgressLine() as line:
            async for note in call.progress():
                line.show(note)


def _details(call: "Call") -> "Iterator[RenderableType]":
    from rich.text import Text

    from parade import values
    from parade.cli.plain import local_time, state_name
    from parade.wire.status import from_record

    facts = [
        ("call", call.id),
        ("function", call.function),
        ("state", state_name(call)),
        ("cancelled", state_name(call, "cancellation").lower().replace("_", " ") if call.cancellation else ""),
        ("started", f"{local_time(call.create_time):%Y-%m-%d %H:%M:%S} by {call.principal}"),
        ("took", _length(call)),
        ("instance", call.instance_id),
        ("attempts", str(call.attempts)),
        ("progress", _progress(call)),
        ("items", str(call.item_count) if call.item_count else ""),
    ]
    for name, text in facts:
        if text:
            yield Text.assemble((f"{name:10} ", "bold"), (text, style_of(text)))
    for name, value in (("arguments", call.arguments), ("result", call.result)):
        if value.data or value.HasField("artifact"):
            yield Text.assemble("\n", (name, "bold"), "\n", encoded(values.decode(value), Format.JSON).rstrip())
    if call.HasField("error"):
        error = from_record(call.error)
        yield Text.assemble("\n", ("error", "bold red"), f": {error}", (f"  [{error.reason}]", "dim"))


def _length(call: "Call") -> str:
    from parade.cli.trace import duration_text

    if not call.HasField("end_time"):
        return ""
    return duration_text((call.end_time.ToNanoseconds() - call.create_time.ToNanoseconds()) / 1e9)


def _progress(call: "Call") -> str:
    from parade.calls import Progress
    from parade.cli.progress import progress_text

    return progress_text(Progress(call.progress.fraction, call.progress.message)) if call.HasField("progress") else ""
