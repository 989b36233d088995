"""Writes what the services say to standard output, each with its name before it."""

import itertools
import os
import sys
from collections.abc import Callable

COLOURS = (36, 32, 33, 35, 34)
PREFIX_WIDTH = 14

Say = Callable[[str, str], None]
"""Takes who says something, and the line."""


def printer() -> Say:
    """Returns what prints; on a terminal each service has its colour, unless `NO_COLOR` is set."""
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    colours = itertools.cycle(COLOURS)
    chosen: dict[str, int] = {}

    def say(who: str, line: str) -> None:
        prefix = f"{who:{PREFIX_WIDTH}}| "
        if coloured:
            prefix = f"\x1b[{chosen.setdefault(who, next(colours))}m{prefix}\x1b[0m"
        sys.stdout.write(f"{prefix}{line}\n")
        sys.stdout.flush()

    return say
