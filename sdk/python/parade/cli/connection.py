"""How a command reaches the mesh: finds it, sees at once where none runs, and does its work there."""

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from parade.wire.errors import ParadeError, Reason

if TYPE_CHECKING:
    from parade.client import Mesh
    from parade.mesh_file import MeshFile

PROBE_TIMEOUT = 2.0

T = TypeVar("T")


def use_mesh_file(path: Path) -> None:
    """Makes this command, and the processes that it starts, use a mesh file, or the one in a folder."""
    from parade.mesh_file import FILE_NAME, FILE_VARIABLE

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
    from parade.mesh_file import MeshFile

    async def connected() -> T:
        mesh_file = MeshFile.find()
        demand_running(mesh_file)
        async with connect(mesh_file, traced=traced) as mesh:
            return await work(mesh)

    return asyncio.run(connected())


def demand_running(mesh_file: "MeshFile") -> None:
    """Returns where at least one service listens. One that is away comes back, and is waited for; where all are, the mesh was stopped.

    Raises:
        ParadeError: UNAVAILABLE.
    """
    for address in mesh_file.services.values():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT).close()
        except OSError:
            continue
        return
    raise ParadeError(
        Reason.UNAVAILABLE,
        f"the mesh of {mesh_file.path} does not run: nothing listens at its addresses. Start it with `parade dev`.",
    )
