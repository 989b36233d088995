"""`parade schedule`: when runs of workflows start by themselves."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.arguments import Document, Pairs, named_values
from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, encoded, say, table, write

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from parade.v1.schedule_pb2 import Schedule

app = typer.Typer(no_args_is_help=True, help="When runs of workflows start by themselves.")

Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's name.")]


class CatchUp(StrEnum):
    """What becomes of times that passed while no scheduler ran."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@app.command()
def put(
    name: Name,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's name; its newest version runs.")],
    cron: Annotated[
        str, typer.Option(metavar="EXPRESSION", help="When: minute, hour, day of the month, month, day of the week; `0 6 * * 1-5`.")
    ],
    pairs: Pairs = None,
    document: Document = None,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="The time zone in which that is meant, for example Europe/Berlin.")
    ] = "UTC",
    catch_up: Annotated[CatchUp, typer.Option(help="What becomes of times that passed while no scheduler ran.")] = CatchUp.LAST,
    paused: Annotated[bool, typer.Option("--paused", help="Let it rest until it is resumed.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Store a schedule, or replace the one of its name.

    For example:

        parade schedule put nightly sales-report --cron "30 2 * * *" --time-zone Europe/Berlin source=sales.csv
    """
    inputs = named_values(pairs, document)
    stored = with_mesh(
        lambda mesh: mesh.put_schedule(name, workflow, cron, time_zone=time_zone, catch_up=catch_up.value, inputs=inputs, paused=paused)
    )
    _write_one(stored, output)


@app.command("list")
def list_schedules(
    workflow: Annotated[str, typer.Option(help="Only those of this workflow.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List schedules by name.

    For example:

        parade schedule list --workflow sales-report
    """
    from parade.cli.plain import plain

    schedules = with_mesh(lambda mesh: mesh.schedules(workflow))
    rows = [(one.name, one.workflow, one.cron, one.time_zone, _next(one), _last(one)) for one in schedules]
    empty = "There is no schedule; store one with `parade schedule put`."
    headings = ("SCHEDULE", "WORKFLOW", "CRON", "TIME ZONE", "NEXT", "LAST")
    write([plain(one) for one in schedules], output, table(headings, rows, empty))


@app.command()
def show(name: Name, output: Output = Format.TABLE) -> None:
    """Show a schedule: its times, its inputs, and the run that it started last.

    For example:

        parade schedule show nightly
    """
    _write_one(with_mesh(lambda mesh: mesh.schedule(name)), output)


@app.command()
def pause(name: Name, output: Output = Format.TABLE) -> None:
    """Let a schedule rest: it starts nothing until it is resumed.

    For example:

        parade schedule pause nightly
    """
    _write_one(with_mesh(lambda mesh: mesh.pause_schedule(name)), output)


@app.command()
def resume(name: Name, output: Output = Format.TABLE) -> None:
    """Let a schedule go on with the next of its times. Those that have passed are not caught up with.

    For example:

        parade schedule resume nightly
    """
    _write_one(with_mesh(lambda mesh: mesh.resume_schedule(name)), output)


@app.command()
def delete(name: Name) -> None:
    """Delete a schedule. Runs that it has started go on.

    One that is part of a workflow's definition stays: put the workflow without it, or pause it.

    For example:

        parade schedule delete nightly
    """
    with_mesh(lambda mesh: mesh.delete_schedule(name))
    say(f"deleted the schedule {name}")


def _write_one(schedule: "Schedule", output: Format) -> None:
    from parade.cli.plain import plain, state_name

    shown: dict[str, Any] = plain(schedule)
    rows = [
        ("schedule", schedule.name),
        ("workflow", schedule.workflow + (" (part of its definition)" if schedule.defined else "")),
        ("cron", f"{schedule.cron} ({schedule.time_zone})"),
        ("catch up", state_name(schedule, "catch_up").lower()),
        ("inputs", " ".join(encoded(shown["inputs"], Format.JSON).split())),
        ("next", _next(schedule)),
        ("last", f"{_last(schedule)} {schedule.last_run_id}".strip()),
    ]
    write(shown, output, table(("", ""), rows, ""))


def _next(schedule: "Schedule") -> str:
    if schedule.paused:
        return "paused"
    return _time(schedule.next_time) if schedule.HasField("next_time") else "never"


def _last(schedule: "Schedule") -> str:
    return _time(schedule.last_time) if schedule.HasField("last_time") else "never"


def _time(time: "Timestamp") -> str:
    from parade.cli.plain import local_time

    return f"{local_time(time):%Y-%m-%d %H:%M:%S}"
