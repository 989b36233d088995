"""An instance's life: it joins, stays, comes back, and leaves in good order.

One file, though a long one: it follows one instance from its joining to its end.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import parade
from parade.hosting.enrolment import Joining, NotJoinedError, keep_renewed
from parade.hosting.settings import Settings
from parade.v1 import agent_manager_pb2
from parade.v1.certificate_pb2 import RevokeCertificateRequest
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.join_token import pinned_roots
from parade.wire.log import Log
from parade.wire.mesh_file import FILE_VARIABLE
from tests.integration.sdk_agent_harness import SmallMesh, invoke, small_mesh, value
from tests.support.certificates import Authority
from tests.support.waiting import eventually

MODULE = """
import os, time, parade
agent = parade.Agent("clerk")
@agent.function
async def identify() -> int:
    return os.getpid()
@agent.function
def block(seconds: float) -> None:
    time.sleep(seconds)
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[SmallMesh]:
    async with small_mesh(tmp_path) as made:
        yield made


@pytest.fixture
def agent() -> parade.Agent:
    made = parade.Agent("clerk", version="1.2", labels={"zone": "a"})

    @made.function
    async def echo(text: str) -> str:
        return text

    return made


async def test_an_instance_is_ready_while_it_serves_and_gone_afterwards(mesh: SmallMesh, agent: parade.Agent) -> None:
    async with agent.serving(mesh.file) as instance:
        shown = (await mesh.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name="clerk"))).agent.instances[0]
        states = await mesh.states("clerk")

    assert states == {instance.id: "READY"}
    assert (shown.version, dict(shown.labels), shown.pid, shown.address) == ("1.2", {"zone": "a"}, os.getpid(), instance.address)
    assert shown.load.memory_bytes > 1_000_000
    assert await mesh.states("clerk") == {}


async def test_two_instances_of_an_agent_stand_beside_each_other(mesh: SmallMesh, agent: parade.Agent) -> None:
    async with agent.serving(mesh.file) as one, agent.serving(mesh.file) as other:
        assert set(await mesh.states("clerk")) == {one.id, other.id}


async def test_an_instance_comes_back_after_the_agent_manager_was_away(mesh: SmallMesh, agent: parade.Agent) -> None:
    async with agent.serving(mesh.file) as instance:
        await mesh.stop_manager()
        answered = await mesh.agent(instance).Invoke(invoke("echo", {"text": "still here"}), timeout=5)
        await mesh.start_manager()

        async def ready() -> bool:
            return await mesh.states("clerk") == {instance.id: "READY"}

        await eventually(ready, within=10)
    assert value(answered.result) == "still here"


async def test_an_instance_registers_again_where_the_agent_manager_has_forgotten_it(
    mesh: SmallMesh, agent: parade.Agent, tmp_path: Path
) -> None:
    async with agent.serving(mesh.file) as instance:
        await mesh.stop_manager()
        for file in tmp_path.glob("agents.db*"):
            file.unlink()
        await mesh.start_manager()

        async def ready() -> bool:
            try:
                return await mesh.states("clerk") == {instance.id: "READY"}
            except ParadeError:
                return False

        await eventually(ready, within=10)


async def test_an_instance_leaves_when_it_is_told_to(mesh: SmallMesh, agent: parade.Agent) -> None:
    async with agent.serving(mesh.file) as instance:
        await mesh.manager().DrainInstance(agent_manager_pb2.DrainInstanceRequest(agent="clerk", instance_id=instance.id))

        async with asyncio.timeout(5):
            await instance.leaving.wait()


async def test_a_call_under_way_may_end_while_its_instance_leaves_and_no_other_is_taken(mesh: SmallMesh) -> None:
    agent = parade.Agent("clerk")
    began, finish = threading.Event(), threading.Event()

    @agent.function
    def work() -> str:
        began.set()
        finish.wait(10)
        return "finished"

    refused: list[ParadeError] = []
    async with agent.serving(mesh.file) as instance:
        stub = mesh.agent(instance)
        call = asyncio.create_task(stub.Invoke(invoke("work"), timeout=10))
        await eventually(began.is_set)

        async def interfere() -> None:
            await eventually(lambda: instance.capacity.draining)
            with pytest.raises(ParadeError) as caught:
                await stub.Invoke(invoke("work"), timeout=5)
            refused.append(caught.value)
            finish.set()

        interfering = asyncio.create_task(interfere())
    await interfering

    assert value((await call).result) == "finished"
    assert refused[0].reason is Reason.NO_CAPACITY


async def test_a_certificate_is_renewed_with_a_fresh_key(mesh: SmallMesh) -> None:
    enrolled = await Joining("clerk", Settings(), lambda: mesh.file, Log()).join(5)
    before = enrolled.source.current()
    enrolled.expires = datetime.now(UTC) + timedelta(seconds=2)
    async with enrolled.channel("agent_manager") as channel:
        renewing = asyncio.create_task(keep_renewed(enrolled, channel, Log()))

        await eventually(lambda: enrolled.source.current() is not before)

        renewing.cancel()
    assert enrolled.source.current().private_key != before.private_key
    assert enrolled.expires > datetime.now(UTC) + timedelta(minutes=1)


async def test_a_join_token_lets_an_instance_in_without_a_client_certificate(
    mesh: SmallMesh, agent: parade.Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    created = await mesh.manager().CreateJoinToken(agent_manager_pb2.CreateJoinTokenRequest(agent="clerk"))
    monkeypatch.setenv("PARADE_JOIN_TOKEN", created.token)
    (tmp_path / mesh.file.private_key).unlink()

    async with agent.serving(mesh.file) as instance:
        assert await mesh.states("clerk") == {instance.id: "READY"}

    with pytest.raises(NotJoinedError, match="PARADE_JOIN_TOKEN"):
        async with agent.serving(mesh.file):
            pass


async def test_a_join_token_of_another_agent_is_refused(mesh: SmallMesh, agent: parade.Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    created = await mesh.manager().CreateJoinToken(agent_manager_pb2.CreateJoinTokenRequest(agent="somebody"))
    monkeypatch.setenv("PARADE_JOIN_TOKEN", created.token)

    with pytest.raises(NotJoinedError, match="not for an agent 'clerk'"):
        async with agent.serving(mesh.file):
            pass


async def test_a_join_token_is_not_sent_to_a_mesh_that_it_is_not_for(mesh: SmallMesh, tmp_path: Path) -> None:
    created = await mesh.manager().CreateJoinToken(agent_manager_pb2.CreateJoinTokenRequest(agent="clerk"))
    strangers = Authority(tmp_path / "stranger")
    (tmp_path / "stranger.pem").write_bytes(strangers.trust_bundle)
    visits = 0

    async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as stranger:
        address = f"127.0.0.1:{stranger.sockets[0].getsockname()[1]}"
        found = replace(mesh.file, enrolment=address, trust_bundle="stranger.pem")
        with pytest.raises(NotJoinedError, match="was not sent"):
            await Joining("clerk", Settings(join_token=created.token), lambda: found, Log()).join(5)
    used = await Joining("clerk", Settings(join_token=created.token), lambda: mesh.file, Log()).join(5)

    assert visits == 0
    assert used.identity.name == "clerk"


async def test_a_join_token_is_sent_to_the_root_alone_that_it_names_though_another_is_trusted(mesh: SmallMesh, tmp_path: Path) -> None:
    created = await mesh.manager().CreateJoinToken(agent_manager_pb2.CreateJoinTokenRequest(agent="clerk"))
    strangers = Authority(tmp_path / "stranger")
    (tmp_path / "both.pem").write_bytes(strangers.trust_bundle + mesh.authority.trust_bundle)
    both = replace(mesh.file, trust_bundle="both.pem")

    joined = await Joining("clerk", Settings(join_token=created.token), lambda: both, Log()).join(5)

    assert pinned_roots(created.token, strangers.trust_bundle + mesh.authority.trust_bundle) == mesh.authority.trust_bundle
    assert joined.identity.name == "clerk"


@pytest.mark.parametrize("token", ["parade_join_", "a password", f"parade_join_{'A' * 43}"])
async def test_what_is_no_join_token_is_said_to_be_none(mesh: SmallMesh, token: str) -> None:
    with pytest.raises(NotJoinedError, match="join token is not usable"):
        await Joining("clerk", Settings(join_token=token), lambda: mesh.file, Log()).join(5)


async def test_a_renewal_whose_answer_is_lost_is_tried_again_with_the_same_key(mesh: SmallMesh) -> None:
    enrolled = await Joining("clerk", Settings(), lambda: mesh.file, Log()).join(5)
    before, asked = enrolled.source.current(), []

    class Losing(Channel):
        """A channel on which the answers to the first two renewals are lost."""

        def unary_unary(self, path: str, *codec: Any, **more: Any) -> Callable[..., Any]:
            call = super().unary_unary(path, *codec, **more)

            async def lost(request: Any, **named: Any) -> Any:
                response = await call(request, **named)
                if path.endswith("RenewCertificate"):
                    asked.append(request.csr)
                    if len(asked) <= 2:
                        raise ParadeError(Reason.UNAVAILABLE, "the answer was lost")
                return response

            return lost

    enrolled.expires = datetime.now(UTC) + timedelta(seconds=4)
    server_name = Identity.service("agent_manager").server_name
    async with Losing(mesh.file.services["agent_manager"], enrolled.source, server_name) as channel:
        renewing = asyncio.create_task(keep_renewed(enrolled, channel, Log()))
        await eventually(lambda: enrolled.source.current() is not before, within=10)
        renewing.cancel()

    assert len(asked) == 3
    assert len(set(asked)) == 1


async def test_an_instance_that_is_revoked_says_why_and_does_not_join_again(mesh: SmallMesh, tmp_path: Path) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh) as started:
        await ready_instances(mesh, 1)
        (victim,) = await mesh.states("clerk")
        uri = Identity.agent("clerk", victim).uri
        await mesh.manager().RevokeCertificate(RevokeCertificateRequest(spiffe_id=uri, reason="it misbehaves"))

        assert await ended(started) == 1
        output = started.stdout.read() if started.stdout is not None else ""
    assert "it misbehaves" in output
    assert "new join token" in output
    assert "joining again" not in output
    assert await mesh.states("clerk") == {}


async def test_joining_gives_up_after_a_while_and_says_what_to_do(mesh: SmallMesh) -> None:
    await mesh.stop_manager()

    with pytest.raises(NotJoinedError, match="parade dev"):
        await Joining("clerk", Settings(), lambda: mesh.file, Log()).join(patience=0.3)


async def test_a_mesh_with_another_authority_ends_an_enrolment(mesh: SmallMesh, tmp_path: Path) -> None:
    enrolled = await Joining("clerk", Settings(), lambda: mesh.file, Log()).join(5)
    assert enrolled.over(lambda: mesh.file) == ""

    (tmp_path / mesh.file.trust_bundle).write_bytes(Authority(tmp_path / "new").trust_bundle)

    assert "authority" in enrolled.over(lambda: mesh.file)


@contextmanager
def process(command: list[str], folder: Path, mesh: SmallMesh, **more: str) -> Iterator["subprocess.Popen[str]"]:
    (folder / "clerks.py").write_text(MODULE)
    environment = {**os.environ, FILE_VARIABLE: str(mesh.path), **more}
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        if started.stdout is not None:
            started.stdout.close()


async def ended(started: "subprocess.Popen[str]", within: float = 10) -> int:
    await eventually(lambda: started.poll() is not None, within=within)
    return int(started.returncode)


async def ready_instances(mesh: SmallMesh, number: int) -> None:
    async def enough() -> bool:
        try:
            return list((await mesh.states("clerk")).values()).count("READY") == number
        except ParadeError:
            return False

    await eventually(enough, within=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_ends_a_process_in_good_order(mesh: SmallMesh, tmp_path: Path, number: signal.Signals) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh) as started:
        await ready_instances(mesh, 1)

        started.send_signal(number)

        assert await ended(started) == 0
    assert await mesh.states("clerk") == {}


async def test_an_order_to_leave_ends_a_process(mesh: SmallMesh, tmp_path: Path) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh) as started:
        await ready_instances(mesh, 1)
        (instance,) = await mesh.states("clerk")

        await mesh.manager().DrainInstance(agent_manager_pb2.DrainInstanceRequest(agent="clerk", instance_id=instance))

        assert await ended(started) == 0


async def test_a_process_joins_a_mesh_that_was_made_anew_as_another_instance(mesh: SmallMesh, tmp_path: Path) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh) as started:
        await ready_instances(mesh, 1)
        (first,) = await mesh.states("clerk")

        await mesh.stop_manager()
        mesh.renew_authority()
        await mesh.start_manager()
        await ready_instances(mesh, 1)
        started.terminate()

        assert await ended(started) == 0
        output = started.stdout.read() if started.stdout is not None else ""
    assert output.count("serving  agent=clerk") == 2
    assert output.count(first) == 1
    assert "the mesh has a new authority" in output


async def test_a_thread_that_does_not_end_holds_no_process_up(mesh: SmallMesh, tmp_path: Path) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh, PARADE_AGENT_DRAIN_TIMEOUT="0.2") as started:
        await ready_instances(mesh, 1)
        call = asyncio.create_task(call_process(mesh, "block", {"seconds": 60}))
        await eventually(lambda: busy(mesh))

        started.terminate()

        assert await ended(started) == 0
        with pytest.raises(ParadeError):
            await call


async def test_a_second_interrupt_ends_a_process_at_once(mesh: SmallMesh, tmp_path: Path) -> None:
    with process(["-m", "parade.serve", "clerks:agent"], tmp_path, mesh) as started:
        await ready_instances(mesh, 1)
        call = asyncio.create_task(call_process(mesh, "block", {"seconds": 60}))
        await eventually(lambda: busy(mesh))

        started.send_signal(signal.SIGINT)
        await eventually(lambda: draining(mesh))
        started.send_signal(signal.SIGINT)

        assert await ended(started, within=3) == 130
        with pytest.raises(ParadeError):
            await call


async def test_an_instance_whose_process_is_killed_is_started_again_and_all_stop_together(mesh: SmallMesh, tmp_path: Path) -> None:
    serve_two = "from parade.supervisor import serve_instances; import sys; sys.exit(serve_instances('clerks:agent', 2))"
    with process(["-c", serve_two], tmp_path, mesh) as started:
        await ready_instances(mesh, 2)
        agent = (await mesh.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name="clerk"))).agent
        victim = agent.instances[0]

        os.kill(victim.pid, signal.SIGKILL)

        async def replaced() -> bool:
            states = await mesh.states("clerk")
            return list(states.values()).count("READY") == 2 and states.get(victim.id) != "READY"

        await eventually(replaced, within=20)
        before = time.monotonic()
        started.terminate()
        assert await ended(started) == 0
        assert time.monotonic() - before < 5
        output = started.stdout.read() if started.stdout is not None else ""
    assert "died (SIGKILL); starting it again" in output
    assert {line.partition(" | ")[0] for line in output.splitlines()} == {"clerks-1", "clerks-2"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
async def test_the_instances_leave_when_their_supervisor_is_killed(mesh: SmallMesh, tmp_path: Path) -> None:
    serve_two = "from parade.supervisor import serve_instances; import sys; sys.exit(serve_instances('clerks:agent', 2))"
    with process(["-c", serve_two], tmp_path, mesh) as started:
        await ready_instances(mesh, 2)

        started.kill()

        async def gone() -> bool:
            return "READY" not in (await mesh.states("clerk")).values()

        await eventually(gone, within=10)


async def test_a_target_that_cannot_be_served_is_not_started_again(mesh: SmallMesh, tmp_path: Path) -> None:
    serve_none = "from parade.supervisor import serve_instances; import sys; sys.exit(serve_instances('clerks:nobody', 2))"
    with process(["-c", serve_none], tmp_path, mesh) as started:
        assert await ended(started) == 2
        output = started.stdout.read() if started.stdout is not None else ""
    assert "clerks has no attribute 'nobody'; agents there: clerks:agent" in output


async def call_process(mesh: SmallMesh, function: str, arguments: object) -> object:
    agent = (await mesh.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name="clerk"))).agent
    return await mesh.agent(agent.instances[0]).Invoke(invoke(function, arguments), timeout=30)


async def busy(mesh: SmallMesh) -> bool:
    agent = (await mesh.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name="clerk"))).agent
    return any(instance.load.in_flight for instance in agent.instances)


async def draining(mesh: SmallMesh) -> bool:
    return "DRAINING" in (await mesh.states("clerk")).values()
