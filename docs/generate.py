"""Generates the reference in `docs/reference` from what it describes: the contracts and the command line.

Run by `make docs`; with `--check`, by `make check`, it writes nothing and fails where a page is not up to date.
Knows the pages; what stands on them is the business of the module that renders each.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from docs import api_reference, cli_reference

REFERENCE = Path(__file__).resolve().parent / "reference"

PAGES: dict[str, Callable[[], str]] = {"api.md": api_reference.render, "cli.md": cli_reference.render}
"""What renders each page."""
MARK = "<!-- Generated from"
"""What tells a page that is generated from one that people write."""


def write() -> None:
    """Writes every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")


def stale_pages() -> list[str]:
    """Names the pages that are missing, differ from what would be generated, or were generated once and are no more."""
    written = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    stale = [name for name, render in PAGES.items() if written.get(name) != render()]
    return stale + sorted(name for name, page in written.items() if name not in PAGES and MARK in page)


def main(arguments: list[str]) -> int:
    """Writes or checks the pages; returns the exit code."""
    if arguments != ["--check"]:
        write()
        return 0
    stale = stale_pages()
    for name in stale:
        print(f"docs/reference/{name} is not up to date: run make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
