"""Generates the reference in `docs/reference` from what it describes: the contracts, the command line, the workflow language.

Run by `make docs`; with `--check`, by `make check`, it writes nothing and fails where a page is not up to date.
Knows the pages; what stands on them is the business of the module that renders each.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from docs import api_reference, cli_reference, workflow_schema

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"

PAGES: dict[Path, Callable[[], str]] = {
    REFERENCE / "api.md": api_reference.render,
    REFERENCE / "cli.md": cli_reference.render,
    REFERENCE / "workflow.schema.json": workflow_schema.render,
    # The command line prints it, and may not import the scheduler, which knows the language.
    ROOT / "sdk" / "python" / "parade" / "cli" / "workflow.schema.json": workflow_schema.render,
}
"""What renders each page."""
MARK = "<!-- Generated from"
"""What tells a page that is generated from one that people write."""


def write() -> None:
    """Writes every page."""
    REFERENCE.mkdir(exist_ok=True)
    for path, render in PAGES.items():
        path.write_text(render(), encoding="utf-8")


def stale_pages() -> list[Path]:
    """Returns the pages that are missing, differ from what would be generated, or were generated once and are no more."""
    stale = [path for path, render in PAGES.items() if not path.exists() or path.read_text(encoding="utf-8") != render()]
    return stale + sorted(path for path in REFERENCE.glob("*.md") if path not in PAGES and MARK in path.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Writes or checks the pages; returns the exit code."""
    if arguments != ["--check"]:
        write()
        return 0
    stale = stale_pages()
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not up to date: run make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
