"""`parade workflow`: the definitions that runs are started from."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.group import FAILED
from parade.cli.output import Format, Output, say, table, write
from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.v1.scheduler_pb2 import CheckWorkflowResponse, Workflow

_FILE = re.compile(r"/|^\.|\.(ya?ml|json)$|^-$")
"""What tells a file from the name of a workflow; that of a durable function has a dot."""

app = typer.Typer(no_args_is_help=True, help="The definitions that runs are started from.")

AllowUnregistered = Annotated[bool, typer.Option("--allow-unregistered", help="Accept functions that no agent has registered yet.")]


class Drawing(StrEnum):
    """What a graph is drawn as."""

    MERMAID = "mermaid"
    SVG = "svg"


@app.command()
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The definition, YAML or JSON; - for standard input.")],
    allow_unregistered: AllowUnregistered = False,
    output: Output = Format.TABLE,
) -> None:
    """Store a definition as a new version of its name.

    Every fault in it is shown with its line.

    For example:

        parade workflow put workflow.yaml
    """
    from parade.cli.plain import plain

    source = definition(file)
    workflow = with_mesh(lambda mesh: mesh.put_workflow(source, allow_unregistered=allow_unregistered))
    if output is Format.TABLE:
        say(f"stored as version {workflow.version} of")
        print(workflow.name)
    else:
        write(plain(workflow), output)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Definitions, YAML or JSON; - for standard input.")],
    allow_unregistered: AllowUnregistered = False,
    output: Output = Format.TABLE,
) -> None:
    """Show every fault of definitions with its line and what to write instead, and store nothing.

    Exits with 1 where there is a fault.

    For example:

        parade workflow check workflow.yaml
    """
    from parade.cli.plain import plain

    sources = {file: definition(file) for file in files}

    async def work(mesh: "Mesh") -> "list[CheckWorkflowResponse]":
        return [await mesh.check_workflow(source, allow_unregistered=allow_unregistered) for source in sources.values()]

    checks = dict(zip(sources, with_mesh(work), strict=True))
    if output is not Format.TABLE:
        write([{"file": str(file), **plain(found)} for file, found in checks.items()], output)
    elif any(found.faults for found in checks.values()):
        print("\n".join(line for file, found in checks.items() for line in _faults(file, found)))
    else:
        print(f"no fault in {files[0]}" if len(checks) == 1 else f"no fault in {len(checks)} files")
    if any(found.faults for found in checks.values()):
        raise typer.Exit(FAILED)


@app.command()
def graph(
    name: Annotated[
        str, typer.Argument(metavar="FILE|WORKFLOW", help="A definition; or a stored workflow by name, in its newest version.")
    ],
    format: Annotated[Drawing, typer.Option(help="What to draw it as.")] = Drawing.MERMAID,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write it; - for standard output.")] = Path("-"),
) -> None:
    """Draw the steps of a workflow and which needs which, as a Mermaid flowchart or an SVG picture.

    A need that follows from others has no line. A step with a for-each is drawn with a second edge, one with an if with a dashed border.

    For example:

        parade workflow graph workflow.yaml --format svg --output workflow.svg
    """
    from parade.cli.graph_svg import svg
    from parade.cli.mermaid import mermaid

    file = Path(name)
    source = definition(file) if is_file(name) else None

    async def work(mesh: "Mesh") -> "CheckWorkflowResponse":
        text = _source(await mesh.workflow(name)) if source is None else source
        return await mesh.check_workflow(text, allow_unregistered=True)

    found = with_mesh(work)
    if found.faults:
        for line in _faults(file, found):
            say(line)
        raise typer.Exit(FAILED)
    if not found.HasField("graph"):
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the graph of {name} is too large to be drawn")
    drawing = svg(found.graph) if format is Drawing.SVG else mermaid(found.graph)
    if str(output) == "-":
        print(drawing, end="")
        return
    try:
        output.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error}") from error


@app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name.")],
    version: Annotated[int, typer.Option(min=0, help="Its version; the newest where 0.")] = 0,
    output: Output = Format.TABLE,
) -> None:
    """Print a definition as it was put.

    For example:

        parade workflow get sales-report > sales-report.yaml
    """
    from parade.cli.plain import plain

    workflow = with_mesh(lambda mesh: mesh.workflow(name, version))
    if output is Format.TABLE:
        print(_source(workflow).rstrip("\n"))
    else:
        write(plain(workflow), output)


@app.command("list")
def list_workflows(output: Output = Format.TABLE) -> None:
    """List the newest version of every workflow.

    For example:

        parade workflow list
    """
    from parade.cli.plain import local_time, plain

    workflows = with_mesh(lambda mesh: mesh.workflows())
    rows = [
        (workflow.name, str(workflow.version), f"{local_time(workflow.create_time):%Y-%m-%d %H:%M:%S}", workflow.description)
        for workflow in workflows
    ]
    empty = "There is no workflow yet; store one with `parade workflow put`."
    write([plain(workflow) for workflow in workflows], output, table(("WORKFLOW", "VERSION", "STORED", "DESCRIPTION"), rows, empty))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the workflow language, with which an editor completes a definition and underlines its faults.

    For example:

        parade workflow schema > workflow.schema.json
    """
    from importlib.resources import files

    print((files("parade.cli") / "workflow.schema.json").read_text(encoding="utf-8"), end="")


def _faults(file: Path, found: "CheckWorkflowResponse") -> list[str]:
    """Returns the faults of a file, a line each, as compilers write them so that editors can follow."""
    lines = []
    for fault in found.faults:
        place = f"{file}:{fault.line}" if fault.line else str(file)
        words = " ".join(f"{fault.description} ({fault.hint})".split() if fault.hint else fault.description.split())
        lines.append(f"{place}: {words}")
    if found.fault_count > len(found.faults):
        lines.append(f"{file}: and {found.fault_count - len(found.faults):,} more")
    return lines


def _source(workflow: "Workflow") -> str:
    """Returns the definition of a workflow.

    Raises:
        ParadeError: FAILED_PRECONDITION, where its definition is its code.
    """
    if not workflow.source:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"{workflow.name} is a durable function: its definition is the code of its agent")
    return workflow.source


def is_file(name: str) -> bool:
    """Tells whether a word on the command line is a file, or standard input, and not the name of a workflow."""
    return bool(_FILE.search(name))


def definition(file: Path) -> str:
    """Returns what a file holds; `-` is standard input.

    Raises:
        typer.BadParameter: It cannot be read.
    """
    try:
        if str(file) == "-":
            return typer.get_text_stream("stdin").read()
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}") from error
