"""The agent_manager as it runs: real server, real certificates on loopback, real database.

One file, though a long one: it follows the contract of one service from its first RPC to its last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import agent_manager_pb2 as pb
from parade.v1 import agent_manager_pb2_grpc, function_pb2, value_pb2
from parade.v1.access_watch_pb2 import WatchAccessRequest
from parade.v1.certificate_pb2 import CERTIFICATE_STATE_REVOKED, ListCertificatesRequest, RevokeCertificateRequest
from parade.wire.certificates import Certificates, CertificateSource, MemorySource, new_key_and_request
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade_agent_manager.__main__ import serve
from parade_agent_manager.config import Config
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

SERVER = Identity.service("agent_manager").server_name
CLIENT = Identity.client("dev")
DISPATCHER = Identity.service("dispatcher")


@dataclass
class Mesh:
    """A running agent_manager and ways to reach it."""

    authority: Authority
    address: str
    enrolment_address: str
    channels: list[Channel]

    def reach(self, source: CertificateSource | None, address: str = "") -> "agent_manager_pb2_grpc.AgentManagerServiceAsyncStub":
        channel = Channel(address or self.address, source, SERVER, trust_bundle=self.authority.trust_bundle)
        self.channels.append(channel)
        return agent_manager_pb2_grpc.AgentManagerServiceStub(channel.for_stubs())

    def as_(self, identity: Identity) -> "agent_manager_pb2_grpc.AgentManagerServiceAsyncStub":
        return self.reach(self.authority.source(identity))

    def as_stranger(self) -> "agent_manager_pb2_grpc.AgentManagerServiceAsyncStub":
        return self.reach(None, self.enrolment_address)

    async def enrolled(self, agent: str = "cleaner") -> tuple[pb.EnrollResponse, MemorySource]:
        token = (await self.as_(CLIENT).CreateJoinToken(pb.CreateJoinTokenRequest(agent=agent))).token
        key, csr = new_key_and_request()
        answer = await self.as_stranger().Enroll(pb.EnrollRequest(token=token, csr=csr))
        return answer, MemorySource(Certificates(answer.trust_bundle, answer.certificate_chain, key))


def registration(**changes: Any) -> pb.RegisterInstanceRequest:
    schema = value_pb2.Value(data=b'{"type": "object"}')
    function = function_pb2.Function(name="clean", arguments_schema=schema, result_schema=schema, effect=function_pb2.EFFECT_PURE)
    function.timeout.FromSeconds(30)
    return pb.RegisterInstanceRequest(**{"address": "127.0.0.1:7100", "functions": [function], "max_concurrency": 4, **changes})


class Heart:
    """What keeps an instance alive: beats when told to."""

    def __init__(self, manager: "agent_manager_pb2_grpc.AgentManagerServiceAsyncStub") -> None:
        self._requests: asyncio.Queue[pb.HeartbeatRequest | None] = asyncio.Queue()
        self._responses = aiter(manager.Heartbeat(self._sent()))

    async def beat(self, request: pb.HeartbeatRequest | None = None) -> pb.HeartbeatResponse:
        self._requests.put_nowait(request or pb.HeartbeatRequest())
        async with asyncio.timeout(5):
            return await anext(self._responses)

    async def stop(self) -> list[pb.HeartbeatResponse]:
        self._requests.put_nowait(None)
        async with asyncio.timeout(5):
            return [response async for response in self._responses]

    async def _sent(self) -> AsyncIterator[pb.HeartbeatRequest]:
        while (request := await self._requests.get()) is not None:
            yield request


@pytest.fixture
async def mesh(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[Mesh]:
    authority = Authority(tmp_path)
    certificate, key = authority.root_files()
    address, enrolment = (f"127.0.0.1:{unused_tcp_port_factory()}" for _ in range(2))
    settings: dict[str, Any] = {
        "listen": address,
        "enrolment_listen": enrolment,
        "database_url": f"sqlite:///{tmp_path / 'agents.db'}",
        "ca_certificate": certificate,
        "ca_private_key": key,
        "initial_admin": CLIENT.uri,
        "heartbeat_interval": 0.2,
        "lease_duration": 1.0,
    }
    async with process_of("agent_manager", Config, authority, **settings) as process:
        serving = asyncio.create_task(serve(process))
        made = Mesh(authority, address, enrolment, [])

        async def answers() -> bool:
            try:
                await made.as_(CLIENT).ListAgents(pb.ListAgentsRequest(), timeout=1)
            except ParadeError:
                return False
            return True

        await eventually(answers, within=20)
        yield made
        for channel in made.channels:
            await channel.close()
        process.stop()
        async with asyncio.timeout(5):
            await serving


async def test_a_second_replica_stands_by_and_ends_when_it_is_asked_to(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = mesh.authority.root_files()
    settings: dict[str, Any] = {"database_url": f"sqlite:///{tmp_path / 'agents.db'}", "ca_certificate": certificate, "ca_private_key": key}
    said: list[str] = []

    def stands_by() -> bool:
        said.append(capsys.readouterr().err)
        return "standing by" in "".join(said)

    async with process_of("agent_manager", Config, mesh.authority, **settings) as second:
        serving = asyncio.create_task(serve(second))
        await eventually(stands_by, within=10)

        second.stop()

        async with asyncio.timeout(5):
            await serving


async def refusal(call: Awaitable[Any]) -> Reason:
    with pytest.raises(ParadeError) as raised:
        await call
    return raised.value.reason


async def test_an_agent_enrols_registers_beats_is_found_and_leaves(mesh: Mesh) -> None:
    enrolled, source = await mesh.enrolled()
    instance, client = mesh.reach(source), mesh.as_(CLIENT)

    registered = await instance.RegisterInstance(registration())
    heart = Heart(instance)
    first = await heart.beat(pb.HeartbeatRequest(load=pb.Load(in_flight=2)))
    found = (await client.GetAgent(pb.GetAgentRequest(name="cleaner"))).agent
    functions = (await client.ListFunctions(pb.ListFunctionsRequest())).functions
    await heart.stop()
    await instance.Deregister(pb.DeregisterRequest())
    left = (await client.GetAgent(pb.GetAgentRequest(name="cleaner"))).agent

    assert registered.instance.id == enrolled.instance_id
    assert registered.instance.state == pb.INSTANCE_STATE_JOINING
    assert registered.heartbeat_interval.ToMilliseconds() == 200
    assert registered.lease_duration.ToMilliseconds() == 1000
    assert first.state == pb.INSTANCE_STATE_READY
    assert [(seen.state, seen.load.in_flight) for seen in found.instances] == [(pb.INSTANCE_STATE_READY, 2)]
    assert found.instances[0].server_name == Identity.agent("cleaner", enrolled.instance_id).server_name
    assert [(known.full_name, known.ready_instances) for known in functions] == [("cleaner.clean", 1)]
    assert (len(left.instances), len(left.functions)) == (0, 1)


async def test_a_silent_instance_is_lost_and_its_watchers_hear_of_it(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    instance = mesh.reach(source)
    await instance.RegisterInstance(registration())
    await Heart(instance).beat()

    events: list[str] = []
    async with asyncio.timeout(5):
        async for event in mesh.as_(DISPATCHER).WatchAgents(pb.WatchAgentsRequest()):
            events.append(pb.InstanceState.Name(event.instance.state) if event.HasField("instance") else str(event.WhichOneof("event")))
            if events[-1] == "INSTANCE_STATE_LOST":
                break
    returned = await Heart(instance).beat()

    assert events == ["agent", "INSTANCE_STATE_READY", "synced", "INSTANCE_STATE_LOST"]
    assert returned.state == pb.INSTANCE_STATE_READY


async def test_an_order_to_drain_arrives_with_the_next_heartbeat(mesh: Mesh) -> None:
    enrolled, source = await mesh.enrolled()
    instance = mesh.reach(source)
    await instance.RegisterInstance(registration())
    heart = Heart(instance)
    await heart.beat()

    drained = await mesh.as_(CLIENT).DrainInstance(pb.DrainInstanceRequest(agent="cleaner", instance_id=enrolled.instance_id))

    assert drained.instance.state == pb.INSTANCE_STATE_DRAINING
    assert (await heart.beat()).state == pb.INSTANCE_STATE_DRAINING


async def test_200_strangers_with_one_token_give_one_certificate(mesh: Mesh) -> None:
    token = (await mesh.as_(CLIENT).CreateJoinToken(pb.CreateJoinTokenRequest(agent="cleaner"))).token
    requests = [new_key_and_request()[1] for _ in range(200)]
    stranger = mesh.as_stranger()

    answers = await asyncio.gather(*(stranger.Enroll(pb.EnrollRequest(token=token, csr=csr)) for csr in requests), return_exceptions=True)

    assert sum(isinstance(answer, pb.EnrollResponse) for answer in answers) == 1
    assert [answer.reason for answer in answers if isinstance(answer, ParadeError)] == [Reason.UNAUTHENTICATED] * 199


async def test_200_tries_of_one_stranger_with_one_token_give_one_certificate(mesh: Mesh) -> None:
    token = (await mesh.as_(CLIENT).CreateJoinToken(pb.CreateJoinTokenRequest(agent="cleaner"))).token
    request = pb.EnrollRequest(token=token, csr=new_key_and_request()[1])
    stranger = mesh.as_stranger()

    answers = await asyncio.gather(*(stranger.Enroll(request) for _ in range(200)))

    assert len({answer.certificate_chain for answer in answers}) == 1
    assert len((await mesh.as_(CLIENT).ListCertificates(ListCertificatesRequest())).certificates) == 1


async def test_who_renews_with_a_copy_of_a_superseded_certificate_locks_the_instance_and_its_heart_stops(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    thief = mesh.reach(MemorySource(source.current()))
    instance = mesh.reach(source)
    await instance.RegisterInstance(registration())
    key, csr = new_key_and_request()
    renewed = await instance.RenewCertificate(pb.RenewCertificateRequest(csr=csr))
    source.replace(Certificates(renewed.trust_bundle, renewed.certificate_chain, key))
    heart = Heart(instance)
    await heart.beat()

    stolen = await refusal(thief.RenewCertificate(pb.RenewCertificateRequest(csr=new_key_and_request()[1])))

    assert stolen is Reason.UNAUTHENTICATED
    assert await refusal(heart.stop()) is Reason.UNAUTHENTICATED
    assert await refusal(instance.RegisterInstance(registration())) is Reason.UNAUTHENTICATED
    assert not (await mesh.as_(CLIENT).GetAgent(pb.GetAgentRequest(name="cleaner"))).agent.instances
    listed = (await mesh.as_(CLIENT).ListCertificates(ListCertificatesRequest())).certificates
    assert [one.state for one in listed] == [CERTIFICATE_STATE_REVOKED] * 2
    assert "has a copy" in listed[0].revocation.reason


async def test_a_watch_of_access_is_for_services(mesh: Mesh) -> None:
    await mesh.as_(CLIENT).RevokeCertificate(RevokeCertificateRequest(spiffe_id=Identity.client("lost").uri))

    watch = aiter(mesh.as_(DISPATCHER).WatchAccess(WatchAccessRequest()))
    async with asyncio.timeout(5):
        events = [await anext(watch) for _ in range(2)]
        while events[-1].WhichOneof("event") != "synced":
            events.append(await anext(watch))

    assert [event.revocation.spiffe_id for event in events if event.HasField("revocation")] == [Identity.client("lost").uri]
    for caller in (CLIENT, Identity.agent("cleaner", "i-1")):
        assert await refusal(anext(aiter(mesh.as_(caller).WatchAccess(WatchAccessRequest())))) is Reason.PERMISSION_DENIED


async def test_only_an_admin_of_all_namespaces_and_the_operator_revoke_beyond_their_own(mesh: Mesh) -> None:
    request = RevokeCertificateRequest(spiffe_id=Identity.client("dev", "other").uri)
    behind_the_gateway = on_behalf_of("default", CLIENT.uri, Role.ADMIN)

    refused = await refusal(mesh.as_(Identity.service("gateway")).RevokeCertificate(request, metadata=behind_the_gateway))
    by_admin = await mesh.as_(CLIENT).RevokeCertificate(request)
    by_operator = await mesh.as_(Identity.service("agent_manager")).RevokeCertificate(
        RevokeCertificateRequest(spiffe_id=Identity.service("monitor").uri)
    )

    assert refused is Reason.PERMISSION_DENIED
    assert by_admin.revocation.revoked_by == CLIENT.uri
    assert by_operator.revocation.revoked_by == Identity.service("agent_manager").uri


async def test_a_renewed_certificate_is_the_same_instances(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    instance = mesh.reach(source)
    await instance.RegisterInstance(registration())

    key, csr = new_key_and_request()
    renewed = await instance.RenewCertificate(pb.RenewCertificateRequest(csr=csr))
    source.replace(Certificates(renewed.trust_bundle, renewed.certificate_chain, key))
    again = await instance.RegisterInstance(registration())

    assert again.instance.state == pb.INSTANCE_STATE_JOINING
    assert await refusal(instance.RegisterInstance(registration(version="2"))) is Reason.ALREADY_EXISTS


async def test_every_fault_of_a_registration_comes_back(mesh: Mesh) -> None:
    bad = registration(address="nowhere", max_concurrency=0)
    bad.functions[0].arguments_schema.data = b'{"type": "strng"}'
    bad.functions[0].ClearField("timeout")
    _, source = await mesh.enrolled()

    with pytest.raises(ParadeError) as raised:
        await mesh.reach(source).RegisterInstance(bad)

    assert raised.value.reason is Reason.INVALID_ARGUMENTS
    assert {violation.field for violation in raised.value.violations} == {
        "address",
        "max_concurrency",
        "functions[0].timeout",
        "functions[0].arguments_schema",
    }


async def test_pausing_and_resuming_is_seen_by_all(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    await mesh.reach(source).RegisterInstance(registration())
    client = mesh.as_(CLIENT)

    paused = await client.PauseAgent(pb.PauseAgentRequest(name="cleaner"))
    listed = await client.ListAgents(pb.ListAgentsRequest())
    resumed = await client.ResumeAgent(pb.ResumeAgentRequest(name="cleaner"))

    assert paused.agent.state == listed.agents[0].state == pb.AGENT_STATE_PAUSED
    assert resumed.agent.state == pb.AGENT_STATE_ACTIVE
    assert await refusal(client.PauseAgent(pb.PauseAgentRequest(name="nobody"))) is Reason.NOT_FOUND


async def test_a_namespace_is_the_callers_own(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    await mesh.reach(source).RegisterInstance(registration())
    elsewhere, scheduler, gateway = (
        mesh.as_(Identity.client("dev", "other")),
        mesh.as_(Identity.service("scheduler")),
        mesh.as_(Identity.service("gateway")),
    )
    claimed = on_behalf_of("default", CLIENT.uri, Role.VIEWER)

    assert not (await elsewhere.ListAgents(pb.ListAgentsRequest(), metadata=claimed)).agents
    assert await refusal(elsewhere.GetAgent(pb.GetAgentRequest(name="cleaner"))) is Reason.NOT_FOUND
    assert len((await scheduler.ListFunctions(pb.ListFunctionsRequest(), metadata=claimed)).functions) == 1
    assert await refusal(scheduler.ListFunctions(pb.ListFunctionsRequest())) is Reason.INVALID_ARGUMENTS
    assert (await first_events(gateway, metadata=claimed)) == ["agent", "instance", "synced"]
    assert (await first_events(elsewhere)) == ["synced"]


async def first_events(manager: "agent_manager_pb2_grpc.AgentManagerServiceAsyncStub", **how: Any) -> list[str | None]:
    events: list[str | None] = []
    async with asyncio.timeout(5):
        async for event in manager.WatchAgents(pb.WatchAgentsRequest(), **how):
            events.append(event.WhichOneof("event"))
            if events[-1] == "synced":
                break
    return events


async def test_an_answer_of_megabytes_arrives_whole(mesh: Mesh) -> None:
    schema = b'{"type": "object", "title": "' + b"x" * 250_000 + b'"}'
    offer = registration()
    described = offer.functions[0]
    described.arguments_schema.data = schema
    for number in range(5):
        another = offer.functions.add()
        another.CopyFrom(described)
        another.name = f"also-{number}"
    for _ in range(2):
        _, source = await mesh.enrolled("large")
        await mesh.reach(source).RegisterInstance(offer)

    (found,) = (await mesh.as_(CLIENT).ListAgents(pb.ListAgentsRequest())).agents

    listed = [*found.functions, *(function for instance in found.instances for function in instance.functions)]
    assert found.ByteSize() > 4 * 1024 * 1024
    assert [function.arguments_schema.data for function in listed] == [schema] * 18


async def test_bad_pages_are_refused(mesh: Mesh) -> None:
    client = mesh.as_(CLIENT)
    assert await refusal(client.ListAgents(pb.ListAgentsRequest(page_token="made-up"))) is Reason.INVALID_ARGUMENTS
    assert await refusal(client.ListFunctions(pb.ListFunctionsRequest(page_size=-1))) is Reason.INVALID_ARGUMENTS


async def test_a_heartbeat_of_one_that_never_registered_is_refused(mesh: Mesh) -> None:
    _, source = await mesh.enrolled()
    assert await refusal(Heart(mesh.reach(source)).beat()) is Reason.NOT_FOUND


async def test_who_may_not_call_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    _, agent = await mesh.enrolled()
    other = Authority(tmp_path / "other")
    no_certificate, foreign, expired = (
        mesh.reach(None),
        mesh.reach(other.source(CLIENT, trust_bundle=mesh.authority.trust_bundle)),
        mesh.reach(mesh.authority.expired(CLIENT)),
    )

    for caller in (no_certificate, foreign, expired):
        assert await refusal(caller.ListAgents(pb.ListAgentsRequest(), timeout=3)) in (Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED)
    assert await refusal(mesh.reach(agent).PauseAgent(pb.PauseAgentRequest(name="cleaner"))) is Reason.PERMISSION_DENIED
    assert await refusal(mesh.as_(CLIENT).RegisterInstance(registration())) is Reason.PERMISSION_DENIED
    assert await refusal(mesh.as_(Identity.service("monitor")).ListAgents(pb.ListAgentsRequest())) is Reason.PERMISSION_DENIED
    assert await refusal(mesh.as_stranger().ListAgents(pb.ListAgentsRequest())) is Reason.UNAUTHENTICATED
    assert await refusal(mesh.as_stranger().RegisterInstance(registration())) is Reason.UNAUTHENTICATED


async def test_a_stranger_without_a_token_is_refused(mesh: Mesh) -> None:
    _, csr = new_key_and_request()
    assert await refusal(mesh.as_stranger().Enroll(pb.EnrollRequest(token="parade_join_x", csr=csr))) is Reason.UNAUTHENTICATED
