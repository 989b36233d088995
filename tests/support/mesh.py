"""A whole mesh for tests: every service a process, and agents in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parade.client import Mesh
from parade.wire.errors import ParadeError
from parade.wire.mesh_file import FILE_VARIABLE, MeshFile
from tests.support.waiting import eventually

AGENT = "tests.support.tested_agent:agent"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def agent_process(mesh: MeshFile, target: str = AGENT, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs one instance of an agent for the block; it may be killed or stopped meanwhile. `settings` are further environment variables."""
    command = [sys.executable, "-m", "parade.serve", target]
    with (mesh.folder / "agents.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment(mesh), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment(mesh: MeshFile) -> dict[str, str]:
    """Returns the environment of a program that uses this mesh."""
    return {**os.environ, FILE_VARIABLE: str(mesh.path), "NO_COLOR": "1"}


async def ready(mesh: Mesh, instances: int, agent: str = "tested") -> None:
    """Waits until that many instances of an agent are ready, and the dispatcher knows the agent."""

    async def enough() -> bool:
        agents = {known.name: known for known in await mesh.agents()}
        return agent in agents and sum(instance.state == 2 for instance in agents[agent].instances) >= instances

    await eventually(enough, within=30)

    async def answers() -> bool:
        try:
            await mesh.call(f"{agent}.echo", text="")
        except ParadeError:
            return False
        return True

    if agent == "tested":
        await eventually(answers, within=10)


def process_id(mesh: MeshFile, service: str) -> int:
    """Returns the process that a service runs in; 0 while it has none.

    Args:
        mesh: The mesh.
        service: The service's name, or the id of one of its replicas, such as `dispatcher-1`.
    """
    return int(_status(mesh, service)["pid"])


def kill(mesh: MeshFile, service: str) -> int:
    """Kills a service, or the replica with an id, with SIGKILL and returns the process that it was."""
    pid = process_id(mesh, service)
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_until_back(mesh: MeshFile, service: str, killed: int, within: float = 20.0) -> None:
    """Waits until a killed service, or the replica with an id, runs again and is ready.

    Raises:
        TimeoutError: It is not back in time.
    """
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        status = _status(mesh, service)
        if status["state"] == "ready" and status["pid"] not in (0, killed):
            return
        time.sleep(0.05)
    raise TimeoutError(f"{service} is not back")


def _status(mesh: MeshFile, service: str) -> dict[str, Any]:
    services = json.loads((mesh.folder / "state.json").read_text())["services"]
    return next(one for one in services if service in (one["name"], one["id"]))
