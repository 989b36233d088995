"""Certificates and roots are replaced while calls and streams go on, everybody's at once and again and again; nobody notices."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

import parade
from parade.client import Mesh, connect
from parade.hosting.enrolment import Enrolled, keep_renewed
from parade.v1 import agent_manager_pb2
from parade.wire.identity import Identity
from tests.integration.sdk_agent_harness import CLIENT, SmallMesh, small_mesh
from tests.support.certificates import Authority
from tests.support.mesh import ready
from tests.support.waiting import eventually

SERVICES = ("agent_manager", "dispatcher")
RATE = 200
"""Calls a second."""
NESTED = 4
"""Every so-manieth call makes another for its caller, by the mandate that came with it."""
STREAMS = 50
LEASE = 30.0
"""Seconds that an instance may be silent: all of the mesh shares one thread with the load."""
SPARE = 6
"""Connections that may be about to be left, counted at both ends."""
CALLS_BETWEEN = 20
"""How many calls are made between two rotations."""


@pytest.fixture
def enrolments(monkeypatch: pytest.MonkeyPatch) -> list[Enrolled]:
    """Takes note of who enrols, so that a test can renew it when it likes."""
    found: list[Enrolled] = []

    async def renew(enrolled: Enrolled, *args: Any) -> None:
        found.append(enrolled)
        await keep_renewed(enrolled, *args)

    monkeypatch.setattr("parade.hosting.life.keep_renewed", renew)
    return found


def an_agent() -> parade.Agent:
    agent = parade.Agent("tested", max_concurrency=200)

    @agent.function(effect="pure")
    async def echo(text: str) -> str:
        return text

    @agent.function(effect="pure")
    async def ask(text: str, context: parade.Context) -> Any:
        return await context.call("tested.echo", text=text)

    @agent.function(effect="pure", timeout=600)
    async def count(to: int, pause: float) -> AsyncIterator[int]:
        for number in range(to):
            yield number
            await asyncio.sleep(pause)

    return agent


@dataclass
class Load:
    """Calls at a rate, and streams beside them; what failed of them."""

    mesh: Mesh
    failures: list[BaseException] = field(default_factory=list)
    answered: int = 0
    items: int = 0
    streams: int = 0
    stopping: bool = False
    only_calls: bool = False
    """Set once streams are to end; calls go on."""

    async def calls(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                if self.stopping:
                    return
                tasks.create_task(self._call(number))
                await asyncio.sleep(max(0.0, started + number / RATE - loop.time()))

    async def stream(self, length: int) -> None:
        """Opens one stream after the other; every item must come, in order."""
        while not self.is_over():
            try:
                expected = 0
                async for item in self.mesh.stream("tested.count", to=length, pause=0.05, timeout=600):
                    assert item == expected
                    expected += 1
                    self.items += 1
                    if self.is_over():
                        break
                else:
                    assert expected == length
            except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
                self.failures.append(error)
            self.streams += 1

    def is_over(self) -> bool:
        return self.stopping or self.only_calls or bool(self.failures)

    async def until(self, more: int) -> None:
        goal = self.answered + more
        await eventually(lambda: self.answered >= goal or bool(self.failures), within=60)

    async def _call(self, number: int) -> None:
        try:
            function = "tested.echo" if number % NESTED else "tested.ask"
            assert await self.mesh.call(function, text=str(number), timeout=30) == str(number)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            self.failures.append(error)
        self.answered += 1


@asynccontextmanager
async def loaded(folder: Path) -> AsyncIterator[tuple[SmallMesh, Load]]:
    """Runs a mesh under load for the block."""
    async with AsyncExitStack() as stack:
        small = await stack.enter_async_context(small_mesh(folder, LEASE))
        await small.start_dispatcher()
        await stack.enter_async_context(an_agent().serving(small.file))
        nowhere = dict.fromkeys(("monitor", "scheduler", "gateway"), "127.0.0.1:1")
        mesh_file = replace(small.file, services={**nowhere, **small.file.services})
        mesh = await stack.enter_async_context(connect(mesh_file, traced=False))
        await ready(mesh, 1)
        load = Load(mesh)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.calls())
            for number in range(STREAMS):
                # Some live through it all, and some are opened and closed all the time.
                tasks.create_task(load.stream(1_000_000 if number % 2 else 4 * number + 1))
            try:
                await load.until(CALLS_BETWEEN)
                yield small, load
            finally:
                load.stopping = True


def rotate(small: SmallMesh, enrolments: list[Enrolled], authority: Authority, trust_bundle: bytes, lifetime: timedelta) -> None:
    """Gives everybody a new certificate: services and the client by their files, instances as a renewal does."""
    for identity in (*(Identity.service(name) for name in SERVICES), CLIENT):
        authority.files(identity, lifetime=lifetime, trust_bundle=trust_bundle, folder=small.authority.folder)
    for enrolled in enrolments:
        enrolled.source.replace(authority.certificates(enrolled.identity, lifetime=lifetime, trust_bundle=trust_bundle))


def connections() -> int:
    return len([one for one in psutil.Process(os.getpid()).net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED])


async def rotated(folder: Path, enrolments: list[Enrolled], rotations: int, lifetime: timedelta) -> Load:
    async with loaded(folder) as (small, load):
        before = connections()
        for _ in range(rotations):
            rotate(small, enrolments, small.authority, small.authority.trust_bundle, lifetime)
            await load.until(CALLS_BETWEEN)
            if load.failures:
                break
        # Streams kept the connections that they were opened on. Without them nothing of what was left behind holds on to one.
        load.only_calls = True
        await eventually(lambda: connections() <= before + SPARE or bool(load.failures), within=20)
    return load


async def test_everybody_s_certificate_is_replaced_twenty_times_and_no_call_fails(tmp_path: Path, enrolments: list[Enrolled]) -> None:
    load = await rotated(tmp_path, enrolments, 20, timedelta(hours=1))

    assert load.failures == []
    assert load.answered >= 20 * CALLS_BETWEEN
    assert load.streams >= STREAMS


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_everybody_s_certificate_is_replaced_five_hundred_times_and_no_call_fails(tmp_path: Path, enrolments: list[Enrolled]) -> None:
    load = await rotated(tmp_path, enrolments, 500, timedelta(hours=1))

    assert load.failures == []
    assert load.answered >= 500 * CALLS_BETWEEN


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_streams_outlive_the_certificates_that_they_were_opened_with(tmp_path: Path, enrolments: list[Enrolled]) -> None:
    # Shorter than the test takes, and many times as long as it takes until the next is there.
    load = await rotated(tmp_path, enrolments, 250, timedelta(seconds=15))

    assert load.failures == []
    assert load.answered >= 250 * CALLS_BETWEEN


async def test_a_root_takes_the_place_of_another_and_no_call_fails(tmp_path: Path, enrolments: list[Enrolled]) -> None:
    hour = timedelta(hours=1)
    async with loaded(tmp_path) as (small, load):
        old, new = small.authority, Authority(tmp_path / "new")
        for authority, trusted in ((old, (old, new)), (new, (old, new)), (new, (new,))):
            rotate(small, enrolments, authority, b"".join(one.trust_bundle for one in trusted), hour)
            await load.until(5 * CALLS_BETWEEN)
        instances = (await load.mesh.agent("tested")).instances

    assert load.failures == []
    assert [instance.state for instance in instances] == [agent_manager_pb2.INSTANCE_STATE_READY]
    assert {instance.id for instance in instances} == {enrolled.identity.instance for enrolled in enrolments}
    assert len(enrolments) == 1
    assert enrolments[0].over(lambda: small.file) == ""
