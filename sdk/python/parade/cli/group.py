"""How a command ends: which exit code an error has and how it is shown. Knows no command."""

from typing import Any

import typer
from typer.core import TyperGroup

from parade.wire.errors import ParadeError, Reason

FAILED = 1
"""What was asked for was tried and failed."""
USAGE_OR_CONNECTION = 2
"""The command line was not understood, or the mesh was not reached."""
INTERRUPTED = 130
"""Ctrl-C, as shells count it."""

_CONNECTION = frozenset({Reason.UNAVAILABLE, Reason.UNAUTHENTICATED})


class Root(TyperGroup):
    """The root of all commands. It shows an expected failure in words and never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command and turns its `ParadeError` into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ParadeError as error:
            from parade.cli.output import show_error

            show_error(error)
            raise typer.Exit(exit_code(error)) from error


def exit_code(error: ParadeError) -> int:
    """Returns the exit code for a failure."""
    return USAGE_OR_CONNECTION if error.reason in _CONNECTION else FAILED
