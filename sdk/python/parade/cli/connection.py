"""How a command reaches the mesh: finds it, sees at once where none runs, and does its work there."""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from parade.cli.output import say
from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.wire.mesh_file import MeshFile

PROBE_TIMEOUT = 1.0
NOTE_AFTER = 2.0
"""Seconds of waiting after which a person is told what for."""

T = TypeVar("T")


def use_mesh_file(path: Path) -> None:
    """Makes this command, and the processes that it starts, use a mesh file, or the one in a folder."""
    from parade.wire.mesh_file import FILE_NAME, FILE_VARIABLE

    os.environ[FILE_VARIABLE] = str((path / FILE_NAME if path.is_dir() else path).absolute())


def with_mesh(work: "Callable[[Mesh], Awaitable[T]]", *, traced: bool = False) -> T:
    """Connects, does the work and returns its result.

    Args:
        work: What to do with the connection.
        traced: Whether it begins something that is worth a trace.

    Raises:
        ParadeError: UNAVAILABLE where there is no mesh or it does not run; what the work raises.
    """
    import asyncio

    from parade.client import connect
    from parade.wire.mesh_file import MeshFile

    async def connected() -> T:
        mesh_file = MeshFile.find()
        _demand_running(mesh_file)
        async with connect(mesh_file, traced=traced) as mesh:
            note = asyncio.get_running_loop().call_later(NOTE_AFTER, _tell_who_is_away, mesh_file)
            try:
                return await work(mesh)
            finally:
                note.cancel()

    return asyncio.run(connected())


def _demand_running(mesh_file: "MeshFile") -> None:
    """Returns where at least one service listens. One that is away comes back, and is waited for; where all are, the mesh was stopped."""
    if not any(_listens(address) for addresses in mesh_file.services.values() for address in addresses.split(",")):
        raise ParadeError(
            Reason.UNAVAILABLE,
            f"the mesh of {mesh_file.path} does not run: nothing listens at its addresses. Start it with `parade dev`.",
        )


def _tell_who_is_away(mesh_file: "MeshFile") -> None:
    away = [name for name, addresses in mesh_file.services.items() if not any(_listens(address) for address in addresses.split(","))]
    if away:
        say(f"waiting for {', '.join(away)}, which cannot be reached at the moment")


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT).close()
    except OSError:
        return False
    return True
