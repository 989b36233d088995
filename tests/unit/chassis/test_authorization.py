"""Who has too little of a role is refused, and what it has open ends when its role is taken away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import SettingsConfigDict

from parade.v1 import access_pb2, agent_manager_pb2, agent_manager_pb2_grpc
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity, Kind
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import EVERYWHERE, Role
from parade_chassis.config import ServiceConfig
from parade_chassis.context import current
from parade_chassis.grants import Granted, Grants
from parade_chassis.interceptors.authorization import needed_roles
from parade_chassis.server import running
from tests.support.certificates import Authority
from tests.support.processes import process_of

ADA = Identity.client("ada", "sales")
GATEWAY = Identity.service("gateway")
SERVER = Identity.service("agent_manager").server_name
LIST = agent_manager_pb2.ListAgentsRequest()
PAUSE = agent_manager_pb2.PauseAgentRequest(name="a")


class Config(ServiceConfig):
    model_config = SettingsConfigDict(env_prefix="PARADE_TESTED_")


class Agents(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    def __init__(self) -> None:
        self.entered: list[Role] = []

    async def ListAgents(self, request: Any, context: Any) -> agent_manager_pb2.ListAgentsResponse:
        self.entered.append(current().role)
        return agent_manager_pb2.ListAgentsResponse()

    async def PauseAgent(self, request: Any, context: Any) -> agent_manager_pb2.PauseAgentResponse:
        self.entered.append(current().role)
        return agent_manager_pb2.PauseAgentResponse()

    async def WatchAgents(self, request: Any, context: Any) -> AsyncIterator[agent_manager_pb2.WatchAgentsResponse]:
        yield agent_manager_pb2.WatchAgentsResponse()
        await asyncio.Event().wait()


@asynccontextmanager
async def served(folder: Path, grants: Grants) -> AsyncIterator[tuple[Agents, Any]]:
    authority, agents = Authority(folder), Agents()  # type: ignore[abstract]
    async with process_of("agent_manager", Config, authority, grants=grants) as process, running(process, agents) as server:
        channels: list[Channel] = []

        def stub(identity: Identity) -> Any:
            channels.append(Channel(server.address, authority.source(identity), SERVER))
            return agent_manager_pb2_grpc.AgentManagerServiceStub(channels[-1].for_stubs())

        yield agents, stub
        for channel in channels:
            await channel.close()


async def refusal(call: Any) -> ParadeError:
    with pytest.raises(ParadeError) as caught:
        await call
    return caught.value


async def test_a_client_does_what_its_role_allows_and_no_more(tmp_path: Path) -> None:
    grants = Grants()
    grants.replace([Granted(ADA.uri, "sales", Role.VIEWER)])
    async with served(tmp_path, grants) as (agents, stub):
        client = stub(ADA)

        await client.ListAgents(LIST)
        error = await refusal(client.PauseAgent(PAUSE))
        grants.put(Granted(ADA.uri, EVERYWHERE, Role.OPERATOR))
        await client.PauseAgent(PAUSE)

    assert error.reason is Reason.PERMISSION_DENIED
    assert error.metadata == {"role": "operator", "held": "viewer"}
    assert f"parade role grant {ADA.uri} operator" in error.message
    assert agents.entered == [Role.VIEWER, Role.OPERATOR]


@pytest.mark.parametrize("namespace", ["default", "research"])
async def test_a_role_elsewhere_is_none_here(tmp_path: Path, namespace: str) -> None:
    grants = Grants()
    grants.replace([Granted(ADA.uri, namespace, Role.ADMIN), Granted(Identity.client("bob", "sales").uri, "sales", Role.ADMIN)])
    async with served(tmp_path, grants) as (agents, stub):
        metadata = on_behalf_of(namespace, ADA.uri, Role.ADMIN)

        error = await refusal(stub(ADA).ListAgents(LIST, metadata=metadata))

    assert error.reason is Reason.PERMISSION_DENIED
    assert error.metadata["held"] == "none"
    assert agents.entered == []


async def test_until_roles_are_known_clients_are_asked_to_come_again(tmp_path: Path) -> None:
    grants = Grants()
    async with served(tmp_path, grants) as (agents, stub):
        error = await refusal(stub(ADA).ListAgents(LIST))
        await stub(Identity.agent("a", "i-1", "sales")).ListAgents(LIST)
        await stub(GATEWAY).ListAgents(LIST, metadata=on_behalf_of("sales", "key:1", Role.VIEWER))

    assert (error.reason, error.retryable) == (Reason.UNAVAILABLE, True)
    assert agents.entered == [Role.NONE, Role.VIEWER]


@pytest.mark.parametrize("claimed", [(), on_behalf_of("sales", "key:1", Role.DEVELOPER), (("parade-role", "root"),)])
async def test_the_gateway_is_held_to_the_role_that_it_says(tmp_path: Path, claimed: tuple[tuple[str, str], ...]) -> None:
    async with served(tmp_path, Grants()) as (agents, stub):
        error = await refusal(stub(GATEWAY).PauseAgent(PAUSE, metadata=claimed))

    assert error.reason is Reason.PERMISSION_DENIED
    assert agents.entered == []


async def test_nobody_else_is_believed_about_a_role(tmp_path: Path) -> None:
    grants = Grants()
    grants.replace([])
    async with served(tmp_path, grants) as (agents, stub):
        for identity in (ADA, Identity.service("scheduler"), Identity.agent("a", "i-1", "sales")):
            error = await refusal(stub(identity).PauseAgent(PAUSE, metadata=on_behalf_of("sales", "key:1", Role.ADMIN)))
            assert error.reason is Reason.PERMISSION_DENIED

    assert agents.entered == []


async def test_a_stream_ends_when_its_readers_role_is_taken_away(tmp_path: Path) -> None:
    bob = Identity.client("bob", "sales")
    grants = Grants()
    grants.replace([Granted(ADA.uri, "sales", Role.DEVELOPER), Granted(bob.uri, "sales", Role.VIEWER)])
    async with served(tmp_path, grants) as (_, stub), asyncio.timeout(20):
        streams = [aiter(stub(identity).WatchAgents(agent_manager_pb2.WatchAgentsRequest())) for identity in (ADA, bob)]
        for stream in streams:
            await anext(stream)

        grants.put(Granted(ADA.uri, "sales", Role.VIEWER))  # still enough
        grants.put(Granted(bob.uri, "sales", Role.NONE))
        error = await refusal(anext(streams[1]))
        reading = asyncio.ensure_future(anext(streams[0]))
        done, _ = await asyncio.wait({reading}, timeout=0.2)
        grants.replace([])
        last = await refusal(reading)

    assert error.reason is last.reason is Reason.PERMISSION_DENIED
    assert not done


def test_the_contract_names_a_role_wherever_somebody_outside_is_let_in() -> None:
    needs = needed_roles(agent_manager_pb2.DESCRIPTOR.services_by_name.values())

    assert needs["/parade.v1.AgentManagerService/PauseAgent", Kind.CLIENT] is Role.OPERATOR
    assert needs["/parade.v1.AgentManagerService/PauseAgent", Kind.GATEWAY] is Role.OPERATOR
    assert ("/parade.v1.AgentManagerService/GetAgent", Kind.AGENT) not in needs
    assert ("/parade.v1.AgentManagerService/WatchAccess", Kind.GATEWAY) not in needs


@pytest.mark.parametrize(
    ("callers", "role", "starts"),
    [
        ([access_pb2.CALLER_KIND_CLIENT], access_pb2.ROLE_VIEWER, True),
        ([access_pb2.CALLER_KIND_GATEWAY], access_pb2.ROLE_NONE, True),
        ([access_pb2.CALLER_KIND_AGENT], access_pb2.ROLE_UNSPECIFIED, True),
        ([access_pb2.CALLER_KIND_CLIENT], access_pb2.ROLE_UNSPECIFIED, False),
        ([access_pb2.CALLER_KIND_GATEWAY], access_pb2.ROLE_UNSPECIFIED, False),
        ([access_pb2.CALLER_KIND_CLIENT, access_pb2.CALLER_KIND_GATEWAY], access_pb2.ROLE_NONE, False),
        ([access_pb2.CALLER_KIND_AGENT], access_pb2.ROLE_VIEWER, False),
    ],
)
def test_a_method_that_says_nothing_of_a_role_stops_the_start(callers: list[int], role: int, *, starts: bool) -> None:
    service = service_with(callers, role)

    if starts:
        needed_roles([service])
        return
    with pytest.raises(ValueError, match="role"):
        needed_roles([service])


def service_with(callers: list[int], role: int) -> Any:
    """Makes a service with one method, as a contract would declare it."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="tested.proto", package="tested", syntax="proto3")
    file.message_type.add(name="Empty")
    method = file.service.add(name="Tested").method.add(name="Ask", input_type=".tested.Empty", output_type=".tested.Empty")
    options: Any = method.options.Extensions
    options[access_pb2.callers].extend(callers)
    if role:
        options[access_pb2.role] = role
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("tested.Tested")
