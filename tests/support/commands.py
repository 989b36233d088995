"""Commands as people type them in a folder where a mesh runs, and the code that pages show them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from parade.wire.mesh_file import FILE_VARIABLE

PROGRAMS: Final = Path(sys.executable).parent
"""Where `parade` and `python` are."""
PARADE: Final = PROGRAMS / "parade"
TIMEOUT: Final = 90.0
"""Seconds that a command may take."""
WAITS: Final = 30.0
"""Seconds in which what is waited for must come true."""


def run(folder: Path, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command in a folder, with these environment variables besides. The mesh is found by the folder alone."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:/usr/bin:/bin", "NO_COLOR": "1", **variables}
    environment.pop(FILE_VARIABLE, None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )


def parade(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `parade` in a folder."""
    return run(folder, "parade", *arguments)


def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so that other processes do."""
    deadline = time.monotonic() + WAITS
    while not condition():
        assert time.monotonic() < deadline, "it has not come true in time"
        time.sleep(0.1)


def blocks(page: str, language: str) -> list[str]:
    """Returns the blocks of code in a page of Markdown that are of a language."""
    return [str(text) for text in re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
