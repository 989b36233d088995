"""Asks any method of the contract by its descriptor, as anybody of the mesh, and keeps whatever is answered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from parade.v1 import access_pb2
from parade.v1.session_pb2 import SessionCall
from parade.v1.value_pb2 import Value
from parade.wire.certificates import MemorySource
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade.wire.mesh_file import MeshFile
from parade.wire.session.caller import SessionCaller
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION, PROTOBUF, SCHEDULER_SESSION
from parade_gateway.routes import public_services
from tests.integration.test_access import MeshAuthority

SERVED_BY: Final = {
    "AgentManagerService": "agent_manager",
    "AuditService": "agent_manager",
    "DispatcherService": "dispatcher",
    "GatewayService": "gateway",
    "KeyService": "agent_manager",
    "MonitorService": "monitor",
    "PolicyService": "agent_manager",
    "RefusalService": "agent_manager",
    "SchedulerService": "scheduler",
}
METHODS: Final = {
    f"{service.name}.{method.name}": method
    for service in public_services()
    for method in service.methods
    if service.name in SERVED_BY and not (method.client_streaming and method.server_streaming)
}
"""Every method of the services that takes a request and answers it, by its service's name and its own."""
STREAM_SECONDS: Final = 0.5
"""How long a stream without an end is read."""
UNARY_SECONDS: Final = 20.0

message_class: Final = GetMessageClass


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    messages: tuple[Any, ...] = ()
    error: ParadeError | None = None


class Ports:
    """The ports of a mesh, and a connection of everybody who has asked there."""

    def __init__(self, mesh: MeshFile) -> None:
        self._mesh = mesh
        self._authority = MeshAuthority(mesh)
        self._channels: dict[tuple[Identity, str], Channel] = {}
        self._links: dict[tuple[Identity, str], Link] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self, caller: Identity, method: MethodDescriptor, request: Message, metadata: Any = ()) -> Answer:
        """Sends one request, whose caller may say more in `metadata`."""
        channel = self._channel(caller, SERVED_BY[method.containing_service.name])
        path = f"/{method.containing_service.full_name}/{method.name}"
        codec = type(request).SerializeToString, message_class(method.output_type).FromString
        seen: list[Any] = []
        try:
            if method.client_streaming:
                seen.append(await channel.stream_unary(path, *codec)(_alone(request), timeout=UNARY_SECONDS, metadata=metadata))
            elif method.server_streaming:
                responses = channel.unary_stream(path, *codec)(request, timeout=STREAM_SECONDS, metadata=metadata)
                async for response in responses:
                    seen.append(response)  # noqa: PERF401  # what came before a failure counts
            else:
                seen.append(await channel.unary_unary(path, *codec)(request, timeout=UNARY_SECONDS, metadata=metadata))
        except ParadeError as error:
            return Answer(tuple(seen), error)
        return Answer(tuple(seen))

    async def ask_by_session(self, caller: Identity, method: MethodDescriptor, request: Message) -> Answer:
        """Sends one request to the scheduler over a session."""
        call = SessionCall(function=method.name, arguments=Value(data=request.SerializeToString(), media_type=PROTOBUF))
        answer = await self.call(caller, call, SCHEDULER_SESSION)
        return Answer(tuple(message_class(method.output_type).FromString(one.result.data) for one in answer.messages), answer.error)

    async def call(self, caller: Identity, call: SessionCall, session: str = DISPATCHER_SESSION) -> Answer:
        """Makes one call over a session."""
        service = "dispatcher" if session == DISPATCHER_SESSION else "scheduler"
        if (caller, service) not in self._links:
            link = self._links[caller, service] = Link([self._channel(caller, service)], session)
            self._stack.push_async_callback(link.close)
        try:
            async with asyncio.timeout(UNARY_SECONDS):
                return Answer((await SessionCaller(self._links[caller, service]).call(call, UNARY_SECONDS),))
        except ParadeError as error:
            return Answer((), error)

    def _channel(self, caller: Identity, service: str) -> Channel:
        if (caller, service) not in self._channels:
            source = MemorySource(self._authority.certificates(caller))
            address = self._mesh.services[service].partition(",")[0]
            channel = Channel(address, source, Identity.service(service).server_name, peer=service)
            self._channels[caller, service] = channel
            self._stack.push_async_callback(channel.close)
        return self._channels[caller, service]


async def _alone(request: Message) -> AsyncIterator[Message]:
    yield request


def admits(method: MethodDescriptor, kind: access_pb2.CallerKind.ValueType) -> bool:
    """Whether the contract lets callers of a kind in."""
    return kind in method.GetOptions().Extensions[access_pb2.callers]
