"""`parade run`: starts a workflow and follows it; lists, shows, watches and cancels runs."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from parade.cli.arguments import Document, Pairs, duration, labels, named_values
from parade.cli.connection import with_mesh
from parade.cli.group import FAILED
from parade.cli.output import Format, Output, say, show_error, table, write, write_next, write_value
from parade.cli.workflow import AllowUnregistered, definition

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.run import Run
    from parade.v1 import scheduler_pb2

_NO_NAME = re.compile(r"[./]|^-$")
"""What tells a file, or standard input, from the name of a workflow."""

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


class RunGroup(TyperGroup):
    """The commands of `parade run`, where `start` may be left out: a first word that is none of them is a workflow."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts in the `start` that was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunGroup,
    no_args_is_help=True,
    subcommand_metavar="WORKFLOW [KEY=VALUE]... | COMMAND [ARGS]...",
    help="""Start a workflow, or look after runs.

A first word that is no command is the name of a workflow, or the file of one: `parade run sales-report` is `parade run start sales-report`.

For example:

    parade run workflow.yaml source=sales.csv
""",
)


@app.command()
def start(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW|FILE", help="A workflow's name, or a definition's file, which is stored first.")
    ],
    pairs: Pairs = None,
    document: Document = None,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Follow the run to its end, or print its id and return.")] = True,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label to find the run by; can be given again.")] = None,
    allow_unregistered: AllowUnregistered = False,
    output: Output = Format.TABLE,
) -> None:
    """Start a run, follow it and print its outputs.

    The exit code is 1 where the run does not succeed. Ctrl-C ends the following, not the run.

    For example:

        parade run sales-report source=sales.csv --label team=retail
    """
    inputs, found_labels = named_values(pairs, document), labels(label)
    source = definition(Path(workflow)) if _NO_NAME.search(workflow) else ""

    async def work(mesh: "Mesh") -> bool:
        name, version = workflow, 0
        if source:
            stored = await mesh.put_workflow(source, allow_unregistered=allow_unregistered)
            name, version = stored.name, stored.version
        run = await mesh.start(name, inputs, version=version, labels=found_labels)
        if not follow:
            await _print_started(run, output)
            return True
        return await _follow_to_outputs(run, output)

    if not with_mesh(work, traced=True):
        raise typer.Exit(FAILED)


@app.command("list")
def list_runs(
    workflow: Annotated[str, typer.Option(help="Only of this workflow.")] = "",
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; can be given again.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 20,
    output: Output = Format.TABLE,
) -> None:
    """List runs, newest first.

    For example:

        parade run list --workflow sales-report --state failed
    """
    from parade.cli.plain import local_time, plain, state_name
    from parade.cli.run_view import length_of
    from parade.run import RunState

    known = {name.lower() for name in RunState}
    unknown = [name for name in state or () if name.lower() not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no state of a run; there are {', '.join(sorted(known))}", param_hint="--state")
    states = [RunState(name.upper()) for name in state or ()]
    runs = with_mesh(lambda mesh: mesh.runs(workflow=workflow, states=states, limit=limit))
    rows = [
        (
            run.id,
            f"{run.workflow} {run.workflow_version}",
            state_name(run),
            f"{local_time(run.create_time):%Y-%m-%d %H:%M:%S}",
            length_of(run),
        )
        for run in runs
    ]
    write([plain(run) for run in runs], output, table(("RUN", "WORKFLOW", "STATE", "STARTED", "TOOK"), rows, "There is no such run."))


@app.command()
def show(run_id: RunId, output: Output = Format.TABLE) -> None:
    """Show a run with its steps, inputs and outputs.

    For example:

        parade run show run_01hzy3
    """
    from parade.cli.plain import plain
    from parade.cli.run_view import details

    run = with_mesh(lambda mesh: mesh.run(run_id).get())
    write(plain(run), output, *details(run))


@app.command()
def watch(
    run_id: RunId,
    output: Output = Format.TABLE,
) -> None:
    """Follow a run to its end and print its outputs.

    As JSON, each event is printed on a line. The exit code is 1 where the run does not succeed.

    For example:

        parade run watch run_01hzy3
    """

    async def work(mesh: "Mesh") -> bool:
        run = mesh.run(run_id)
        if output is Format.TABLE:
            return await _follow_to_outputs(run, output)
        return await _print_events(run, output)

    if not with_mesh(work):
        raise typer.Exit(FAILED)


@app.command()
def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why, for the run's history.")] = "",
    wait: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Wait until it has ended, this long at most.")
    ] = None,
) -> None:
    """Ask a run to end now.

    Steps that run are cancelled, others do not start.

    For example:

        parade run cancel run_01hzy3 --reason "wrong file" --wait 10s
    """

    async def work(mesh: "Mesh") -> None:
        run = mesh.run(run_id)
        await run.cancel(reason)
        if wait is not None:
            await run.wait(wait)

    with_mesh(work)
    say(f"run {run_id} is {'being ' if wait is None else ''}cancelled")


async def _print_started(run: "Run", output: Format) -> None:
    if output is Format.TABLE:
        print(run.id)
        return
    from parade.cli.plain import plain

    write(plain(await run.get()), output)


async def _follow_to_outputs(run: "Run", output: Format) -> bool:
    import asyncio

    from parade.cli.plain import plain
    from parade.cli.run_view import follow

    try:
        await follow(run)
    except asyncio.CancelledError:
        say(f"The run goes on: `parade run watch {run.id}` follows it, `parade run cancel {run.id}` ends it.")
        raise
    ended = await run.get()
    if output is not Format.TABLE:
        write(plain(ended), output)
    elif _succeeded(ended):
        from parade import values

        write_value(values.decode(ended.outputs), output)
    if ended.HasField("error"):
        from parade.wire.status import from_record

        show_error(from_record(ended.error))
    return _succeeded(ended)


async def _print_events(run: "Run", output: Format) -> bool:
    from parade.cli.run_view import plain_event

    async for event in run.events():
        write_next(plain_event(event), output)
    return _succeeded(await run.get())


def _succeeded(run: "scheduler_pb2.Run") -> bool:
    from parade.run import RunState, state_of

    return state_of(run) is RunState.SUCCEEDED
