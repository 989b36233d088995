"""Renders the reference of the command line from the command line itself. Knows how to ask typer for it, and no command."""

import subprocess
import sys
from pathlib import Path

MODULE = "parade.cli.main"
PROGRAM = "parade"
NOTE = "<!-- Generated from the command line's own help by `make docs`. Change it there. -->"


def render() -> str:
    """Returns the page, in Markdown."""
    command = [sys.executable, "-m", "typer", MODULE, "utils", "docs", "--name", PROGRAM, "--title", "Command line reference"]
    page = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60).stdout
    title, _, rest = page.strip().partition("\n")
    return f"{title}\n\n{NOTE}\n{rest}\n"
