"""What whole processes cost: the start of the mesh, a call from the command line, a mesh that does nothing."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks import mesh
from benchmarks.mesh import Bench
from benchmarks.result import Result, compared
from benchmarks.rivals import raw
from benchmarks.turns import processor_seconds, rest
from parade.wire.mesh_file import STATE_FOLDER

RUNS = 5
IDLE_SECONDS = 20.0
RESOLUTION = 100 * 0.01 / IDLE_SECONDS
"""The least share of a core that can be told: processor time is counted in hundredths of a second."""
SERVICES = 5


def start(bench: Bench) -> Iterator[Result]:
    """From `parade dev --detach` in an empty folder to a mesh that is ready: seconds. The rival is one bare server."""
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="parade-bench-") as folder:
            began = time.perf_counter()
            mesh.start(Path(folder) / STATE_FOLDER)
            ours.append(time.perf_counter() - began)
            mesh.stop(Path(folder) / STATE_FOLDER)
        began = time.perf_counter()
        with raw.server(bench.folder):
            theirs.append(time.perf_counter() - began)
    yield compared("mesh.start", "s", ours, "one bare grpc.aio server", theirs)


def command_line(bench: Bench) -> Iterator[Result]:
    """`parade call`, from the start of the interpreter to its end: seconds."""
    parade = [str(Path(sys.executable).parent / "parade"), "call", "echo.echo", "text=hello"]
    with raw.server(bench.folder) as address:
        plain = [sys.executable, "-m", "benchmarks.rivals.raw_client", str(bench.folder), address]
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(RUNS + 1):
            for command, figures in ((parade, ours), (plain, theirs)):
                taken = _timed(command, bench)
                if number > 0:  # the first of each warms the caches
                    figures.append(taken)
    yield compared("cli.call", "s", ours, "a plain gRPC client program", theirs)


def memory(bench: Bench) -> Iterator[Result]:
    """Resident memory of every process of an idle mesh together: MB. The rival is as many bare servers."""
    processes = bench.services()
    with ExitStack() as stack:
        for _ in range(SERVICES):
            stack.enter_context(raw.server(bench.folder))
        bare = [child for child in psutil.Process().children() if "benchmarks.rivals.raw" in child.cmdline()]
        yield compared("mesh.memory", "MB", [_resident(processes)], f"{SERVICES} bare grpc.aio servers", [_resident(bare)])


def idle(bench: Bench) -> Iterator[Result]:
    """What an idle mesh takes of one core, all processes together: percent. The rival is as many bare servers."""
    processes = bench.services()
    with ExitStack() as stack:
        for _ in range(SERVICES):
            stack.enter_context(raw.server(bench.folder))
        bare = [child for child in psutil.Process().children() if "benchmarks.rivals.raw" in child.cmdline()]
        rest([*processes, *bare])
        before = processor_seconds(processes), processor_seconds(bare)
        time.sleep(IDLE_SECONDS)
        after = processor_seconds(processes), processor_seconds(bare)
    ours, theirs = (100 * (end - begin) / IDLE_SECONDS for begin, end in zip(before, after, strict=True))
    yield compared("mesh.idle", "% of a core", [ours], f"{SERVICES} bare grpc.aio servers", [max(theirs, RESOLUTION)])


def _resident(processes: Sequence[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / 1e6


def _timed(command: list[str], bench: Bench) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=bench.environment, check=True, capture_output=True, timeout=30)
    return time.perf_counter() - began
