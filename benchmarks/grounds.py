"""What steps are measured on: the mesh with a scheduler on a database of one kind, and an empty database of that kind for each rival."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum

import psutil

from benchmarks import postgres
from benchmarks.mesh import Bench
from parade.wire.mesh_file import MeshFile
from parade_local.mesh import LEAN
from parade_local.services import replicas, settings

STOP_TIMEOUT = 15.0
"""Seconds that the scheduler may take to end."""


class Kind(StrEnum):
    """A kind of database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Ground:
    """A mesh and databases."""

    bench: Bench
    mesh: MeshFile
    """The mesh, with the scheduler that is measured."""
    database: str
    """The URL of that scheduler's database."""
    rivals: Mapping[str, str]
    """The URLs of the rivals' databases, by the rivals' names."""
    own: Sequence[psutil.Process] = ()
    """Processes that the mesh does not know."""

    def processes(self) -> list[psutil.Process]:
        """Returns everybody who takes part in our runs, but for this process and a database's."""
        return [*self.bench.services(), *self.bench.agents(), *self.own]


@contextmanager
def ground(bench: Bench, kind: Kind, rivals: Sequence[str]) -> Iterator[Ground]:
    """Prepares databases for the block, and on PostgreSQL a scheduler beside the mesh's own, which then rests.

    Args:
        bench: The mesh.
        kind: The databases.
        rivals: The names of the rivals.
    """
    mesh = MeshFile.read(bench.mesh_file)
    if kind is Kind.SQLITE:
        data = bench.folder / "data"
        urls = {rival: f"sqlite:///{data / f'rival{number}.db'}" for number, rival in enumerate(rivals)}
        yield Ground(bench, mesh, f"sqlite:///{data / 'scheduler.db'}", urls)
        return
    with ExitStack() as stack:
        server = stack.enter_context(postgres.PostgresServer())
        database = server.new_database("scheduler")
        urls = {rival: server.new_database(f"rival{number}") for number, rival in enumerate(rivals)}
        moved, process = stack.enter_context(_scheduler(mesh, database))
        yield Ground(bench, moved, database, urls, [process])


@contextmanager
def _scheduler(mesh: MeshFile, database: str) -> Iterator[tuple[MeshFile, psutil.Process]]:
    """Starts a scheduler on a database for the block; gives the mesh with it in the other's place."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (known,) = (replica for replica in replicas(mesh) if replica.service.name == "scheduler")
    told = settings(replace(known, number=1, address=address), mesh, "error") | {"PARADE_SCHEDULER_DATABASE_URL": database}
    command = [sys.executable, "-P", "-m", known.service.module]
    with subprocess.Popen(command, env={**os.environ, **LEAN, **told}, stdout=subprocess.DEVNULL) as process:
        try:
            yield replace(mesh, services={**mesh.services, "scheduler": address}), psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
