"""The real mesh that the cases run on: every service a process, mutual TLS, authorization on, one echo agent."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parade.wire.mesh_file import FILE_NAME, FILE_VARIABLE, STATE_FOLDER

READY_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Bench:
    """A running mesh."""

    folder: Path
    """Its state folder."""

    @property
    def mesh_file(self) -> Path:
        """Its mesh file."""
        return self.folder / FILE_NAME

    @property
    def environment(self) -> dict[str, str]:
        """What tells a program where the mesh is."""
        return {**os.environ, FILE_VARIABLE: str(self.mesh_file)}


@contextmanager
def running(*, agent: bool = True) -> Iterator[Bench]:
    """Runs a mesh for the block, with the echo agent unless told otherwise."""
    with tempfile.TemporaryDirectory(prefix="parade-bench-") as folder:
        bench = Bench(Path(folder) / STATE_FOLDER)
        start(bench.folder)
        try:
            if agent:
                with _agent(bench):
                    yield bench
            else:
                yield bench
        finally:
            stop(bench.folder)


def start(folder: Path) -> None:
    """Starts a mesh and waits until it is ready."""
    _local("up", "--detach", "--state", str(folder))


def stop(folder: Path) -> None:
    """Stops a mesh."""
    _local("down", "--state", str(folder))


def _local(*arguments: str) -> None:
    subprocess.run([sys.executable, "-P", "-m", "parade_local", *arguments], check=True, stdout=subprocess.DEVNULL, timeout=90)


@contextmanager
def _agent(bench: Bench) -> Iterator[None]:
    command = [sys.executable, "-m", "parade.serve", "benchmarks.echo:agent"]
    process = subprocess.Popen(command, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_TIMEOUT
        while not _answers(bench):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the echo agent has not joined")
        yield
    finally:
        process.terminate()
        process.wait(15)


def _answers(bench: Bench) -> bool:
    command = [str(Path(sys.executable).parent / "parade"), "call", "echo.echo"]
    return subprocess.run(command, env=bench.environment, capture_output=True, check=False, timeout=30).returncode == 0
