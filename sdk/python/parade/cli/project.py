"""`parade init`: a small project that runs."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from parade.cli.output import say

TEMPLATE = "parade.cli.template"
FILES = ("agents.py", "workflow.yaml", "README.md")


def init(folder: Annotated[Path, typer.Argument(help="Where; it is made if it does not exist.")] = Path()) -> None:
    """Write a small project that runs.

    It has an agent, a workflow over it, and a page that says how to start them. Files that exist are never changed.

    For example:

        parade init greetings
    """
    present = [name for name in FILES if (folder / name).exists()]
    if present:
        raise typer.BadParameter(f"{folder.resolve()} has {', '.join(present)} already; nothing was written", param_hint="FOLDER")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).write_bytes((resources.files(TEMPLATE) / name).read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written to: {error.strerror}", param_hint="FOLDER") from error
    say(f"wrote {', '.join(FILES)} to {folder.resolve()}; README.md has the three commands")
