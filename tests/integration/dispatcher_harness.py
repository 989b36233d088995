"""A dispatcher as its process runs it, with real agents and a real feed around it; all over mutual TLS on loopback."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.protobuf.duration_pb2 import Duration
from grpc_status import rpc_status

from parade.v1 import agent_manager_pb2, agent_manager_pb2_grpc, agent_pb2, agent_pb2_grpc, dispatcher_pb2, dispatcher_pb2_grpc
from parade.v1.function_pb2 import EFFECT_EFFECT, EFFECT_PURE, Function
from parade.v1.value_pb2 import Value
from parade.wire.certificates import CertificateSource
from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade.wire.status import to_status
from parade.wire.tls import server_credentials
from parade_dispatcher.__main__ import serve
from parade_dispatcher.config import Config
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

CLIENT = Identity.client("dev")
SCHEDULER = Identity.service("scheduler")
NUMBER_SCHEMA = Value(data=b'{"type": "number"}')
ROWS_SCHEMA = Value(data=b'{"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "number"}}}}')


def json(value: Any) -> Value:
    return Value(data=orjson.dumps(value))


def function(name: str, *, effect: Any = EFFECT_PURE, timeout: float = 10.0, streaming: bool = False) -> Function:
    return Function(
        name=name,
        arguments_schema=ROWS_SCHEMA,
        result_schema=NUMBER_SCHEMA,
        effect=effect,
        timeout=Duration(seconds=int(timeout), nanos=int(timeout % 1 * 1e9)),
        streaming=streaming,
    )


FUNCTIONS = (
    function("describe"),
    function("send", effect=EFFECT_EFFECT),
    function("quick", timeout=0.3),
    function("items", streaming=True),
    function("send-items", effect=EFFECT_EFFECT, streaming=True),
)

Unary = Callable[[agent_pb2.InvokeRequest, grpc.aio.ServicerContext[Any, Any]], Awaitable[agent_pb2.InvokeResponse]]
Stream = Callable[[agent_pb2.InvokeStreamRequest], AsyncIterator[agent_pb2.InvokeStreamResponse]]


async def _forty_two(request: Any, context: Any) -> agent_pb2.InvokeResponse:
    return agent_pb2.InvokeResponse(result=json(42))


async def never(request: Any, context: Any) -> agent_pb2.InvokeResponse:
    await asyncio.Event().wait()
    raise AssertionError


def returning(data: bytes) -> Unary:
    async def answer(request: Any, context: Any) -> agent_pb2.InvokeResponse:
        return agent_pb2.InvokeResponse(result=Value(data=data))

    return answer


def raising(error: ParadeError) -> Unary:
    async def answer(request: Any, context: Any) -> agent_pb2.InvokeResponse:
        await context.abort_with_status(rpc_status.to_status(to_status(error)))
        raise AssertionError

    return answer


class TestAgent(agent_pb2_grpc.AgentServiceServicer):
    """An instance whose behaviour the test sets."""

    __test__ = False

    def __init__(self, instance: agent_manager_pb2.Instance) -> None:
        self.instance = instance
        self.unary: Unary = _forty_two
        self.stream: Stream | None = None
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.running = 0
        self.cancelled = 0
        self.server: grpc.aio.Server | None = None

    @property
    def id(self) -> str:
        return self.instance.id

    async def Invoke(self, request: Any, context: Any) -> Any:
        with self._entered(request, context):
            return await self.unary(request, context)

    async def InvokeStream(self, request: Any, context: Any) -> Any:
        with self._entered(request, context):
            assert self.stream is not None
            async for event in self.stream(request):
                yield event

    async def lose(self) -> None:
        """Breaks every connection, as the death of the process does."""
        assert self.server is not None
        await self.server.stop(None)

    def _entered(self, request: Any, context: Any) -> "_Entered":
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        return _Entered(self)


class _Entered:
    def __init__(self, agent: TestAgent) -> None:
        self.agent = agent

    def __enter__(self) -> None:
        self.agent.running += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.agent.running -= 1
        self.agent.cancelled += kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit)


class AgentManager(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    """Says what the test puts into it, by `WatchAgents` alone."""

    def __init__(self) -> None:
        self.agents: dict[str, agent_manager_pb2.Agent] = {}
        self.instances: dict[str, agent_manager_pb2.Instance] = {}
        self.watches: list[asyncio.Queue[agent_manager_pb2.WatchAgentsResponse]] = []
        self.syncs = True

    async def WatchAgents(self, request: Any, context: Any) -> Any:
        for agent in self.agents.values():
            yield agent_manager_pb2.WatchAgentsResponse(agent=agent)
        for instance in self.instances.values():
            yield agent_manager_pb2.WatchAgentsResponse(instance=instance)
        queue: asyncio.Queue[agent_manager_pb2.WatchAgentsResponse] = asyncio.Queue()
        self.watches.append(queue)
        if self.syncs:
            yield agent_manager_pb2.WatchAgentsResponse(synced=agent_manager_pb2.WatchAgentsResponse.Synced())
        while True:
            yield await queue.get()

    def say(self, change: agent_manager_pb2.Agent | agent_manager_pb2.Instance) -> None:
        if isinstance(change, agent_manager_pb2.Agent):
            self.agents[change.name] = change
            message = agent_manager_pb2.WatchAgentsResponse(agent=change)
        else:
            self.instances[change.id] = change
            message = agent_manager_pb2.WatchAgentsResponse(instance=change)
        for queue in self.watches:
            queue.put_nowait(message)


@dataclass
class Mesh:
    """A dispatcher with everything around it."""

    authority: Authority
    manager: AgentManager
    manager_server: grpc.aio.Server
    manager_address: str
    address: str
    stack: AsyncExitStack
    numbers: Iterable[int] = field(default_factory=itertools.count)

    def stub(self, caller: Identity = CLIENT) -> Any:
        channel = self.authority.channel(self.address, caller, "dispatcher")
        self.stack.push_async_callback(channel.close)
        return dispatcher_pb2_grpc.DispatcherServiceStub(channel)  # type: ignore[call-overload]

    async def agent(self, *, max_concurrency: int = 8, state: str = "READY", listening: bool = True) -> TestAgent:
        """Starts an instance of the agent "analyst" and lets the dispatcher know."""
        identity = Identity.agent("analyst", f"i{next(iter(self.numbers))}")
        instance = agent_manager_pb2.Instance(
            id=identity.instance,
            namespace=identity.namespace,
            agent=identity.name,
            server_name=identity.server_name,
            state=agent_manager_pb2.InstanceState.Value(f"INSTANCE_STATE_{state}"),
            max_concurrency=max_concurrency,
            functions=FUNCTIONS,
        )
        agent = TestAgent(instance)  # type: ignore[abstract]  # the dispatcher does not ask for Describe
        if listening:
            agent.server, instance.address = await _serving(agent, agent_pb2_grpc, "AgentService", self.authority.source(identity))
            self.stack.push_async_callback(agent.server.stop, None)
        else:
            instance.address = f"127.0.0.1:{free_port()}"
        self.manager.say(instance)
        return agent

    async def knows(self, *agents: TestAgent) -> None:
        """Waits until the dispatcher gives calls to each of these instances."""
        stub, met = self.stub(), set[str]()

        async def all_met() -> bool:
            met.add((await stub.Call(call())).instance_id)
            return met >= {agent.id for agent in agents}

        await eventually(all_met)
        for agent in agents:
            agent.requests.clear()
            agent.metadata.clear()

    async def answers(self, stub: Any, request: dispatcher_pb2.CallRequest, reason: Any) -> ParadeError:
        """Waits until a call fails for that reason."""
        found: list[ParadeError] = []

        async def fails() -> bool:
            try:
                await stub.Call(request)
            except ParadeError as error:
                found.append(error)
                return error.reason is reason
            return False

        await eventually(fails)
        return found[-1]


def call(name: str = "analyst.describe", arguments: Any = None, **fields: Any) -> dispatcher_pb2.CallRequest:
    return dispatcher_pb2.CallRequest(function=name, arguments=json({} if arguments is None else arguments), **fields)


def seconds(number: float) -> Duration:
    return Duration(seconds=int(number), nanos=int(number % 1 * 1e9))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _serving(servicer: object, module: Any, name: str, source: CertificateSource, address: str = "127.0.0.1:0") -> tuple[Any, str]:
    server = grpc.aio.server(options=(("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)))
    getattr(module, f"add_{name}Servicer_to_server")(servicer, server)
    port = server.add_secure_port(address, server_credentials(source))
    await server.start()
    return server, f"127.0.0.1:{port}"


async def restart_manager(mesh: Mesh) -> None:
    """Lets the agent_manager listen again where it did."""
    source = mesh.authority.source(Identity.service("agent_manager"))
    mesh.manager.watches.clear()
    mesh.manager_server, _ = await _serving(mesh.manager, agent_manager_pb2_grpc, "AgentManagerService", source, mesh.manager_address)
    mesh.stack.push_async_callback(mesh.manager_server.stop, None)


@asynccontextmanager
async def running_mesh(folder: Path, *, syncs: bool = True) -> AsyncIterator[Mesh]:
    """Runs a dispatcher that knows the agent "analyst", which has no instance yet."""
    authority = Authority(folder)
    manager = AgentManager()  # type: ignore[abstract]  # the dispatcher asks for WatchAgents alone
    manager.syncs = syncs
    manager.say(
        agent_manager_pb2.Agent(name="analyst", namespace="default", state=agent_manager_pb2.AGENT_STATE_ACTIVE, functions=FUNCTIONS)
    )
    source = authority.source(Identity.service("agent_manager"))
    server, manager_address = await _serving(manager, agent_manager_pb2_grpc, "AgentManagerService", source)
    address = f"127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, None)
        process = await stack.enter_async_context(
            process_of(
                "dispatcher",
                Config,
                authority,
                agent_manager=manager_address,
                listen=address,
                database_url=f"sqlite:///{folder}/dispatcher.db",
            )
        )
        task = asyncio.create_task(serve(process))
        try:
            await eventually(lambda: _listens(address))
            async with AsyncExitStack() as inner:
                yield Mesh(authority, manager, server, manager_address, address, inner)
        finally:
            process.stop()
            await task


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
