"""`parade run`: starts a workflow and follows it; lists, shows and watches runs, cancels them and starts them again."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from parade.cli.arguments import Document, Pairs, duration, labels, named_values
from parade.cli.connection import with_mesh
from parade.cli.group import FAILED
from parade.cli.output import Format, Output, say, show_error, table, write, write_next, write_value
from parade.cli.run_many import do_to_many
from parade.cli.run_operations import RunId, approve, fork, pause, reject, resume, signal
from parade.cli.run_selection import Before, DryRun, Input, Label, Since, State, Workflow, Yes, demand_one_or_many, selection
from parade.cli.workflow import AllowUnregistered, definition, is_file

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.run import Run
    from parade.v1 import scheduler_pb2

OptionalRunId = Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id; many are meant where none is given.")]


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
        str,
        typer.Argument(
            metavar="WORKFLOW|FILE", help="The name of a workflow or a durable function, or a definition's file, which is stored first."
        ),
    ],
    pairs: Pairs = None,
    document: Document = None,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Follow the run to its end, or print its id and return.")] = True,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label to find the run by; can be given again.")] = None,
    priority: Annotated[
        int | None,
        typer.Option(min=-100, max=100, help="Of what waits for a free place, the highest goes first; else as the workflow says."),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="The workflow's version; the newest where not given.")] = None,
    request_id: Annotated[
        str, typer.Option(metavar="ID", help="Names this start: the same again returns, or follows, the run that there is.")
    ] = "",
    allow_unregistered: AllowUnregistered = False,
    output: Output = Format.TABLE,
) -> None:
    """Start a run, follow it and print its outputs.

    The exit code is 1 where the run does not succeed. Ctrl-C ends the following, not the run.

    For example:

        parade run sales-report source=sales.csv --label team=retail --request-id report-2026-11
    """
    inputs, found_labels = named_values(pairs, document), labels(label)
    source = definition(Path(workflow)) if is_file(workflow) else ""
    if source and version is not None:
        raise typer.BadParameter("a definition's file is stored as a version of its own, and that one is started", param_hint="--version")

    async def work(mesh: "Mesh") -> bool:
        name, number = workflow, version or 0
        if source:
            stored = await mesh.put_workflow(source, allow_unregistered=allow_unregistered)
            name, number = stored.name, stored.version
        run = await mesh.start(name, inputs, version=number, request_id=request_id, labels=found_labels, priority=priority)
        if not follow:
            from parade.cli.run_view import print_started

            await print_started(run, output)
            return True
        return await _follow_to_outputs(mesh, run, output)

    if not with_mesh(work, traced=True):
        raise typer.Exit(FAILED)


@app.command("list")
def list_runs(
    workflow: Workflow = "",
    state: State = None,
    label: Label = None,
    input: Input = None,
    since: Since = None,
    before: Before = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 20,
    output: Output = Format.TABLE,
) -> None:
    """List runs, newest first.

    For example:

        parade run list --workflow sales-report --state failed --input source=sales.csv --since 2h
    """
    from parade.cli.plain import local_time, plain, state_name
    from parade.cli.run_view import length_of

    wanted = selection(workflow, state, label, input, since, before)
    runs = with_mesh(lambda mesh: mesh.runs(**wanted, limit=limit))
    rows = [
        (
            run.id,
            f"{run.workflow} {run.workflow_version or ''}".rstrip(),
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
            return await _follow_to_outputs(mesh, run, output)
        return await _print_events(run, output)

    if not with_mesh(work):
        raise typer.Exit(FAILED)


@app.command()
def cancel(
    run_id: OptionalRunId = None,
    reason: Annotated[str, typer.Option(help="Why, for the run's history.")] = "",
    wait: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="Wait until it has ended, this long at most.")
    ] = None,
    workflow: Workflow = "",
    state: State = None,
    label: Label = None,
    input: Input = None,
    since: Since = None,
    before: Before = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Ask a run to end now, or many.

    Steps that run are cancelled, others do not start, and what has compensations is undone. Where no run is named the options say which are
    meant; they are shown first. With --wait the exit code is 1 where something could not be undone.

    For example:

        parade run cancel run_01hzy3 --reason "wrong file" --wait 10s
        parade run cancel --workflow sales-report --state queued --dry-run
    """
    wanted = selection(workflow, state, label, input, since, before)
    demand_one_or_many(run_id, wanted, of_one={"--wait": wait is not None}, of_many={"--dry-run": dry_run, "--yes": yes})
    if run_id is None:
        act = lambda mesh, only_tell: mesh.cancel_runs(**wanted, reason=reason, dry_run=only_tell)  # noqa: E731
        do_to_many(act, "cancel", "is being cancelled", output, dry_run=dry_run, yes=yes)
        return

    async def work(mesh: "Mesh") -> "scheduler_pb2.Run | None":
        run = mesh.run(run_id)
        await run.cancel(reason)
        return None if wait is None else await run.wait(wait)

    ended = with_mesh(work)
    if ended is not None and ended.HasField("error"):
        from parade.wire.status import from_record

        show_error(from_record(ended.error))
        raise typer.Exit(FAILED)
    say(f"run {run_id} is {'being ' if ended is None else ''}cancelled")


@app.command()
def rerun(
    run_id: OptionalRunId = None,
    pairs: Pairs = None,
    document: Document = None,
    from_step: Annotated[
        str, typer.Option("--from", metavar="STEP", help="The first step that runs again; everything where not given.")
    ] = "",
    version: Annotated[int, typer.Option(min=0, help="The version of the workflow; that of the run where not given.")] = 0,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Follow the new run to its end, or print its id and return.")] = True,
    workflow: Workflow = "",
    state: State = None,
    label: Label = None,
    input: Input = None,
    since: Since = None,
    before: Before = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Start a run that repeats an ended one from a step on, or start many again.

    The step runs again with all that need it; the others keep their results. Values replace inputs of the run. Where no run is named the
    options say which are meant; they are shown first, and run again from their beginning.

    For example:

        parade run rerun run_01hzy3 limit=10 --from clean
        parade run rerun --workflow sales-report --state failed --since 2h --dry-run
    """
    wanted = selection(workflow, state, label, input, since, before)
    inputs = named_values(pairs, document)
    of_one = {"--from": bool(from_step), "--version": bool(version), "--json": bool(inputs), "--detach": not follow}
    demand_one_or_many(run_id, wanted, of_one=of_one, of_many={"--dry-run": dry_run, "--yes": yes})
    if run_id is None:
        request_id = uuid.uuid4().hex
        act = lambda mesh, only_tell: mesh.rerun_runs(**wanted, request_id=request_id, dry_run=only_tell)  # noqa: E731
        do_to_many(act, "start again", "is started again", output, dry_run=dry_run, yes=yes)
        return

    async def work(mesh: "Mesh") -> bool:
        new = await mesh.run(run_id).rerun(from_step, inputs, version=version)
        if not follow:
            await print_started(new, output)
            return True
        return await _follow_to_outputs(mesh, new, output)

    from parade.cli.run_view import print_started

    if not with_mesh(work):
        raise typer.Exit(FAILED)


for operation in (pause, resume, signal, approve, reject, fork):
    app.command()(operation)


async def _follow_to_outputs(mesh: "Mesh", run: "Run", output: Format) -> bool:
    import asyncio

    from parade.cli.plain import plain
    from parade.cli.run_view import follow

    try:
        await follow(run, mesh.run)
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
