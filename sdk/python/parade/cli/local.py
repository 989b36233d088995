"""`parade dev` and `parade down`: the mesh on this machine. Knows how to start it, and nothing of its services."""

import os
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from parade.cli.group import USAGE_OR_CONNECTION
from parade.cli.output import say

MODULE = "parade_local"
DISTRIBUTION = "parade-mesh"

Folder = Annotated[Path, typer.Option("--folder", help="Where the mesh keeps its state: certificates, key, data.")]


class LogLevel(StrEnum):
    """How grave a log record is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def dev(
    folder: Folder = Path(".parade"),
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start it in the background and return once it is ready.")] = False,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="The least grave log record to show.")] = LogLevel.INFO,
    dispatchers: Annotated[int, typer.Option("--dispatchers", min=1, max=16, help="How many processes carry calls.")] = 1,
) -> None:
    """Start the whole mesh on this machine.

    Ctrl-C stops it.

    For example:

        parade dev --detach
    """
    options = ["--state", str(folder), "--log-level", log_level.value, "--dispatchers", str(dispatchers)]
    _become("up", *options, *(["--detach"] if detach else []))


def down(folder: Folder = Path(".parade")) -> None:
    """Stop the mesh that runs in a folder.

    For example:

        parade down
    """
    _become("down", "--state", str(folder))


def _become(*arguments: str) -> NoReturn:
    if find_spec(MODULE) is None:
        say(f"error: the services of the mesh are not installed. Install them with: pip install {DISTRIBUTION}")
        raise typer.Exit(USAGE_OR_CONNECTION)
    sys.stdout.flush()
    sys.stderr.flush()
    # The same process goes on as the supervisor, so that signals and the exit code need nobody in between.
    # -P: what lies in the user's folder by chance is not imported.
    os.execv(sys.executable, [sys.executable, "-P", "-m", MODULE, *arguments])  # noqa: S606  # no shell is wanted
