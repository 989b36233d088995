"""What a running mesh leaves in its folder for others to read: who runs where, and the lock that says whether it runs at all."""

import fcntl
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from parade.wire.errors import ParadeError
from parade.wire.mesh_file import FILE_NAME, MeshFile
from parade_local.services import SERVICES

REST_PORT = 8420
"""The port of the REST gateway, where it is free."""
PORTS = range(20_000, 32_000)
"""Where the others listen: below the ports that connections are given, one of which could take a port before its service does."""
MOST_TRIES = 100
LOCK_NAME = "dev.lock"
STATE_NAME = "state.json"
LOG_NAME = "dev.log"
LAST_ACT = 2.0
"""Seconds that a mesh that has let go of its lock may take to end; longer where its parent does not look after it."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Where one process of the mesh stands."""

    name: str
    id: str
    address: str
    pid: int
    state: str
    """`starting`, `ready`, `restarting` or `stopped`."""
    restarts: int


class StateFolder:
    """The folder of one mesh."""

    def __init__(self, path: Path) -> None:
        """Takes the folder, which need not exist yet."""
        self.path = path
        self._reserved: dict[str, socket.socket] = {}
        """The addresses of this mesh, each with what keeps other meshes from choosing it before its service listens there."""

    def mesh(self, dispatchers: int = 1) -> MeshFile:
        """Returns the mesh's addresses: those it had before where they are still free, others where not.

        Args:
            dispatchers: How many processes carry calls; each has an address, with commas between them.
        """
        try:
            before = MeshFile.read(self.path / FILE_NAME)
        except ParadeError:
            before = MeshFile(self.path.resolve())
        taken = self._reserved
        services: dict[str, str] = {}
        for service in SERVICES:
            wanted = before.services.get(service.name, "").split(",")
            count = dispatchers if service.name == "dispatcher" else 1
            addresses = [_address(wanted[number] if number < len(wanted) else "", taken) for number in range(count)]
            services[service.name] = ",".join(addresses)
        rest = before.rest.removeprefix("http://") or f"127.0.0.1:{REST_PORT}"
        return replace(
            before,
            services=services,
            enrolment=_address(before.enrolment, taken),
            rest=f"http://{_address(rest, taken)}",
        )

    def write(self, services: list[ServiceStatus]) -> None:
        """Writes who runs where, for `parade ps`."""
        content = {"pid": os.getpid(), "services": [asdict(service) for service in services]}
        temporary = self.path / f"{STATE_NAME}.tmp"
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(self.path / STATE_NAME)


class Lock:
    """The lock that a mesh holds while it runs; the operating system lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Takes the mesh's folder."""
        self._path = folder / LOCK_NAME
        self._descriptor = -1

    def take(self) -> bool:
        """Takes the lock and writes this process's id into it; False where another process has it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    @classmethod
    def holder(cls, folder: Path) -> int:
        """Returns the process that holds the lock; 0 where nobody does."""
        lock = cls(folder)
        if not lock._path.exists() or lock.take():
            lock.release()
            return 0
        return int(lock._path.read_text() or 0)

    def release(self) -> None:
        """Lets go of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        """Returns the lock; it is let go of at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of the lock."""
        self.release()


def stop(folder: Path, timeout: float = 10.0) -> bool:
    """Stops the mesh of a folder and waits until it has gone; False where none runs.

    Raises:
        TimeoutError: It has not gone in time.
    """
    pid = Lock.holder(folder)
    if pid == 0:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while Lock.holder(folder) == pid:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the mesh (process {pid}) has not stopped within {timeout:g} s")
        time.sleep(0.05)
    last_act = min(deadline, time.monotonic() + LAST_ACT)
    while _exists(pid) and time.monotonic() < last_act:
        time.sleep(0.02)
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _address(wanted: str, taken: dict[str, socket.socket]) -> str:
    chosen = (f"127.0.0.1:{random.choice(PORTS)}" for _ in range(MOST_TRIES))  # noqa: S311  # spreads meshes, guards nothing
    for address in itertools.chain([wanted] if wanted else [], chosen):
        host, _, port = address.rpartition(":")
        with socket.socket() as probe:
            try:
                probe.bind((host, int(port)))
            except OSError:
                continue
        reservation = None if address in taken else _reservation(address)
        if reservation is not None:
            taken[address] = reservation
            return address
    raise OSError("no free port on 127.0.0.1")


def _reservation(address: str) -> socket.socket | None:
    """Returns what reserves an address for as long as this process lives; None where another process has reserved it."""
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if sys.platform == "linux":  # elsewhere there are no names that end with their process
        try:
            reservation.bind(f"\0parade-{address}")
        except OSError:
            reservation.close()
            return None
    return reservation
