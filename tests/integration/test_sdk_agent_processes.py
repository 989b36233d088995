"""Functions that run in worker processes: real ones, under a real executor."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from parade.hosting.capacity import Capacity
from parade.hosting.executor import Executor
from parade.hosting.host import Host
from parade.hosting.observer import FailureLog
from parade.hosting.workers import Workers
from parade.v1 import session_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.mesh_file import FILE_VARIABLE
from tests.integration.sdk_agent_harness import SmallMesh, invoke, small_mesh, value
from tests.support.exchange import KeepingExchange
from tests.support.process_functions import agent
from tests.support.waiting import eventually

START = 20.0
"""Seconds in which a worker is there, on a machine that has other things to do."""

_NUMBERS = itertools.count(1)


class Records:
    """Log records that are on their way to the monitor."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, str, dict[str, Any]]] = []

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        self.kept.append((severity, event, fields))


class Elsewhere:
    """The other functions of the mesh."""

    def __init__(self) -> None:
        self.parents: list[tuple[str, bytes]] = []
        self.ended = asyncio.Event()

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: Any = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> Any:
        self.parents.append((parent_call_id, mandate))
        if function == "other.fail":
            raise ParadeError(Reason.NO_CAPACITY, "full")
        if function == "other.wait":
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()
        return arguments["number"] + arguments["addend"]

    async def stream(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: Any = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> AsyncGenerator[Any, None]:
        for number in range(5):
            yield "x" * 30_000 if function == "other.large" else number


class Bench:
    """An executor with workers."""

    def __init__(self) -> None:
        self.records = Records()
        self.elsewhere = Elsewhere()
        log = Log(self.records, level="warning")
        workers = Workers(agent.name, agent.functions, self.elsewhere, "info", self.records)
        self.host = Host(agent.name, Capacity(4), Deadlines(), FailureLog(log), log, self.elsewhere, None, workers)
        self.executor = Executor(agent.functions, self.host)

    def begin(self, function: str, arguments: Any = None, *, window: int = 0, timeout: float = START) -> KeepingExchange:
        call = session_pb2.SessionCall(function=f"crunching.{function}", window=window, timeout=timeout)
        call.arguments.data = orjson.dumps({} if arguments is None else arguments)
        call.options.call_id = f"call-{next(_NUMBERS):04}"
        call.origin.run_id = "run-1"
        call.origin.mandate = b"a mandate"
        exchange = KeepingExchange(window)
        self.executor.begin(call, exchange)
        return exchange

    async def value(self, function: str, arguments: Any = None) -> Any:
        return await self.begin(function, arguments).value(START)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.executor.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def pids_in(folder: Path) -> list[int]:
    path = folder / "pids"
    await eventually(lambda: path.exists() and bool(path.read_text()), within=START)
    return [int(pid) for pid in path.read_text().split()]


async def test_a_worker_is_another_process_and_is_used_again(bench: Bench) -> None:
    first = await bench.value("identify")
    second = await bench.value("identify")
    text, third = await bench.value("identify_asynchronously", {"text": "ü"})

    assert first == second == third != os.getpid()
    assert text == "ü"


async def test_calls_at_once_have_a_worker_each(bench: Bench) -> None:
    running = [bench.begin("identify", {"seconds": 0.5}) for _ in range(2)]

    assert len({await one.value(START) for one in running}) == 2


@pytest.mark.parametrize("ending", ["cancel", "deadline"])
async def test_a_function_that_would_never_end_is_killed_with_what_it_has_started(bench: Bench, tmp_path: Path, ending: str) -> None:
    await bench.value("identify")
    exchange = bench.begin("spin", {"folder": str(tmp_path)}, timeout=START if ending == "cancel" else 1)
    pids = await pids_in(tmp_path)
    assert len(pids) == 2

    if ending == "cancel":
        exchange.cancel()

    error = await exchange.error()
    assert error.reason is (Reason.CANCELLED if ending == "cancel" else Reason.DEADLINE_EXCEEDED)
    assert error.metadata["cancellation"] == "STOPPED"
    await eventually(lambda: not any(map(alive, pids)))
    await eventually(lambda: bench.host.capacity.in_flight == 0)
    assert await bench.value("identify") not in pids


async def test_a_coroutine_that_holds_its_loop_up_is_killed_too(bench: Bench, tmp_path: Path) -> None:
    exchange = bench.begin("block_the_loop", {"folder": str(tmp_path)}, window=1000)
    pids = await pids_in(tmp_path)

    exchange.cancel()

    assert exchange.cancellations == ["ACKNOWLEDGED"]
    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"
    await eventually(lambda: not any(map(alive, pids)))


async def test_a_call_that_is_cancelled_before_its_worker_is_ready_leaves_the_worker_to_others(bench: Bench) -> None:
    exchange = bench.begin("identify")

    exchange.cancel()

    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"
    assert bench.host.capacity.in_flight == 0
    assert await bench.value("identify") > 0


async def test_a_worker_that_dies_is_an_error_that_says_how(bench: Bench) -> None:
    error = await bench.begin("die", {"status": 3}).error(START)

    assert (error.reason, error.retryable) == (Reason.AGENT_ERROR, True)
    assert "exit status 3" in error.message
    assert await bench.value("identify") > 0


async def test_a_worker_that_is_killed_by_somebody_else_is_an_error_that_says_so(bench: Bench) -> None:
    worker = await bench.value("identify")
    exchange = bench.begin("identify", {"seconds": 30})
    await asyncio.sleep(0.1)

    os.kill(worker, signal.SIGKILL)

    assert "SIGKILL" in (await exchange.error()).message


async def test_an_idle_worker_that_died_is_not_used_again(bench: Bench) -> None:
    worker = await bench.value("identify")
    os.kill(worker, signal.SIGKILL)
    await eventually(lambda: not alive(worker))
    await asyncio.sleep(0.1)

    assert await bench.value("identify") != worker


async def test_what_a_function_raises_arrives_as_if_it_had_run_here(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    failed = await bench.begin("fail", {"text": "no such row"}).error(START)
    lied = await bench.begin("lie").error(START)
    wrong = await bench.begin("fail", {"text": 1}).error(START)

    assert (failed.reason, failed.message, failed.retryable) == (Reason.AGENT_ERROR, "LookupError: no such row", False)
    assert [violation.field for violation in lied.violations] == ["result"]
    assert (wrong.reason, [violation.field for violation in wrong.violations]) == (Reason.INVALID_ARGUMENTS, ["arguments.text"])
    log = capfd.readouterr().err
    assert log.count("Traceback") == 1
    assert [event for _, event, _ in bench.records.kept] == ["function failed", "function failed"]


async def test_results_may_be_as_large_as_those_of_other_functions(bench: Bench) -> None:
    assert len(await bench.value("repeat", {"text": "ab", "times": 1_500_000})) == 3_000_000
    assert "4 MiB" in (await bench.begin("repeat", {"text": "ab", "times": 3_000_000}).error(START)).message


async def test_notes_and_log_records_and_the_context_reach_the_other_side(bench: Bench) -> None:
    exchange = bench.begin("work", window=1000, timeout=5 + START)

    assert (await exchange.value(START)).startswith("crunching.work run-1")
    assert exchange.notes == [0, 0.25, 0.5]
    await eventually(lambda: any(event == "worked" and fields["run_id"] == "run-1" for _, event, fields in bench.records.kept))


@pytest.mark.parametrize("function", ["count", "count_asynchronously"])
async def test_items_come_in_order(bench: Bench, function: str) -> None:
    exchange = bench.begin(function, {"to": 1000}, window=1_000_000)

    assert await exchange.value(START) is None
    assert exchange.items == list(range(1000))


async def test_a_slow_reader_holds_the_worker_back(bench: Bench, tmp_path: Path) -> None:
    exchange = bench.begin("count", {"to": 1000, "folder": str(tmp_path)}, window=30)
    await eventually(lambda: len(exchange.items) == 10, within=START)
    await asyncio.sleep(0.2)
    assert (exchange.items, (tmp_path / "given").read_text()) == (list(range(10)), "10")

    exchange.grant(1_000_000)

    assert await exchange.value(START) is None
    assert exchange.items == list(range(1000))


async def test_a_worker_calls_other_functions_by_way_of_its_agent(bench: Bench) -> None:
    assert await bench.value("ask", {"function": "other.add"}) == 21
    assert bench.elsewhere.parents[0][1] == b"a mandate"
    failed = await bench.begin("ask", {"function": "other.fail"}).error(START)

    assert (failed.metadata["cause"], bench.elsewhere.parents[0][0][:5]) == ("NO_CAPACITY", "call-")
    assert await bench.value("ask_for_items", {"function": "other.count"}) == [0, 1, 2, 3, 4]
    assert [len(item) for item in await bench.value("ask_for_items", {"function": "other.large"})] == [30_000] * 5


async def test_what_a_killed_worker_was_waiting_for_ends_too(bench: Bench) -> None:
    exchange = bench.begin("ask", {"function": "other.wait"})
    await eventually(lambda: bool(bench.elsewhere.parents), within=START)

    exchange.cancel()

    await bench.elsewhere.ended.wait()
    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"


async def test_the_workers_end_with_their_executor(bench: Bench) -> None:
    worker = await bench.value("identify")

    await bench.executor.close()

    await eventually(lambda: not alive(worker))


# ---------------------------------------------------------------------------------------------- workers of a real agent

MAIN = """
import os, time, parade
print("imported as", __name__, flush=True)
agent = parade.Agent("clerk")
@agent.function(process=True, effect="pure")
def identify() -> int:
    return os.getpid()
@agent.function(process=True, effect="pure")
def sleep() -> None:
    time.sleep(1000)
agent.serve()
print("never printed by a worker", flush=True)
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SmallMesh]:
    async with small_mesh(tmp_path) as made:
        yield made


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
async def test_the_workers_of_a_main_script_serve_nothing_and_end_with_it(mesh: SmallMesh, tmp_path: Path, ending: signal.Signals) -> None:
    (tmp_path / "main.py").write_text(MAIN)
    output = (tmp_path / "output").open("w")
    environment = {**os.environ, FILE_VARIABLE: str(mesh.path)}
    started = subprocess.Popen([sys.executable, "main.py"], cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        await eventually(lambda: _ready(mesh), within=START)
        stub = await mesh.any_instance("clerk")
        worker = value((await stub.Invoke(invoke("identify"), timeout=START)).result)
        assert worker != started.pid

        started.send_signal(ending)

        await eventually(lambda: started.poll() is not None, within=START)
        await eventually(lambda: not alive(worker))
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()
        output.close()
    said = (tmp_path / "output").read_text()
    assert "imported as __main__" in said
    assert "imported as __parade_main__" in said
    assert said.count("never printed by a worker") == (1 if ending is signal.SIGTERM else 0)


async def _ready(mesh: SmallMesh) -> bool:
    try:
        return "READY" in (await mesh.states("clerk")).values()
    except ParadeError:
        return False
