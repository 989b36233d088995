"""The command `parade`: its commands by name, and the options that go before them."""

from pathlib import Path
from typing import Annotated

import typer

from parade.cli import agent, artifact, audit, calls, cert, event, function, key, policy, role, run, schedule, workflow
from parade.cli.approve import approve
from parade.cli.call import call
from parade.cli.connection import use_mesh_file
from parade.cli.doctor import doctor
from parade.cli.group import Root
from parade.cli.local import dev, down
from parade.cli.login import login, logout, token, whoami
from parade.cli.logs import logs
from parade.cli.project import init
from parade.cli.ps import ps
from parade.cli.trace import trace

DISTRIBUTION = "parade-sdk"

app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"parade {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def root(
    mesh: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", exists=True, help="The mesh file, or the folder that it lies in. Else PARADE_MESH, or the nearest .parade."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A mesh for AI agents: start it, serve agents on it, call their functions, run workflows over them, see what happens.

    Exit codes: 0 done, 1 failed, 2 not understood or no connection.

    For example:

        parade init greetings && cd greetings && parade dev
    """
    if mesh is not None:
        use_mesh_file(mesh)


app.command()(init)
app.command()(dev)
app.command()(down)
app.command()(ps)
app.command()(doctor)
app.command()(call)
app.command()(approve)
app.command()(logs)
app.command()(trace)
app.command()(login)
app.command()(logout)
app.command()(token)
app.command()(whoami)
app.add_typer(calls.app, name="calls")
app.add_typer(run.app, name="run")
app.add_typer(workflow.app, name="workflow")
app.add_typer(schedule.app, name="schedule")
app.add_typer(event.app, name="event")
app.add_typer(agent.app, name="agent")
app.add_typer(function.app, name="function")
app.add_typer(artifact.app, name="artifact")
app.add_typer(key.app, name="key")
app.add_typer(role.app, name="role")
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")
app.add_typer(cert.app, name="cert")


def main() -> None:
    """Runs the command line and exits."""
    app(prog_name="parade")
