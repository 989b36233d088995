"""A real agent_manager and a real dispatcher around an agent that runs in the test; all over mutual TLS on loopback."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

import parade_agent_manager.__main__ as agent_manager
from parade.hosting.instance import Instance
from parade.v1 import agent_manager_pb2, agent_pb2, call_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.v1.agent_pb2_grpc import AgentServiceStub
from parade.v1.value_pb2 import Value
from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel
from parade.wire.identity import Identity
from parade.wire.mesh_file import FILE_NAME, MeshFile
from parade_agent_manager.config import Config as AgentManagerConfig
from parade_chassis.lifecycle import Process
from tests.support.certificates import Authority
from tests.support.mandates import Mandates, MandatingStub
from tests.support.processes import process_of
from tests.support.servers import free_port, listens
from tests.support.waiting import eventually

CLIENT = Identity.client("dev")
DISPATCHER = Identity.service("dispatcher")


class SmallMesh:
    """The services that an agent meets, in this process."""

    def __init__(self, folder: Path, stack: AsyncExitStack, lease_duration: float = 2.0) -> None:
        self.stack = stack
        self._folder = folder
        self._lease_duration = lease_duration
        self.authority = Authority(folder / "certificates")
        ports = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        client = self.authority.files(CLIENT)
        self.file = MeshFile(
            folder=folder,
            services={"agent_manager": ports[0], "dispatcher": ports[1]},
            enrolment=ports[2],
            trust_bundle=str(client.trust_bundle.relative_to(folder)),
            certificate=str(client.certificate.relative_to(folder)),
            private_key=str(client.private_key.relative_to(folder)),
        )
        self.file.write()
        self._manager: asyncio.Task[None] | None = None
        self._manager_process: Process[Any] | None = None

    @property
    def path(self) -> Path:
        return self._folder / FILE_NAME

    def renew_authority(self) -> None:
        """Makes a new root, as a mesh whose state was thrown away has one, and forgets every agent."""
        self.authority = Authority(self._folder / "certificates")
        self.authority.files(CLIENT)
        for file in self._folder.glob("agents.db*"):
            file.unlink()

    async def start_manager(self) -> None:
        certificate, key = self.authority.root_files()
        ready = asyncio.Event()

        async def serve() -> None:
            settings: dict[str, Any] = {
                "listen": self.file.services["agent_manager"],
                "enrolment_listen": self.file.enrolment,
                "database_url": f"sqlite:///{self._folder}/agents.db",
                "ca_certificate": certificate,
                "ca_private_key": key,
                "initial_admin": CLIENT.uri,
                "heartbeat_interval": 0.1,
                "lease_duration": self._lease_duration,
            }
            async with process_of("agent_manager", AgentManagerConfig, self.authority, **settings) as process:
                self._manager_process = process
                ready.set()
                await agent_manager.serve(process)

        self._manager = asyncio.create_task(serve())
        await ready.wait()
        await eventually(lambda: listens(self.file.services["agent_manager"]), within=15)

    async def stop_manager(self) -> None:
        if self._manager is not None and self._manager_process is not None:
            self._manager_process.stop()
            await self._manager
            self._manager = None

    async def start_dispatcher(self) -> None:
        import parade_dispatcher.__main__ as dispatcher
        from parade_dispatcher.config import Config as DispatcherConfig

        settings: dict[str, Any] = {
            "listen": self.file.services["dispatcher"],
            "agent_manager": self.file.services["agent_manager"],
            "database_url": f"sqlite:///{self._folder}/dispatcher.db",
        }
        process = await self.stack.enter_async_context(process_of("dispatcher", DispatcherConfig, self.authority, **settings))
        task = asyncio.create_task(dispatcher.serve(process))

        async def stop() -> None:
            process.stop()
            await task

        self.stack.push_async_callback(stop)
        await eventually(lambda: listens(self.file.services["dispatcher"]), within=15)

    def agent(self, instance: Instance, caller: Identity = DISPATCHER, authority: Authority | None = None) -> Any:
        """Returns a stub of an instance, as a dispatcher or another caller has it: its calls have mandates."""
        source = (authority or self.authority).source(caller, trust_bundle=self.authority.trust_bundle)
        return MandatingStub(self._stub(instance, source), Mandates(source, instance.agent))

    def plain_agent(self, instance: Instance) -> Any:
        """Returns a stub of an instance, as a dispatcher has it whose calls have no mandates but those that a test gives them."""
        return self._stub(instance, self.authority.source(DISPATCHER))

    def _stub(self, instance: Instance, source: CertificateSource) -> Any:
        channel = Channel(instance.address, source, instance.server_name, peer=instance.agent)
        self.stack.push_async_callback(channel.close)
        return AgentServiceStub(channel.for_stubs())

    async def any_instance(self, agent: str) -> Any:
        """Returns a stub of an instance in another process."""
        found = (await self.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name=agent))).agent.instances[0]
        source = self.authority.source(DISPATCHER, trust_bundle=self.authority.trust_bundle)
        channel = Channel(found.address, source, found.server_name, peer=agent)
        self.stack.push_async_callback(channel.close)
        return MandatingStub(AgentServiceStub(channel.for_stubs()), Mandates(source, agent))

    def manager(self) -> Any:
        channel = self.authority.channel(self.file.services["agent_manager"], CLIENT, "agent_manager")
        self.stack.push_async_callback(channel.close)
        return AgentManagerServiceStub(channel.for_stubs())

    async def states(self, agent: str) -> dict[str, str]:
        """Returns the states of an agent's instances by id."""
        response = await self.manager().GetAgent(agent_manager_pb2.GetAgentRequest(name=agent))
        return {
            instance.id: agent_manager_pb2.InstanceState.Name(instance.state).removeprefix("INSTANCE_STATE_")
            for instance in response.agent.instances
        }


@asynccontextmanager
async def small_mesh(folder: Path, lease_duration: float = 2.0) -> AsyncIterator[SmallMesh]:
    """Runs an agent_manager."""
    async with AsyncExitStack() as stack:
        mesh = SmallMesh(folder, stack, lease_duration)
        await mesh.start_manager()
        stack.push_async_callback(mesh.stop_manager)
        yield mesh


_CALL_IDS = itertools.count(1)


def new_call_id() -> str:
    return f"call-{next(_CALL_IDS):04}"


def invoke(function: str, arguments: Any = None, call_id: str = "", **origin: Any) -> agent_pb2.InvokeRequest:
    return agent_pb2.InvokeRequest(
        call_id=call_id or new_call_id(),
        function=function,
        arguments=_json({} if arguments is None else arguments),
        origin=call_pb2.CallOrigin(**origin),
    )


def invoke_stream(function: str, arguments: Any = None) -> agent_pb2.InvokeStreamRequest:
    return agent_pb2.InvokeStreamRequest(call_id=new_call_id(), function=function, arguments=_json({} if arguments is None else arguments))


def value(message: Value) -> Any:
    return orjson.loads(message.data)


def _json(content: Any) -> Value:
    return Value(data=content if isinstance(content, bytes) else orjson.dumps(content))
