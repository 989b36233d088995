"""`parade approve`: what waits for somebody's approval, steps of runs and calls, and the answer to it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from parade.cli.connection import with_mesh
from parade.cli.output import Format, Output, say, table, write

if TYPE_CHECKING:
    from rich.console import RenderableType

    from parade.client import Mesh
    from parade.v1.approval_pb2 import Approval
    from parade.v1.call_approval_pb2 import CallApproval

CALL = "approval_"
"""What the id of a call's approval begins with."""
SHOWN = 200
"""Characters of a call's arguments that the table shows."""
LIMIT = 100
"""How many are listed where nothing else is said."""
_STATES = ("pending", "approved", "rejected", "withdrawn")


def approve(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|APPROVAL", help="The run that waits, or the approval of a call; what waits is listed where none is given."
        ),
    ] = None,
    step: Annotated[str | None, typer.Argument(metavar="STEP", help="The step that waits; its only one where not given.")] = None,
    task: Annotated[
        int | None, typer.Option(min=0, help="The task of the step, counted from 0; the only one that waits where not given.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject it: the step, or the call, fails.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="List only what you may resolve.")] = False,
    workflow: Annotated[str, typer.Option(help="List only what runs of this workflow wait for, and no calls.")] = "",
    state: Annotated[
        list[str] | None, typer.Option(help="List those in this state: pending, approved, rejected or withdrawn; can be given again.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="How many of a kind to list, the oldest first; 100 where not given.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """List what waits for approval, or approve it.

    Steps of runs wait where their workflow says so, calls where a policy does. A call's arguments are listed whole with -o json or yaml.

    For example:

        parade approve --mine
        parade approve run_01hzy3 pay --note "within the budget"
        parade approve approval_5f0c… --reject --note "ask for less"
    """
    if run_id is None:
        _demand_none("needs a run", {"--task": task is not None, "--note": bool(note), "--reject": reject})
        _list({"states": _states(state), "mine": mine, "limit": limit or LIMIT}, workflow, output)
        return
    listing = {"--mine": mine, "--workflow": bool(workflow), "--state": bool(state), "--limit": limit is not None}
    _demand_none("is for the list, which no run is named for", listing)

    if run_id.startswith(CALL):
        _demand_none("is for a run's approval", {"STEP": step is not None, "--task": task is not None})
        resolved_call = with_mesh(lambda mesh: (mesh.reject_call if reject else mesh.approve_call)(run_id, note=note))
        say(f"the call of {resolved_call.function} for {resolved_call.principal} is {'rejected' if reject else 'approved'}")
        return

    async def work(mesh: "Mesh") -> str:
        wanted, wanted_task = await _awaited(mesh, run_id, step, task)
        run = mesh.run(run_id)
        await (run.reject if reject else run.approve)(wanted, task=wanted_task, note=note)
        return wanted

    resolved = with_mesh(work)
    say(f"{resolved} of run {run_id} is {'rejected' if reject else 'approved'}")


def _demand_none(why: str, options: dict[str, bool]) -> None:
    for option, given in options.items():
        if given:
            raise typer.BadParameter(why, param_hint=option)


async def _awaited(mesh: "Mesh", run_id: str, step: str | None, task: int | None) -> tuple[str, int]:
    """Returns the step and the task that are meant: as far as they are not given, those that alone wait for approval.

    Raises:
        ParadeError: NOT_FOUND, where there is no such run; FAILED_PRECONDITION, where none waits or several do.
    """
    from parade.wire.errors import ParadeError, Reason

    if step is not None and task is not None:
        return step, task
    approvals = await mesh.approvals(run_id=run_id)
    waiting = [one for one in approvals if step in (None, one.step) and task in (None, one.task)]
    if len(waiting) == 1:
        return waiting[0].step, waiting[0].task
    if waiting:
        named = ", ".join(_place(one) for one in waiting)
        raise ParadeError(Reason.FAILED_PRECONDITION, f"run {run_id} waits for the approval of {named}; say which, by the step and --task")
    if step is not None:
        return step, 0  # the answer says what has become of it
    await mesh.run(run_id).get()
    raise ParadeError(Reason.FAILED_PRECONDITION, f"no step of run {run_id} waits for approval")


def _place(approval: "Approval") -> str:
    return f"{approval.step}[{approval.task}]" if approval.task else approval.step


def _list(wanted: dict[str, Any], workflow: str, output: Format) -> None:
    from parade.cli.plain import plain

    async def work(mesh: "Mesh") -> "tuple[list[Approval], list[CallApproval]]":
        steps = await mesh.approvals(**wanted, workflow=workflow)
        return steps, [] if workflow else await mesh.call_approvals(**wanted)

    steps, calls = with_mesh(work)
    found = [plain(one) for one in (*steps, *calls)]
    tables = [_of_steps(steps)] if steps or not calls else []
    write(found, output, *tables, *([_of_calls(calls)] if calls else []))


def _of_steps(approvals: "list[Approval]") -> "RenderableType":
    from parade.cli.plain import state_name

    rows = [
        (one.run_id, _place(one), one.workflow, state_name(one), _time(one, "create_time"), _time(one, "expire_time"), one.message)
        for one in approvals
    ]
    return table(("RUN", "STEP", "WORKFLOW", "STATE", "SINCE", "UNTIL", "MESSAGE"), rows, "Nothing waits for approval.")


def _of_calls(approvals: "list[CallApproval]") -> "RenderableType":
    from parade.cli.plain import state_name

    rows = [
        (
            one.id,
            one.function,
            _whom(one),
            state_name(one),
            _time(one, "create_time"),
            _time(one, "expire_time"),
            _beginning(one.arguments),
        )
        for one in approvals
    ]
    return table(("APPROVAL", "FUNCTION", "FOR", "STATE", "SINCE", "UNTIL", "ARGUMENTS"), rows, "No call waits for approval.")


def _time(approval: "Approval | CallApproval", field: "Literal['create_time', 'expire_time']") -> str:
    from parade.cli.plain import local_time

    return f"{local_time(getattr(approval, field)):%Y-%m-%d %H:%M}" if approval.HasField(field) else ""


def _whom(approval: "CallApproval") -> str:
    agents = " through ".join(actor.rpartition("/")[2] for actor in approval.actors)
    return f"{approval.principal} through {agents}" if agents else approval.principal


def _beginning(arguments: str) -> str:
    return arguments if len(arguments) <= SHOWN else f"{arguments[:SHOWN]}…"


def _states(names: list[str] | None) -> list[str]:
    unknown = [name for name in names or () if name.lower() not in _STATES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is no state of an approval; there are {', '.join(_STATES)}", param_hint="--state")
    return [name.upper() for name in names or ()]
