"""One mesh in one folder, from its start to its end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

from parade.wire.mesh_file import MeshFile
from parade_local import certificates
from parade_local.printer import Say
from parade_local.services import SECRETS, Replica, replicas, settings
from parade_local.state import LOG_NAME, Lock, StateFolder
from parade_local.supervisor import StartError, Supervised, renew_certificates, write_certificates

START_TIMEOUT = 60.0
"""Seconds in which every service must be ready."""
_READY = "the mesh is ready"
_LAST_LINE = "  API key "
SECRET_VARIABLE = "PARADE_SECRET_"  # noqa: S105  # the beginning of a name
"""What the variables begin with that hold the secret of a workflow. The scheduler alone is given them."""
LEAN = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # no service forks
    "MALLOC_ARENA_MAX": "2",  # a heap a thread would cost each process megabytes
    "PYTHONUNBUFFERED": "1",
}


async def run(folder: StateFolder, log_level: str, dispatchers: int, say: Say) -> int:
    """Runs a mesh until SIGTERM or SIGINT; returns the exit status.

    Args:
        folder: Where its state lies.
        log_level: The least grave record that its services write.
        dispatchers: How many processes carry calls.
        say: Takes who speaks and a line.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with Lock(folder.path) as lock:
        if not lock.take():
            say("mesh", f"a mesh runs in {folder.path} already (process {Lock.holder(folder.path)}); stop it with `parade down`")
            return 1
        started = time.monotonic()
        mesh = folder.mesh(dispatchers)
        for secrets in (folder.path / SECRETS, folder.path / SECRETS / mesh.namespace):
            secrets.mkdir(mode=0o700, exist_ok=True)
        supervised = _supervised(folder, mesh, log_level, say)
        try:
            if not certificates.are_fresh(folder.path, datetime.now(UTC)):
                await write_certificates(folder.path, mesh.domain, mesh.namespace)
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(one.keep_running()) for one in supervised]
                renewal = tasks.create_task(renew_certificates(folder.path, mesh.domain, mesh.namespace, say))
                ready = tasks.create_task(_announce_when_ready(supervised, mesh, started, say))
                await stopping.wait()
                for task in (renewal, ready):
                    task.cancel()
                say("mesh", "stopping")
                await _stop(supervised)
                await asyncio.wait(running)
        except* StartError as failures:
            for failure in failures.exceptions:
                say("mesh", str(failure))
            await _stop(supervised)
            status = 1
        else:
            say("mesh", "stopped")
            status = 0
    return status


def start_detached(folder: StateFolder, log_level: str, dispatchers: int) -> int:
    """Starts a mesh in a process of its own and waits until it is ready; returns the exit status."""
    holder = Lock.holder(folder.path)
    if holder:
        sys.stderr.write(f"a mesh runs in {folder.path} already (process {holder}); stop it with `parade down`\n")
        return 1
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder.path / LOG_NAME
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "parade_local", "up", "--state", str(folder.path)),
                *("--log-level", log_level, "--dispatchers", str(dispatchers)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if _LAST_LINE in text:
            sys.stdout.write("".join(f"{line.partition('| ')[2]}\n" for line in text.splitlines() if line.startswith("mesh")))
            key = (folder.path / MeshFile(folder.path).api_key).read_text().strip()
            sys.stdout.write(f"  {'':14} {key}\nIt goes on in the background and logs to {log}. Stop it with `parade down`.\n")
            return 0
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.stderr.write(log.read_text(errors="replace"))
    sys.stderr.write("The mesh could not be started.\n")
    process.terminate()
    return 1


def _supervised(folder: StateFolder, mesh: MeshFile, log_level: str, say: Say) -> list[Supervised]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SECRET_VARIABLE)} | LEAN
    secrets = {name: value for name, value in os.environ.items() if name.startswith(SECRET_VARIABLE)}

    def told(replica: Replica) -> dict[str, str]:
        own = secrets if replica.service.name == "scheduler" else {}
        return {**environment, **own, **settings(replica, mesh, log_level)}

    def changed() -> None:
        folder.write([one.status for one in supervised])

    supervised = [Supervised(replica, told(replica), say, changed) for replica in replicas(mesh)]
    return supervised


async def _announce_when_ready(supervised: list[Supervised], mesh: MeshFile, started: float, say: Say) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            for one in supervised:
                await one.ready.wait()
    except TimeoutError as error:
        late = ", ".join(one.replica.label for one in supervised if not one.ready.is_set())
        raise StartError(f"not ready within {START_TIMEOUT:g} s: {late}") from error
    mesh.write()
    say("mesh", f"{_READY} after {time.monotonic() - started:.1f} s")
    for name, address in mesh.services.items():
        say("mesh", f"  {name:14} {address}")
    say("mesh", f"  {'REST':14} {mesh.rest}  (reference at {mesh.rest}/docs)")
    say("mesh", f"  {'mesh file':14} {mesh.path}")
    key = mesh.folder / mesh.api_key
    # A terminal forgets, a log does not: there only the place is written.
    say("mesh", f"  {'API key':14} {key.read_text().strip() if sys.stdout.isatty() else f'in {key}'}")


async def _stop(supervised: list[Supervised]) -> None:
    monitor, *others = supervised
    await asyncio.gather(*(one.stop() for one in others))
    await monitor.stop()
