"""Rivals that have an environment of their own, made on demand, and drive themselves: a program that takes orders and prints figures."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.load import Sample
from benchmarks.turns import Run

FOLDER = Path(".tools/rivals")
INSTALL_TIMEOUT = 300.0
START_TIMEOUT = 60.0
RUN_TIMEOUT = 120.0


class Program:
    """A rival that runs."""

    def __init__(self, process: asyncio.subprocess.Process, versions: str) -> None:
        """Takes a process that is ready for orders."""
        self._process = process
        self.versions = versions
        """What it is made of."""

    def run(self, concurrency: int, count: int) -> Run:
        """Returns what makes it do a closed loop."""
        return self.ordered(lambda share: f"{concurrency} {max(concurrency, int(count * share))}")

    def ordered(self, order: Callable[[float], str]) -> Run:
        """Returns what makes it do what an order says, which is made of the share of a run that is wanted."""

        async def run(share: float) -> Sample:
            found = await self.ask(order(share))
            return Sample(found["seconds"], found["latencies"])

        return run

    async def ask(self, order: str) -> dict[str, Any]:
        """Makes it do what an order says, and returns what it prints."""
        orders = cast(asyncio.StreamWriter, self._process.stdin)
        orders.write(f"{order}\n".encode())
        async with asyncio.timeout(RUN_TIMEOUT):
            found: dict[str, Any] = json.loads(await answer(self._process))
        return found


async def answer(process: asyncio.subprocess.Process) -> bytes:
    """Reads a line that a program prints.

    Raises:
        EOFError: It has ended.
    """
    line = await cast(asyncio.StreamReader, process.stdout).readline()
    if not line:
        raise EOFError("the program has ended")
    return line


@dataclass(frozen=True, slots=True)
class Rival:
    """A rival and how to come by it."""

    name: str
    program: str
    """The file beside this one that is the program."""
    packages: tuple[str, ...]

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[Program | None]:
        """Runs the rival for the block, with arguments; gives None, and says why, where it cannot be had here."""
        try:
            python = await asyncio.to_thread(self._installed)
        except (OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"{self.name} skipped: it cannot be installed ({_reason(error)})\n")
            yield None
            return
        path = str(Path(__file__).with_name(self.program))
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "limit": 2**26}
        # A rival runs as it comes: what `parade` says to gRPC by the environment is not meant for it.
        as_it_comes = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
        process = await asyncio.create_subprocess_exec(python, "-P", path, *arguments, **pipes, env=as_it_comes, start_new_session=True)
        try:
            try:
                async with asyncio.timeout(START_TIMEOUT):
                    versions = (await answer(process)).decode().strip()
            except (TimeoutError, EOFError) as error:
                sys.stderr.write(f"{self.name} skipped: it does not start ({_reason(error)})\n")
                yield None
                return
            yield Program(process, versions)
        finally:
            await _ended(process)

    def _installed(self) -> str:
        return str(installed(FOLDER / self.program.removesuffix(".py"), self.packages) / "bin" / "python")


def installed(folder: Path, packages: tuple[str, ...]) -> Path:
    """Makes an environment with packages, where there is none yet, and returns its folder.

    Raises:
        OSError: There is no uv.
        SubprocessError: The packages cannot be had here.
    """
    folder = folder.resolve()
    done, wanted = folder / "installed", "\n".join(packages)
    if not done.exists() or done.read_text() != wanted:
        sys.stderr.write(f"installing {', '.join(packages)} into {folder} …\n")
        shutil.rmtree(folder, ignore_errors=True)
        uv = _uv()
        for command in (
            [uv, "venv", "-q", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(folder / "bin" / "python"), *packages],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT)
        done.write_text(wanted)
    return folder


RIVALS = (
    Rival("AutoGen core gRPC runtime", "autogen_program.py", ("autogen-core==0.7.5", "autogen-ext[grpc]==0.7.5")),
    Rival("Ray actor", "ray_program.py", ("ray==2.49.2",)),
)
"""Those that carry calls."""
DBOS = Rival("DBOS", "dbos_program.py", ("dbos==3.4.0",))
LANGGRAPH = Rival(
    "LangGraph with its checkpointer",
    "langgraph_program.py",
    ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2", "langgraph-checkpoint-postgres==3.2.0", "psycopg[binary,pool]==3.3.9"),
)


def _uv() -> str:
    own = Path(".tools/uv/bin/uv")
    found = str(own.resolve()) if own.exists() else shutil.which("uv")
    if found is None:
        raise FileNotFoundError("there is no uv; `make bench` brings one")
    return found


def _reason(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said or str(error) or type(error).__name__).strip().splitlines()[-1]


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Ends a program and what it started: its group is its own."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(10):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()
