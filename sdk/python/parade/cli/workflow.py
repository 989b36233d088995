"""`parade workflow`: the definitions that runs are started from."""

from pathlib import Path
from typing import Annotated

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write

app = typer.Typer(no_args_is_help=True, help="The definitions that runs are started from.")

AllowUnregistered = Annotated[bool, typer.Option("--allow-unregistered", help="Accept functions that no agent has registered yet.")]


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
        print(workflow.source.rstrip("\n"))
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
