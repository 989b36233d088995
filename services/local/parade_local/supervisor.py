"""Keeps the processes of a mesh running: starts them, waits for their word, passes on what they say, restarts the dead, stops all.

A service says that it is ready over the socket in NOTIFY_SOCKET, as it does to systemd.
Source of the protocol: sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html.
"""

import asyncio
import contextlib
import ctypes
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from parade_local import certificates
from parade_local.services import Replica
from parade_local.state import ServiceStatus

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
STEADY = 30.0
"""Seconds after which a service that ran counts as well again, so that its next restart is quick."""
START_TRIES = 4
"""How often a service may die before it was ever ready; then the mesh gives up."""
STOP_GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL."""
RENEWAL_CHECK = 60.0
"""Seconds between two looks at the certificates: short, since a machine that slept has missed half of their life before it knows."""
LAST_LINES = 20
"""How many lines of a service's output are shown when it cannot be started."""
_PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """A service cannot be started; the text says which, and what it said."""


class Supervised:
    """One replica of a service and the process that it runs in at the moment."""

    def __init__(
        self, replica: Replica, environment: Mapping[str, str], say: Callable[[str, str], None], changed: Callable[[], None]
    ) -> None:
        """Takes what to run.

        Args:
            replica: The replica.
            environment: What it is told.
            say: Takes a replica's label and a line.
            changed: Called when the status has changed.
        """
        self.replica = replica
        self.ready = asyncio.Event()
        self._environment = environment
        self._say = say
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._state = "starting"
        self._restarts = 0
        self._stopping = asyncio.Event()
        self._output: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def status(self) -> ServiceStatus:
        """Where the replica stands."""
        replica = self.replica
        pid = self._process.pid if self._process is not None and self._process.returncode is None else 0
        return ServiceStatus(replica.service.name, replica.id, replica.address, pid, self._state, self._restarts)

    async def keep_running(self) -> None:
        """Runs the service, again and again, until it is stopped.

        Raises:
            StartError: It died `START_TRIES` times before it was ever ready.
        """
        pause, tries = FIRST_PAUSE, 0
        while not self._stopping.is_set():
            started = time.monotonic()
            was_ready = self.ready.is_set()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if not self.ready.is_set() and not was_ready:
                tries += 1
                if code == 2 or tries == START_TRIES:
                    raise StartError(f"{self.replica.label} cannot be started:\n" + "\n".join(f"  {line}" for line in self._output))
            if time.monotonic() - started > STEADY:
                pause = FIRST_PAUSE
            self._set_state("restarting")
            self._restarts += 1
            self._say("mesh", f"{self.replica.label} {_how_it_ended(code)}; starting it again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, LONGEST_PAUSE)
        self._set_state("stopped")

    async def stop(self) -> None:
        """Asks the process to end, and ends it where it does not."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_GRACE):
                await process.wait()
        except TimeoutError:
            self._say("mesh", f"{self.replica.label} does not end; killing it")
            process.kill()

    async def _run_once(self) -> int:
        with _readiness_socket() as listener:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # never import what lies in the user's folder by chance
                "-m",
                self.replica.service.module,
                env={**self._environment, "NOTIFY_SOCKET": listener.getsockname()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the services in their order
                preexec_fn=_end_with_parent,
            )
            self._process = process
            self._set_state("starting")
            async with asyncio.TaskGroup() as tasks:
                readiness = tasks.create_task(self._await_readiness(listener))
                await self._pass_on(process)
                code = await process.wait()
                readiness.cancel()
        return code

    async def _await_readiness(self, listener: socket.socket) -> None:
        while b"READY=1" not in await asyncio.get_running_loop().sock_recv(listener, 4096):
            pass
        self.ready.set()
        self._set_state("ready")

    async def _pass_on(self, process: asyncio.subprocess.Process) -> None:
        output = cast("asyncio.StreamReader", process.stdout)  # it was asked for
        while True:
            try:
                line = await output.readline()
            except ValueError:  # a line longer than the stream's buffer; the rest of it comes as the next
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._output.append(text)
            self._say(self.replica.label, text)

    def _set_state(self, state: str) -> None:
        self._state = state
        self._changed()


async def renew_certificates(folder: Path, domain: str, namespace: str, say: Callable[[str, str], None]) -> None:
    """Makes new certificates when the old are past half of their life; the services take them up by themselves. Runs for ever."""
    while True:
        if not certificates.are_fresh(folder, datetime.now(UTC)):
            try:
                await write_certificates(folder, domain, namespace)
            except StartError as error:  # a full disk, perhaps: the old ones are good for another while
                say("mesh", f"{error}; trying again in {RENEWAL_CHECK:g} s")
        await asyncio.sleep(RENEWAL_CHECK)


async def write_certificates(folder: Path, domain: str, namespace: str) -> None:
    """Makes the certificates, in a process of its own."""
    command = (sys.executable, "-P", "-m", certificates.__name__, str(folder), domain, namespace)
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise StartError(f"the certificates in {folder} cannot be made")


@contextlib.contextmanager
def _readiness_socket() -> Iterator[socket.socket]:
    # In the system's folder for temporary files, since the mesh's own may lie deeper than a socket's name is allowed to be long.
    with tempfile.TemporaryDirectory(prefix="parade-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(f"{folder}/notify")
        yield listener


def _end_with_parent() -> None:
    # Linux only: a supervisor that is killed must not leave its services behind.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
