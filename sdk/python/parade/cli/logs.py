"""`parade logs`: what services and agents wrote."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, stdout, style_of, write, write_next

if TYPE_CHECKING:
    from rich.text import Text

    from parade.client import Mesh
    from parade.v1.monitor_pb2 import LogFilter, LogRecord


class Severity(StrEnum):
    """How grave a log record is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what arrives, until Ctrl-C.")] = False,
    service: Annotated[str, typer.Option(help="Only of this service or agent.")] = "",
    run: Annotated[str, typer.Option(metavar="RUN", help="Only of this run.")] = "",
    trace: Annotated[str, typer.Option(metavar="TRACE", help="Only of this trace.")] = "",
    severity: Annotated[Severity | None, typer.Option(help="Only this grave or graver.")] = None,
    contains: Annotated[str, typer.Option(metavar="TEXT", help="Only events with this text in them.")] = "",
    last: Annotated[int, typer.Option("--last", "-n", min=0, max=1000, help="How many of the newest to start with.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """Print log records, oldest first.

    With --follow, JSON is one record a line.

    For example:

        parade logs --follow --service scheduler --severity warning
    """
    from parade.cli.plain import plain
    from parade.v1 import monitor_pb2

    wanted = monitor_pb2.LogFilter(service=service, run_id=run, trace_id=trace, contains=contains)
    if severity is not None:
        wanted.severity = monitor_pb2.Severity.Value(f"SEVERITY_{severity.name}")

    async def work(mesh: "Mesh") -> None:
        if follow:
            await _follow(mesh, wanted, last, output)
            return
        records = (await mesh.logs(wanted, last))[::-1] if last else []
        write([plain(record) for record in records], output, *map(_line, records))

    with_mesh(work)


async def _follow(mesh: "Mesh", wanted: "LogFilter", last: int, output: Format) -> None:
    from parade.cli.plain import plain

    screen = stdout()
    async for record in _patient_tail(mesh, wanted, last):
        if output is Format.TABLE:
            screen.print(_line(record), soft_wrap=True)
            screen.file.flush()
        else:
            write_next(plain(record), output)


async def _patient_tail(mesh: "Mesh", wanted: "LogFilter", last: int) -> AsyncIterator["LogRecord"]:
    """Yields records as they arrive and opens the stream again where the monitor goes away, as it does while it restarts."""
    import asyncio

    from parade.patience import PATIENCE
    from parade.wire.errors import ParadeError, Reason

    pause, waited = 0.2, 0.0
    while True:
        try:
            async for record in mesh.tail_logs(wanted, last):
                pause, waited, last = 0.2, 0.0, 0
                yield record
        except ParadeError as error:
            if error.reason is not Reason.UNAVAILABLE or waited >= PATIENCE:
                raise
        await asyncio.sleep(pause)
        waited, pause = waited + pause, min(pause * 2, 2.0)


def _line(record: "LogRecord") -> "Text":
    from rich.text import Text

    from parade import values
    from parade.cli.plain import local_time, state_name

    severity = state_name(record, "severity").lower()
    line = Text.assemble(
        (f"{local_time(record.time):%H:%M:%S.%f}"[:-3], "dim"),
        " ",
        (f"{severity:7}", style_of(severity)),
        " ",
        f"{record.service:14} ",
        record.event,
    )
    for name, value in (values.decode(record.fields) or {}).items():
        line.append(f"  {name}={_short(value)}", style="dim")
    return line


def _short(value: Any) -> str:
    if isinstance(value, str) and value and not any(letter.isspace() for letter in value):
        return value
    import orjson

    return orjson.dumps(value).decode()
