"""`parade function`: what can be called."""

from typing import Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, table, write

app = typer.Typer(no_args_is_help=True, help="What can be called.")


@app.command("list")
def list_functions(
    agent: Annotated[str, typer.Option("--agent", help="Only the functions of this agent.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List the functions of all agents, with how many instances can take a call now.

    For example:

        parade function list --agent greeter
    """
    from parade.cli.plain import plain, state_name

    entries = with_mesh(lambda mesh: mesh.functions(agent))
    rows = [
        (
            entry.full_name,
            signature(plain(entry.function)),
            state_name(entry.function, "effect").lower(),
            str(entry.ready_instances),
            first_line(entry.function.description),
        )
        for entry in entries
    ]
    headings = ("FUNCTION", "ARGUMENTS", "EFFECT", "READY", "DESCRIPTION")
    write([plain(entry) for entry in entries], output, table(headings, rows, "No agent has registered a function yet."))


def signature(function: dict[str, Any]) -> str:
    """Returns a function's arguments in short, with those that may be left out in brackets."""
    schema = function.get("argumentsSchema") or {}
    required = schema.get("required", ())
    return " ".join(name if name in required else f"[{name}]" for name in schema.get("properties", {}))


def first_line(text: str) -> str:
    """Returns the first line of a text."""
    return text.strip().partition("\n")[0]
