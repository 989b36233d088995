"""What is done to many runs at once: shown first, asked about, then done."""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.group import FAILED
from parade.cli.output import Format, say, table, write

if TYPE_CHECKING:
    from parade.client import Mesh


def do_to_many(act: "Callable[[Mesh, bool], Awaitable[Any]]", verb: str, done: str, output: Format, *, dry_run: bool, yes: bool) -> None:
    """Does something to the runs that an act takes, and tells what became of each.

    Args:
        act: Does it by a connection; where it is told so it only tells which runs are meant. It answers with `outcomes` and `more`.
        verb: What is done, in the infinitive.
        done: What was done to a run that all went well with.
        output: How the outcomes are printed.
        dry_run: Whether to stop after telling which runs are meant.
        yes: Whether not to ask first.

    Raises:
        typer.Exit: With 1 where it did not go well with every run.
        typer.BadParameter: Nobody is there to be asked, and `--yes` was not given.
        typer.Abort: The answer was no.
    """
    meant = with_mesh(lambda mesh: act(mesh, True))
    if dry_run or not meant.outcomes:
        _show(meant.outcomes, "", output)
        return
    count = f"{len(meant.outcomes):,}{' and more' if meant.more else ''} run{'' if len(meant.outcomes) == 1 else 's'}"
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter(f"this would {verb} {count}; give --yes where nobody can be asked, or --dry-run to see them")
        typer.confirm(f"{verb} {count}?", abort=True, err=True)
    outcomes = with_mesh(lambda mesh: _all(mesh, act))
    _show(outcomes, done, output)
    if any(outcome.HasField("error") for outcome in outcomes):
        raise typer.Exit(FAILED)


async def _all(mesh: "Mesh", act: "Callable[[Mesh, bool], Awaitable[Any]]") -> list[Any]:
    outcomes: dict[str, Any] = {}
    while True:
        response = await act(mesh, False)
        new = {outcome.run_id: outcome for outcome in response.outcomes if outcome.run_id not in outcomes}
        outcomes.update(new)
        if not response.more or not new:
            if response.more:
                say("There are more runs; narrow them down, for example with --before.")
            return list(outcomes.values())


def _show(outcomes: list[Any], done: str, output: Format) -> None:
    from parade.cli.plain import plain

    rows = [(outcome.run_id, outcome.error.message if outcome.HasField("error") else done, outcome.new_run_id) for outcome in outcomes]
    write([plain(outcome) for outcome in outcomes], output, table(("RUN", "OUTCOME", "NEW RUN"), rows, "There is no such run."))
