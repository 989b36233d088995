"""What commands write: results to standard output, all else to standard error. Colours go to terminals only, and NO_COLOR is honoured."""

import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 1000
"""Columns where nobody looks: a line that goes to a program or a file is never broken."""

_ADVICE = {
    Reason.UNKNOWN_FUNCTION: "`parade function list` shows the functions there are.",
    Reason.UNAUTHENTICATED: "`parade doctor` checks the certificates.",
    Reason.UNAVAILABLE: "`parade doctor` says what does not run.",
    Reason.NO_CAPACITY: "`parade ps` shows the instances; start another with `parade agent serve`, or try again.",
    Reason.AGENT_LOST: "It can be tried again; `parade ps` shows the instances.",
    Reason.OUTCOME_UNKNOWN: "Find out whether it happened before you try again.",
    Reason.APPROVAL_REQUIRED: "`parade approve` shows what waits for an approval, and gives it.",
    Reason.DEADLINE_EXCEEDED: "Allow more time with --timeout, or see where it goes with `parade trace`.",
    Reason.INTERNAL: "`parade logs --severity error` says more.",
}
"""What to do about a failure, where its reason tells."""


class Format(StrEnum):
    """How a command writes its result."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.")]
"""The option that most commands have."""


def write(data: Any, format: Format, *tables: "RenderableType") -> None:
    """Writes a result to standard output.

    Args:
        data: The result as plain values, for JSON and YAML.
        format: How.
        tables: What to show for people.
    """
    if format is Format.TABLE:
        _print(tables)
        return
    sys.stdout.write(encoded(data, format))


def write_next(data: Any, format: Format) -> None:
    """Writes one of many results at once: a line of JSON, or a YAML document."""
    if format is Format.YAML:
        sys.stdout.write(f"---\n{encoded(data, format)}")
    else:
        sys.stdout.write(f"{_json(data, 0)}\n")
    sys.stdout.flush()


def write_value(value: Any, format: Format) -> None:
    """Writes a value that a function or a run gave: for people, text as it is and the rest as JSON."""
    if format is Format.TABLE:
        sys.stdout.write(f"{value}\n" if isinstance(value, str) else encoded(value, Format.JSON))
    else:
        sys.stdout.write(encoded(value, format))
    sys.stdout.flush()


def encoded(data: Any, format: Format) -> str:
    """Returns plain values as JSON or YAML."""
    if format is Format.YAML:
        import yaml

        text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        return text
    import orjson

    return f"{_json(data, orjson.OPT_INDENT_2)}\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> "RenderableType":
    """Returns a table without lines.

    Args:
        headings: What stands over the columns; no line of it where all are empty.
        rows: Its cells, as plain text.
        empty: What to say where there are no rows.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(headings))
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    return made if made.row_count else Text(empty, style="dim")


def style_of(word: str) -> str:
    """Returns how the name of a state looks; nothing for any other text."""
    match word.lower():
        case "ready" | "succeeded" | "ok" | "active":
            return "green"
        case (
            "running"
            | "starting"
            | "joining"
            | "cancelling"
            | "compensating"
            | "queued"
            | "paused"
            | "restarting"
            | "draining"
            | "degraded"
            | "warning"
        ):
            return "yellow"
        case "dead" | "lost" | "failed" | "fail" | "error":
            return "red"
        case "skipped" | "cancelled" | "stopped" | "pending":
            return "dim"
    return ""


def say(text: str) -> None:
    """Tells a person something that is not the result."""
    stderr().print(text, soft_wrap=True)


def show_error(error: ParadeError) -> None:
    """Tells what failed, every fault of it, and what to do."""
    from rich.text import Text

    from parade.wire.redaction import scrubbed

    screen = stderr()
    screen.print(Text.assemble(("error: ", "bold red"), scrubbed(error.message), (f"  [{error.reason}]", "dim")), soft_wrap=True)
    for violation in error.violations:
        screen.print(scrubbed(f"  - {violation}"), soft_wrap=True)
    for name, value in sorted(error.metadata.items()):
        screen.print(Text(scrubbed(f"  {name.replace('_', ' ')}: {value}"), style="dim"), soft_wrap=True)
    advice = _ADVICE.get(error.reason, "")
    if advice and "`parade " not in error.message:
        screen.print(advice, soft_wrap=True)


def stdout() -> "Console":
    """Returns the screen that results go to."""
    return _console(sys.stdout)


def stderr() -> "Console":
    """Returns the screen for everything else."""
    return _console(sys.stderr)


def _print(parts: "Sequence[RenderableType]") -> None:
    screen = stdout()
    if screen.is_terminal:
        for part in parts:
            screen.print(part)
        return
    # A table fills its last column with spaces, which programs trip over.
    with screen.capture() as captured:
        for part in parts:
            screen.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _console(file: Any) -> "Console":
    from rich.console import Console

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _json(data: Any, options: int) -> str:
    import orjson

    return orjson.dumps(data, option=options).decode()
