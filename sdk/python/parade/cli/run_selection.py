"""Which of many runs a command is about: the options that say so, and what they say."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from parade.cli.arguments import labels, moment

Workflow = Annotated[str, typer.Option(help="Only of this workflow.")]
State = Annotated[list[str] | None, typer.Option(help="Only in this state; can be given again.")]
Label = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this label; can be given again.")]
Input = Annotated[list[str] | None, typer.Option("--input", metavar="NAME=VALUE", help="Only with this input; can be given again.")]
Since = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Only started since: a time, or how long ago, as 2h or 7d.")
]
Before = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Only started before: a time, or how long ago, as 2h or 7d.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Of many: show which runs are meant, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Of many: do it without asking first.")]


def selection(
    workflow: str,
    state: Sequence[str] | None,
    label: Sequence[str] | None,
    input: Sequence[str] | None,
    since: datetime | None,
    before: datetime | None,
) -> dict[str, Any]:
    """Returns which runs are wanted, as `Mesh.runs` and its like take it; empty where no option was given.

    Raises:
        typer.BadParameter: Something is not understood.
    """
    wanted = {
        "workflow": workflow,
        "states": _states(state or ()),
        "labels": labels(label),
        "inputs": _inputs(input or ()),
        "since": since,
        "before": before,
    }
    return {name: given for name, given in wanted.items() if given}


def demand_one_or_many(run_id: str | None, wanted: Mapping[str, Any], *, of_one: Mapping[str, bool], of_many: Mapping[str, bool]) -> None:
    """Demands that either one run is named or something says which of many are meant, and that every option has a meaning there.

    Args:
        run_id: The run, where one is named.
        wanted: Which of many are meant.
        of_one: The options that mean something for one run alone, and whether each was given.
        of_many: Those that mean something for many alone.

    Raises:
        typer.BadParameter: It is not so.
    """
    if run_id is None and not wanted:
        raise typer.BadParameter("name a run, or say by --workflow, --state, --label, --input, --since or --before which are meant")
    if run_id is not None and wanted:
        raise typer.BadParameter("name a run, or say which are meant, not both")
    meaningless = [option for option, given in (of_one if run_id is None else of_many).items() if given]
    if meaningless:
        shown = "many runs" if run_id is None else "one run that is named"
        raise typer.BadParameter(f"has no meaning for {shown}", param_hint=meaningless[0])


def _states(names: Sequence[str]) -> list[Any]:
    if not names:
        return []
    from parade.run import RunState

    known = {name.lower() for name in RunState}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no state of a run; there are {', '.join(sorted(known))}", param_hint="--state")
    return [RunState(name.upper()) for name in names]


def _inputs(pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"the input {pair!r} is not understood; write name=value", param_hint="--input")
        found[name] = text
    return found
