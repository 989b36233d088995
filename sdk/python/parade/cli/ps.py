"""`parade ps`: what runs. Services come from the state that the local mesh writes, agent instances from the mesh."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from parade.cli.group import exit_code
from parade.cli.output import Format, Output, show_error, table, write
from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.wire.mesh_file import MeshFile

STATE_NAME = "state.json"
ANSWER_TIMEOUT = 3.0
"""Seconds to wait for the agents: of a mesh in trouble, what can be seen should be seen soon."""

Row = dict[str, Any]


def ps(output: Output = Format.TABLE) -> None:
    """List every service and agent instance.

    Where the mesh does not answer, its services are listed alone and the exit code is 2.

    For example:

        parade ps -o json
    """
    from parade.wire.mesh_file import MeshFile

    mesh_file = MeshFile.find()
    rows = services(mesh_file)
    failure: ParadeError | None = None
    try:
        rows += _instances()
    except ParadeError as error:
        failure = error
    cells = [(row["kind"], row["name"], row["id"], row["address"], str(row["pid"] or ""), row["state"]) for row in rows]
    write(rows, output, table(("KIND", "NAME", "ID", "ADDRESS", "PID", "STATE"), cells, "Nothing runs."))
    if failure is not None:
        show_error(failure)
        raise typer.Exit(exit_code(failure))


def services(mesh_file: "MeshFile") -> list[Row]:
    """Returns the services: as the local mesh says, or where none does, their addresses."""
    try:
        content = json.loads((mesh_file.folder / STATE_NAME).read_bytes())
        return [_service(entry, supervised=is_alive(int(content["pid"]))) for entry in content["services"]]
    except FileNotFoundError:
        return [
            _row(name, name, "service", address, 0, "unknown")
            for name, addresses in mesh_file.services.items()
            for address in addresses.split(",")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        path: Path = mesh_file.folder / STATE_NAME
        raise ParadeError(Reason.FAILED_PRECONDITION, f"{path} is not usable: {error}. Start the mesh anew with `parade dev`.") from error


def is_alive(pid: int) -> bool:
    """Returns whether there is a process of this id on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _service(entry: Row, *, supervised: bool) -> Row:
    pid, state = int(entry["pid"]), str(entry["state"])
    comes_back = supervised and state == "restarting"
    if state != "stopped" and not comes_back and (pid <= 0 or not is_alive(pid)):
        state = "dead"
    return _row(entry["id"], entry["name"], "service", entry["address"], pid, state)


def _instances() -> list[Row]:
    import asyncio

    from parade.cli.connection import with_mesh
    from parade.cli.plain import state_name

    async def agents(mesh: "Mesh") -> Any:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await mesh.agents()
        except TimeoutError as error:
            raise ParadeError(Reason.UNAVAILABLE, f"agent_manager does not answer within {ANSWER_TIMEOUT:g} s") from error

    here = os.uname().nodename
    rows = []
    for agent in with_mesh(agents):
        for instance in agent.instances:
            gone = instance.host == here and not is_alive(instance.pid)
            state = "dead" if gone else state_name(instance).lower()
            rows.append(_row(instance.id, agent.name, "agent", instance.address, instance.pid, state))
    return rows


def _row(id: str, name: str, kind: str, address: str, pid: int, state: str) -> Row:
    return {"id": id, "name": name, "kind": kind, "address": address, "pid": pid, "state": state}
