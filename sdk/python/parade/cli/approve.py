"""`parade approve`: what waits for somebody's approval, and the answer to it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write

if TYPE_CHECKING:
    from parade.client import Mesh

_STATES = ("pending", "approved", "rejected", "withdrawn")


def approve(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run that waits; what waits is listed where none is given.")
    ] = None,
    step: Annotated[str | None, typer.Argument(metavar="STEP", help="The step that waits; its only one where not given.")] = None,
    task: Annotated[int, typer.Option(min=0, help="The task of the step, counted from 0, where it has several.")] = 0,
    note: Annotated[str, typer.Option(help="Why, for the run's history.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: the step fails.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="List only what you may resolve.")] = False,
    workflow: Annotated[str, typer.Option(help="List only what runs of this workflow wait for.")] = "",
    state: Annotated[
        list[str] | None, typer.Option(help="List those in this state: pending, approved, rejected or withdrawn; can be given again.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many to list, the oldest first.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """List what waits for approval, or approve it.

    For example:

        parade approve --mine
        parade approve run_01hzy3 pay --note "within the budget"
    """
    if run_id is None:
        _list({"workflow": workflow, "states": _states(state), "mine": mine, "limit": limit}, output)
        return

    async def work(mesh: "Mesh") -> str:
        wanted = step or await _only_step(mesh, run_id)
        run = mesh.run(run_id)
        await (run.reject if reject else run.approve)(wanted, task=task, note=note)
        return wanted

    resolved = with_mesh(work)
    say(f"{resolved} of run {run_id} is {'rejected' if reject else 'approved'}")


async def _only_step(mesh: "Mesh", run_id: str) -> str:
    """Returns the only step of a run that waits for approval.

    Raises:
        ParadeError: NOT_FOUND, where there is no such run; FAILED_PRECONDITION, where no step of it waits or several do.
    """
    from parade.wire.errors import ParadeError, Reason

    steps = sorted({approval.step for approval in await mesh.approvals(run_id=run_id)})
    if len(steps) == 1:
        return steps[0]
    if steps:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"run {run_id} waits for the approval of {', '.join(steps)}; say which")
    await mesh.run(run_id).get()
    raise ParadeError(Reason.FAILED_PRECONDITION, f"no step of run {run_id} waits for approval")


def _list(wanted: dict[str, Any], output: Format) -> None:
    from parade.cli.plain import local_time, plain, state_name

    approvals = with_mesh(lambda mesh: mesh.approvals(**wanted))
    rows = [
        (
            approval.run_id,
            approval.step if not approval.task else f"{approval.step}[{approval.task}]",
            approval.workflow,
            state_name(approval),
            f"{local_time(approval.create_time):%Y-%m-%d %H:%M}",
            f"{local_time(approval.expire_time):%Y-%m-%d %H:%M}" if approval.HasField("expire_time") else "",
            approval.message,
        )
        for approval in approvals
    ]
    headings = ("RUN", "STEP", "WORKFLOW", "STATE", "SINCE", "UNTIL", "MESSAGE")
    write([plain(approval) for approval in approvals], output, table(headings, rows, "Nothing waits for approval."))


def _states(names: list[str] | None) -> list[str]:
    unknown = [name for name in names or () if name.lower() not in _STATES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no state of an approval; there are {', '.join(_STATES)}", param_hint="--state")
    return [name.upper() for name in names or ()]
