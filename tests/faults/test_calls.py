"""Instances, dispatchers and clients may be killed, frozen and cut off under load: no call is lost, no effect happens twice."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from parade import CallOptions
from parade.client import Mesh, connect
from parade.wire.errors import ParadeError, Reason
from parade.wire.mesh_file import MeshFile
from tests.support.load import Load, calling
from tests.support.mesh import agent_process, environment, kill, ready, wait_until_back
from tests.support.proxy import Proxy, proxied
from tests.support.waiting import eventually

UNKNOWN = {Reason.DEADLINE_EXCEEDED, Reason.OUTCOME_UNKNOWN}
"""How the call of an effect ends whose instance has fallen silent: its time is over, or the instance is given up."""
BUDGET_BURST = 20
"""Retries that the budget of a dispatcher allows at once."""


@dataclass(frozen=True, slots=True)
class Four:
    """Four instances, one of them behind a proxy."""

    victim: "subprocess.Popen[bytes]"
    proxy: Proxy

    def harm(self, how: str) -> None:
        if how == "killed":
            self.victim.kill()
        elif how == "frozen":
            self.victim.send_signal(signal.SIGSTOP)
        else:
            self.proxy.cut()


@asynccontextmanager
async def four_instances(file: MeshFile) -> AsyncIterator[tuple[Mesh, Four]]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(proxied())
        with socket.create_server(("127.0.0.1", 0)) as found:
            proxy.target = found.getsockname()[1]
        behind = {"PARADE_AGENT_LISTEN": f"127.0.0.1:{proxy.target}", "PARADE_AGENT_ADVERTISE": f"127.0.0.1:{proxy.port}"}
        victim = stack.enter_context(agent_process(file, **behind))
        for _ in range(3):
            stack.enter_context(agent_process(file))
        mesh = await stack.enter_async_context(connect(file, traced=False))
        await ready(mesh, 4)
        yield mesh, Four(victim, proxy)


@pytest.mark.parametrize("how", ["killed", "frozen", pytest.param("cut off", marks=pytest.mark.full)])
@pytest.mark.parametrize("function", [pytest.param("work", id="pure", marks=pytest.mark.full), pytest.param("note", id="idempotent")])
async def test_calls_that_may_be_repeated_outlive_an_instance(own_mesh: MeshFile, tmp_path: Path, function: str, how: str) -> None:
    async with four_instances(own_mesh) as (mesh, four):

        def arguments(number: int) -> dict[str, object]:
            return {"seconds": 0.02} if function == "work" else {"folder": str(tmp_path), "name": str(number), "seconds": 0.02}

        async with calling(mesh, f"tested.{function}", arguments) as load:
            await load.until(200)
            four.harm(how)
            await load.until(400)
    assert load.failed == {}


@pytest.mark.parametrize("how", ["killed", *(pytest.param(how, marks=pytest.mark.full) for how in ("frozen", "cut off"))])
async def test_an_effect_happens_at_most_once_for_a_key(own_mesh: MeshFile, tmp_path: Path, how: str) -> None:
    async with four_instances(own_mesh) as (mesh, four):

        def arguments(number: int) -> dict[str, object]:
            return {"folder": str(tmp_path), "key": str(number), "seconds": 0.02}

        async with calling(mesh, "tested.charge", arguments, timeout=4, keyed=True) as load:
            await load.until(100)
            four.harm(how)
            await load.until(200)
        charged = Counter((tmp_path / "charged").read_text().split())
        first = dict(load.failed)

        async def asked_again(number: int) -> None:
            options = CallOptions(idempotency_key=f"load-{number}")
            try:
                assert await mesh.call("tested.charge", arguments(number), timeout=4, options=options) == str(number)
            except ParadeError as error:
                assert error.reason in UNKNOWN  # noqa: PT017  # both are right

        # Whoever asks again is told the same, or what came of it meanwhile. At once, for each that is not known yet waits for its deadline.
        await asyncio.gather(*(asked_again(number) for number in first))
    assert {error.reason for error in first.values()} <= UNKNOWN
    assert set(charged.values()) == {1}
    assert charged.keys() >= {str(number) for number in load.answered}
    assert set(Counter((tmp_path / "charged").read_text().split()).values()) == {1}


async def test_callers_of_a_frozen_instance_are_answered_by_their_deadline(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh) as instance:
        async with connect(own_mesh, traced=False) as mesh:
            await ready(mesh, 1)
            instance.send_signal(signal.SIGSTOP)

            async def call(function: str, **arguments: object) -> tuple[float, Reason]:
                started = time.monotonic()
                with pytest.raises(ParadeError) as failed:
                    await mesh.call(f"tested.{function}", arguments, timeout=1.5)
                return time.monotonic() - started, failed.value.reason

            outcomes = await asyncio.gather(
                *(call("work", seconds=0) for _ in range(10)),
                *(call("charge", folder=str(tmp_path), key=str(number)) for number in range(10)),
            )
    assert {reason for _, reason in outcomes[:10]} <= {Reason.DEADLINE_EXCEEDED, Reason.AGENT_LOST}
    assert {reason for _, reason in outcomes[10:]} <= UNKNOWN
    assert max(elapsed for elapsed, _ in outcomes) <= 1.6


async def test_a_dispatcher_of_two_may_be_killed_and_come_back(two_dispatchers: MeshFile) -> None:
    with agent_process(two_dispatchers), agent_process(two_dispatchers):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connect(two_dispatchers, traced=False)) for _ in range(4)]
            await ready(clients[0], 2)
            loads: list[Load] = [
                await stack.enter_async_context(calling(client, "tested.work", lambda _: {"seconds": 0.02}, workers=4))
                for client in clients
            ]
            for dispatcher in ("dispatcher-0", "dispatcher-1"):
                for load in loads:
                    await load.until(50)
                killed = kill(two_dispatchers, dispatcher)
                await asyncio.to_thread(wait_until_back, two_dispatchers, dispatcher, killed)
            for load in loads:
                await load.until(50)
                load.stopping = True
    assert [load.failed for load in loads] == [{}] * 4


@pytest.mark.parametrize("deploys", [1, pytest.param(20, marks=[pytest.mark.full, pytest.mark.timeout(240)])])
async def test_a_deploy_by_drain_fails_no_call(own_mesh: MeshFile, deploys: int) -> None:
    with ExitStack() as stack:
        async with connect(own_mesh, traced=False) as mesh:
            running = [stack.enter_context(agent_process(own_mesh)) for _ in range(2)]
            await ready(mesh, 2)
            async with calling(mesh, "tested.work", lambda _: {"seconds": 0.02}) as load:
                for _ in range(deploys):
                    running.append(stack.enter_context(agent_process(own_mesh)))
                    await ready(mesh, 3)
                    old = running.pop(0)
                    await mesh.drain_instance("tested", await instance_of(mesh, old.pid))
                    await asyncio.to_thread(old.wait, 20)
                    await load.until(50)
    assert load.failed == {}


async def instance_of(mesh: Mesh, pid: int) -> str:
    return next(instance.id for instance in (await mesh.agent("tested")).instances if instance.pid == pid)


CLIENT = """
import asyncio, sys, parade
async def main():
    async with parade.connect() as mesh:
        {start}
        await asyncio.gather(*(mesh.call("tested." + name, folder=sys.argv[1], name=name, seconds=20) for name in ("linger", "relay")))
asyncio.run(main())
"""
STARTED = 'await mesh.start_call("tested.linger", folder=sys.argv[1], name="started", seconds=6)'


async def test_the_calls_of_a_client_that_disappears_end_except_those_that_were_started(own_mesh: MeshFile, tmp_path: Path) -> None:
    with agent_process(own_mesh), agent_process(own_mesh):
        async with connect(own_mesh, traced=False) as mesh:
            await ready(mesh, 2)
            client = subprocess.Popen([sys.executable, "-c", CLIENT.format(start=STARTED), str(tmp_path)], env=environment(own_mesh))
            try:
                names = ("linger", "relay", "started")
                await eventually(lambda: all((tmp_path / f"{name}.begun").exists() for name in names), within=15)
            finally:
                client.kill()
            gone = time.monotonic()
            await eventually(lambda: all((tmp_path / f"{name}.cancelled").exists() for name in ("linger", "relay")), within=4)
            took = time.monotonic() - gone
            client.wait()
            await eventually((tmp_path / "started.ended").exists, within=15)
    assert took <= 2.0
    assert not (tmp_path / "started.cancelled").exists()


@pytest.mark.parametrize(
    "seconds", [0.001, 0.01, 0.05, 0.2, 1.0, 3.0, pytest.param(60.0, marks=[pytest.mark.full, pytest.mark.timeout(120)])]
)
async def test_a_deadline_is_met(mesh: Mesh, seconds: float) -> None:
    await mesh.call("tested.echo", text="")
    started = time.monotonic()
    with pytest.raises(ParadeError) as failed:
        await mesh.call("tested.sleep", seconds=59.0 if seconds < 59 else 61.0, timeout=seconds)
    took = time.monotonic() - started
    assert failed.value.reason is Reason.DEADLINE_EXCEEDED
    assert seconds - 0.001 <= took <= seconds + 0.05


async def test_a_retry_storm_stays_within_the_budget(own_mesh: MeshFile, tmp_path: Path) -> None:
    calls = 400
    with agent_process(own_mesh), agent_process(own_mesh):
        async with connect(own_mesh, traced=False) as mesh:
            await ready(mesh, 2)
            places = asyncio.Semaphore(16)

            async def call() -> Reason:
                async with places:
                    with pytest.raises(ParadeError) as failed:
                        await mesh.call("tested.storm", folder=str(tmp_path), timeout=10)
                    return failed.value.reason

            reasons = await asyncio.gather(*(call() for _ in range(calls)))
    attempts = (tmp_path / "storm").stat().st_size
    assert set(reasons) == {Reason.AGENT_ERROR}
    assert calls < attempts <= calls * 1.1 + BUDGET_BURST + 1
