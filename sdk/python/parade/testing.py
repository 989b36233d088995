"""A whole mesh for a user's own tests: every service, mutual TLS, a database, in a folder that is thrown away.

```python
async def test_describe_counts_rows():
    async with parade.testing.Mesh() as mesh:
        await mesh.join(agent)
        assert await mesh.client.call("analyst.describe", rows=[1, 2]) == {"rows": 2}
```

A durable function needs none: `replay` runs it alone.
"""

import asyncio
import importlib.util
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from parade import client
from parade.durable.rehearsal import NEVER, Replayed, replay
from parade.wire.errors import ParadeError, Reason
from parade.wire.mesh_file import FILE_NAME, STATE_FOLDER, MeshFile

if TYPE_CHECKING:
    from parade.agent import Agent

__all__ = ["NEVER", "LocalMesh", "Mesh", "Replayed", "replay"]

START_TIMEOUT = 60.0
"""Seconds in which the mesh must be ready."""
STOP_TIMEOUT = 10.0


class LocalMesh:
    """The processes of a mesh in a folder of its own, for the time of a block."""

    def __init__(self, folder: Path, *, dispatchers: int = 1) -> None:
        """Takes the folder, in which `.parade` will lie, and how many processes carry calls."""
        self._state = folder / STATE_FOLDER
        self._dispatchers = dispatchers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the services have said so far."""
        path = self._state / "test.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> MeshFile:
        """Starts the mesh and waits until it is ready.

        Raises:
            ParadeError: UNAVAILABLE where it is not ready in time, or `parade-mesh` is not installed.
        """
        if importlib.util.find_spec("parade_local") is None:
            raise ParadeError(Reason.UNAVAILABLE, "a mesh for tests needs the services: pip install parade-mesh")
        self._state.mkdir(mode=0o700, parents=True)
        command = [sys.executable, "-P", "-m", "parade_local", "up", "--state", str(self._state), "--dispatchers", str(self._dispatchers)]
        with (self._state / "test.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while not (self._state / FILE_NAME).exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise ParadeError(Reason.UNAVAILABLE, f"the mesh has not started:\n{self.log}")
            time.sleep(0.05)
        return MeshFile.read(self._state / FILE_NAME)

    def __exit__(self, *_: object) -> None:
        """Stops the mesh."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Mesh:
    """A mesh, a client of it, and the agents that a test lets join."""

    client: client.Mesh
    """The client; there from the block's first line."""

    def __init__(self) -> None:
        """Makes a mesh that starts with the block."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Starts the mesh, in a few seconds."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="parade-test-")))
        local = LocalMesh(folder)
        try:
            self.file = await asyncio.to_thread(local.__enter__)
            self._stack.push_async_callback(asyncio.to_thread, local.__exit__)
            self.client = await self._stack.enter_async_context(client.connect(self.file))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops the agents, then the mesh."""
        await self._stack.aclose()

    async def join(self, agent: "Agent") -> None:
        """Lets an agent join: an instance of it runs in this process until the block ends."""
        await self._stack.enter_async_context(agent.serving(self.file))
