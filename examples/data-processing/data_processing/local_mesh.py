"""A mesh of the demonstration's own and the agents on it, as processes: all of them are stopped, however the block ends."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT = 60.0
STOP_TIMEOUT = 8.0
"""Seconds that an agent may take to finish and leave."""
LAST_LINES = 15
"""How many lines of a log are shown when its process has failed."""


class DemonstrationError(Exception):
    """The demonstration cannot go on; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """An agent to serve."""

    name: str
    """Its name."""
    module: str
    """Where it is: `module:variable`."""
    instances: int = 1
    """How many copies of it run."""


@dataclass(frozen=True, slots=True)
class LocalMesh:
    """A mesh in a folder."""

    folder: Path
    """Its state and its logs lie here."""

    @property
    def file(self) -> Path:
        """The mesh file."""
        return self.folder / ".parade" / "mesh.json"

    @property
    def state(self) -> Path:
        """The state folder of the mesh."""
        return self.file.parent

    def log(self, name: str) -> Path:
        """Returns where a process writes its log."""
        return self.folder / "logs" / f"{name}.log"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the services for the time of the block.

        Raises:
            DemonstrationError: They do not start.
        """
        self.log("mesh").parent.mkdir(parents=True, exist_ok=True)
        await self._stop_left_over()
        self.file.unlink(missing_ok=True)
        mesh = await self.start("mesh", "dev", "--folder", str(self.state))
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not self.file.exists():
                if mesh.returncode is not None or time.monotonic() > deadline:
                    raise DemonstrationError(f"the mesh does not start:\n{last_lines(self.log('mesh'))}")
                await asyncio.sleep(0.02)
            yield
        finally:
            await stop(mesh)

    async def _stop_left_over(self) -> None:
        """Stops the mesh that an earlier demonstration left behind because it was killed."""
        if not self.file.exists():
            return
        process = await self.start("mesh", "down", "--folder", str(self.state))
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await process.wait()
        finally:
            await stop(process)

    async def start(self, log: str, *arguments: str) -> asyncio.subprocess.Process:
        """Starts a `parade` command whose output goes into a log; Ctrl-C in the terminal does not reach it."""
        with self.log(log).open("wb") as output:
            return await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("parade")),
                *arguments,
                cwd=self.folder,
                env={**os.environ, "PARADE_MESH": str(self.file)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @asynccontextmanager
    async def serving(self, agents: Sequence[Served]) -> AsyncIterator["Agents"]:
        """Serves agents for the time of the block, each in processes of its own."""
        processes: dict[str, asyncio.subprocess.Process] = {}
        try:
            for agent in agents:
                processes[agent.name] = await self.start(agent.name, "agent", "serve", agent.module, "--instances", str(agent.instances))
            yield Agents(self, processes)
        finally:
            await stop_all(processes)


@dataclass(frozen=True, slots=True)
class Agents:
    """The processes of agents that are being served."""

    mesh: LocalMesh
    processes: dict[str, asyncio.subprocess.Process]

    def check(self) -> None:
        """Returns where all of them run.

        Raises:
            DemonstrationError: One has ended.
        """
        for name, process in self.processes.items():
            if process.returncode is not None:
                raise DemonstrationError(f"the agent {name} ended with status {process.returncode}:\n{last_lines(self.mesh.log(name))}")


async def stop_all(processes: dict[str, asyncio.subprocess.Process]) -> None:
    """Stops processes side by side."""
    async with asyncio.TaskGroup() as tasks:
        for process in processes.values():
            tasks.create_task(stop(process))


async def stop(process: asyncio.subprocess.Process) -> None:
    """Asks a process to end, and ends it and all that it started where it does not in time."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def last_lines(log: Path) -> str:
    """Returns the end of a log."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (it has said nothing)"
