"""The real mesh that the cases run on: every service a process, mutual TLS, authorization on, and the agents that a case wants."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from parade.client import connect
from parade.v1 import agent_manager_pb2
from parade.wire.errors import ParadeError
from parade.wire.mesh_file import FILE_NAME, FILE_VARIABLE, STATE_FOLDER

READY_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Agent:
    """Instances of an agent, each a process."""

    target: str
    """`module:agent`."""
    function: str
    """One of its functions, which needs no arguments."""
    environments: Sequence[Mapping[str, str]] = ({},)
    """What each instance is told beside the mesh."""


ECHO = Agent("benchmarks.echo:agent", "echo.echo")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    runs: int = 3
    """How often a case is measured; its figures are medians."""
    share: float = 1.0
    """How much of each run is done."""

    def count(self, operations: int) -> int:
        """Returns how many operations to do in place of so many."""
        return max(200, int(operations * self.share))

    def seconds(self, seconds: float) -> float:
        """Returns how long to measure in place of so long."""
        return max(2.0, seconds * self.share)


@dataclass(frozen=True, slots=True)
class Bench:
    """A running mesh."""

    folder: Path
    """Its state folder."""
    plan: Plan = field(default_factory=Plan)
    told: Mapping[str, str] = field(default_factory=dict)
    """What every process of it is told beside."""

    @property
    def mesh_file(self) -> Path:
        """Its mesh file."""
        return self.folder / FILE_NAME

    @property
    def environment(self) -> dict[str, str]:
        """What tells a program where the mesh is."""
        return {**os.environ, **self.told, FILE_VARIABLE: str(self.mesh_file)}

    def services(self) -> list[psutil.Process]:
        """Returns the processes of the mesh."""
        state = json.loads((self.folder / "state.json").read_text())
        return [psutil.Process(pid) for pid in [state["pid"], *(service["pid"] for service in state["services"])]]

    def agents(self) -> list[psutil.Process]:
        """Returns the processes of the agents."""
        mine = [child for child in psutil.Process().children() if "parade.serve" in child.cmdline()]
        return [*mine, *(child for process in mine for child in process.children(recursive=True))]


@contextmanager
def running(plan: Plan, agents: Sequence[Agent], told: Mapping[str, str] | None = None) -> Iterator[Bench]:
    """Runs a mesh with agents for the block.

    Args:
        plan: How much is measured.
        agents: The agents.
        told: What every process of the mesh is told beside what it must know.
    """
    with tempfile.TemporaryDirectory(prefix="parade-bench-") as folder:
        bench = Bench(Path(folder) / STATE_FOLDER, plan, told or {})
        start(bench.folder, {**os.environ, **bench.told})
        try:
            with ExitStack() as stack:
                for agent in agents:
                    stack.enter_context(_instances(bench, agent))
                yield bench
        finally:
            stop(bench.folder)


def start(folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Starts a mesh, in this process's environment where none is given, and waits until it is ready."""
    _local("up", "--detach", "--state", str(folder), environment=environment)


def stop(folder: Path) -> None:
    """Stops a mesh."""
    _local("down", "--state", str(folder))


def _local(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-P", "-m", "parade_local", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=90, env=environment)


@contextmanager
def _instances(bench: Bench, agent: Agent) -> Iterator[None]:
    command = [sys.executable, "-m", "parade.serve", agent.target]
    processes = [
        subprocess.Popen(command, env={**bench.environment, **told}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for told in agent.environments
    ]
    try:
        deadline = time.monotonic() + READY_TIMEOUT
        while not asyncio.run(_joined(bench, agent)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                raise RuntimeError(f"{agent.target} has not joined")
            time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)


async def _joined(bench: Bench, agent: Agent) -> bool:
    """Whether every instance is there and answers through the dispatcher."""
    name = agent.function.partition(".")[0]
    async with connect(bench.mesh_file, traced=False) as mesh:
        try:
            instances = (await mesh.agent(name)).instances
            ready = [instance for instance in instances if instance.state == agent_manager_pb2.INSTANCE_STATE_READY]
            if len(ready) < len(agent.environments):
                return False
            await mesh.call(agent.function)
        except ParadeError:
            return False
    return True
