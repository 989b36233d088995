"""A dispatcher as its process runs it, with real agents and a real feed around it; all over mutual TLS on loopback.

One file, though a long one: its parts are of no use without each other.
"""

import asyncio
import itertools
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.protobuf.duration_pb2 import Duration
from grpc_status import rpc_status

from parade.v1 import (
    agent_manager_pb2,
    agent_manager_pb2_grpc,
    agent_pb2,
    agent_pb2_grpc,
    call_pb2,
    dispatcher_pb2,
    dispatcher_pb2_grpc,
    session_pb2,
)
from parade.v1.access_pb2 import ROLE_ADMIN
from parade.v1.access_watch_pb2 import ClientRole, WatchAccessResponse
from parade.v1.function_pb2 import EFFECT_EFFECT, EFFECT_PURE, Function
from parade.v1.value_pb2 import Value
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_NAMESPACE, Identity
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.session.opener import LostError, Sent
from parade.wire.status import from_record, to_record, to_status
from parade_chassis.lifecycle import Process
from parade_dispatcher.__main__ import serve
from parade_dispatcher.config import Config
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.servers import free_port, listens, serving
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
    function("forever", timeout=120),
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
        raise error

    return answer


class TestAgent(agent_pb2_grpc.AgentServiceServicer):
    """An instance whose behaviour the test sets. It serves no sessions."""

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
        with self._entered(request, dict(context.invocation_metadata())):
            try:
                return await self.unary(request, context)
            except ParadeError as error:
                await context.abort_with_status(rpc_status.to_status(to_status(error)))

    async def InvokeStream(self, request: Any, context: Any) -> Any:
        with self._entered(request, dict(context.invocation_metadata())):
            assert self.stream is not None
            async for event in self.stream(request):
                yield event

    async def lose(self) -> None:
        """Breaks every connection, as the death of the process does."""
        assert self.server is not None
        await self.server.stop(None)

    def _entered(self, request: Any, metadata: dict[str, Any]) -> "_Entered":
        self.requests.append(request)
        self.metadata.append(metadata)
        return _Entered(self)


class SessionAgent(TestAgent):
    """An instance that is called by session. Its behaviour is asked as that of the others is."""

    def __init__(self, instance: agent_manager_pb2.Instance) -> None:
        super().__init__(instance)
        self.calls: list[session_pb2.SessionCall] = []
        self.sessions = 0
        self.claimed_us = 0
        """How long it says that it took."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._acceptor = Acceptor(self)

    async def Session(self, request_iterator: Any, context: Any) -> Any:
        self.sessions += 1
        async with aclosing(self._acceptor.serve(request_iterator, "dispatcher", lambda: None)) as frames:
            async for frame in frames:
                yield session_pb2.SessionFrame.FromString(frame)

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        task = asyncio.create_task(self._run(call, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel(gone: bool) -> None:  # noqa: FBT001 - as the session calls it
            task.cancel()

        exchange.cancelled = cancel

    async def _run(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        request = agent_pb2.InvokeRequest(
            call_id=call.options.call_id,
            function=call.function.removeprefix(f"{self.instance.agent}."),
            arguments=call.arguments,
            origin=call.origin,
        )
        result = session_pb2.SessionResult(queued_us=self.claimed_us, executing_us=self.claimed_us)
        try:
            async with asyncio.timeout(call.timeout or None):
                with self._entered(request, {"traceparent": call.traceparent}):
                    if call.window and self.stream is not None:
                        await self._tell(self.stream(request), exchange, result)  # type: ignore[arg-type]
                    else:
                        result.result.CopyFrom((await self.unary(request, None)).result)  # type: ignore[arg-type]
        except ParadeError as error:
            result.error.CopyFrom(to_record(error))
        except TimeoutError:
            return  # the dispatcher answers by itself where an instance says nothing
        except asyncio.CancelledError:
            result.error.CopyFrom(to_record(ParadeError(Reason.CANCELLED, "cancelled", metadata={"cancellation": "STOPPED"})))
        exchange.answer(result)

    async def _tell(
        self, events: AsyncIterator[agent_pb2.InvokeStreamResponse], exchange: Exchange, result: session_pb2.SessionResult
    ) -> None:
        room = asyncio.Event()
        exchange.credited = room.set
        async for event in events:
            match event.WhichOneof("event"):
                case "progress":
                    exchange.tell(session_pb2.SessionEvent(progress=event.progress))
                case "item":
                    exchange.tell(session_pb2.SessionEvent(item=event.item))
                case "result":
                    result.result.CopyFrom(event.result)
                case _:
                    exchange.tell(session_pb2.SessionEvent())
            await asyncio.sleep(0)
            while exchange.window <= 0:
                room.clear()
                await room.wait()


Kind = Callable[[agent_manager_pb2.Instance], TestAgent]


class _Entered:
    def __init__(self, agent: TestAgent) -> None:
        self.agent = agent

    def __enter__(self) -> None:
        self.agent.running += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.agent.running -= 1
        self.agent.cancelled += kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit)


class AgentManager(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    """Says what the test puts into it, by `WatchAgents`; and by `WatchAccess` that the client may do everything."""

    def __init__(self) -> None:
        self.agents: dict[str, agent_manager_pb2.Agent] = {}
        self.instances: dict[str, agent_manager_pb2.Instance] = {}
        self.watches: list[asyncio.Queue[agent_manager_pb2.WatchAgentsResponse]] = []
        self.access: list[WatchAccessResponse] = [
            WatchAccessResponse(client_role=ClientRole(subject=CLIENT.uri, namespace="*", role=ROLE_ADMIN))
        ]
        """What `WatchAccess` says at first."""
        self.access_watches: list[asyncio.Queue[WatchAccessResponse]] = []
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

    async def WatchAccess(self, request: Any, context: Any) -> Any:
        for event in self.access:
            yield event
        queue: asyncio.Queue[WatchAccessResponse] = asyncio.Queue()
        self.access_watches.append(queue)
        yield WatchAccessResponse(synced=WatchAccessResponse.Synced())
        while True:
            yield await queue.get()

    def say_access(self, event: WatchAccessResponse) -> None:
        self.access.append(event)
        for queue in self.access_watches:
            queue.put_nowait(event)

    def say(self, change: agent_manager_pb2.Agent | agent_manager_pb2.Instance) -> None:
        if isinstance(change, agent_manager_pb2.Agent):
            self.agents[f"{change.namespace}/{change.name}"] = change
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
    stack: AsyncExitStack
    kind: Kind = TestAgent
    """What instances are."""
    dispatchers: list["Dispatcher"] = field(default_factory=list)
    numbers: Iterable[int] = field(default_factory=itertools.count)

    @property
    def address(self) -> str:
        return self.dispatchers[0].address

    def channel(self, caller: Identity = CLIENT, at: int = 0) -> Channel:
        channel = self.authority.channel(self.dispatchers[at].address, caller, "dispatcher")
        self.stack.push_async_callback(channel.close)
        return channel

    def stub(self, caller: Identity = CLIENT, at: int = 0) -> Any:
        return dispatcher_pb2_grpc.DispatcherServiceStub(self.channel(caller, at).for_stubs())

    def session(self, caller: Identity = CLIENT, at: int = 0) -> "Session":
        """Returns a caller by session."""
        link = Link([self.channel(caller, at)], DISPATCHER_SESSION)
        self.stack.push_async_callback(link.close)
        return Session(link)

    async def agent(
        self,
        *,
        max_concurrency: int = 8,
        state: str = "READY",
        listening: bool = True,
        kind: Kind | None = None,
        port: Callable[[int], int] = int,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> Any:
        """Starts an instance of the agent "analyst" and lets the dispatcher know. `port` may put something before its port."""
        identity = Identity.agent("analyst", f"i{next(iter(self.numbers))}", namespace)
        instance = agent_manager_pb2.Instance(
            id=identity.instance,
            namespace=identity.namespace,
            agent=identity.name,
            server_name=identity.server_name,
            state=agent_manager_pb2.InstanceState.Value(f"INSTANCE_STATE_{state}"),
            max_concurrency=max_concurrency,
            labels={"instance": identity.instance},
            functions=FUNCTIONS,
        )
        agent = (kind or self.kind)(instance)
        if namespace != DEFAULT_NAMESPACE:
            self.manager.say(_analyst(namespace))
        if listening:
            agent.server, instance.address = await serving(agent, agent_pb2_grpc, "AgentService", self.authority.source(identity))
            self.stack.push_async_callback(agent.server.stop, None)
            instance.address = f"127.0.0.1:{port(int(instance.address.rpartition(':')[2]))}"
        else:
            instance.address = f"127.0.0.1:{free_port()}"
        self.manager.say(instance)
        return agent

    async def knows(self, *agents: TestAgent, at: int = 0) -> None:
        """Waits until the dispatcher gives calls to each of these instances."""
        stub = self.stub(at=at)
        for agent in agents:
            options = call_pb2.CallOptions(labels={"instance": agent.id})

            async def met(options: call_pb2.CallOptions = options) -> bool:
                try:
                    await stub.Call(call(options=options))
                except ParadeError:
                    return False
                return True

            await eventually(met)
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


async def restart_manager(mesh: Mesh) -> None:
    """Lets the agent_manager listen again where it did."""
    source = mesh.authority.source(Identity.service("agent_manager"))
    mesh.manager.watches.clear()
    mesh.manager_server, _ = await serving(mesh.manager, agent_manager_pb2_grpc, "AgentManagerService", source, mesh.manager_address)
    mesh.stack.push_async_callback(mesh.manager_server.stop, None)


@dataclass
class Dispatcher:
    """A dispatcher, inside the test or in a process of its own."""

    address: str
    process: Process[Config] | None = None
    ended: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Asks one inside the test to end, as SIGTERM does, and waits until it has."""
        assert self.process is not None
        assert self.ended is not None
        self.process.stop()
        await asyncio.wait_for(asyncio.shield(self.ended), 15)


@asynccontextmanager
async def running_dispatcher(mesh: Mesh, **settings: Any) -> AsyncIterator[Dispatcher]:
    """Runs one more dispatcher; with the others it shares the database."""
    address = f"127.0.0.1:{free_port()}"
    database = f"sqlite:///{mesh.authority.folder}/dispatcher.db"
    async with process_of(
        "dispatcher", Config, mesh.authority, agent_manager=mesh.manager_address, listen=address, database_url=database, **settings
    ) as process:
        ended = asyncio.create_task(serve(process))
        dispatcher = Dispatcher(address, process, ended)
        try:
            await eventually(lambda: listens(address) or ended.done())
            mesh.dispatchers.append(dispatcher)
            yield dispatcher
        finally:
            process.stop()
            await ended


@asynccontextmanager
async def dispatcher_process(mesh: Mesh, **settings: Any) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Runs one more dispatcher as a process of its own, which the test may end."""
    files = mesh.authority.files(Identity.service("dispatcher"))
    address = f"127.0.0.1:{free_port()}"
    told = {
        "agent_manager": mesh.manager_address,
        "listen": address,
        "database_url": f"sqlite:///{mesh.authority.folder}/dispatcher.db",
        "trust_bundle": files.trust_bundle,
        "certificate": files.certificate,
        "private_key": files.private_key,
        **settings,
    }
    environment = {**os.environ, **{f"PARADE_DISPATCHER_{name.upper()}": str(value) for name, value in told.items()}}
    process = subprocess.Popen([sys.executable, "-m", "parade_dispatcher"], env=environment)
    try:
        await eventually(lambda: listens(address) or process.poll() is not None, within=20)
        mesh.dispatchers.append(Dispatcher(address))
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def running_mesh(
    folder: Path, *, syncs: bool = True, kind: Kind = TestAgent, dispatchers: int = 1, **settings: Any
) -> AsyncIterator[Mesh]:
    """Runs dispatchers that know the agent "analyst", which has no instance yet."""
    authority = Authority(folder)
    manager = AgentManager()  # type: ignore[abstract]  # the dispatcher asks for WatchAgents alone
    manager.syncs = syncs
    manager.say(_analyst(DEFAULT_NAMESPACE))
    source = authority.source(Identity.service("agent_manager"))
    server, manager_address = await serving(manager, agent_manager_pb2_grpc, "AgentManagerService", source)
    async with AsyncExitStack() as outer:
        outer.push_async_callback(server.stop, None)
        inner = AsyncExitStack()
        mesh = Mesh(authority, manager, server, manager_address, inner, kind)
        for _ in range(dispatchers):
            await outer.enter_async_context(running_dispatcher(mesh, **settings))
        async with inner:
            yield mesh


def _analyst(namespace: str) -> agent_manager_pb2.Agent:
    active = agent_manager_pb2.AGENT_STATE_ACTIVE
    return agent_manager_pb2.Agent(name="analyst", namespace=namespace, state=active, functions=FUNCTIONS)


class Heard:
    """What one call by session has said."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[session_pb2.SessionResult] = asyncio.get_running_loop().create_future()
        self.events: list[session_pb2.SessionEvent] = []
        self.sent: Sent | None = None

    def answered(self, result: session_pb2.SessionResult) -> None:
        self.outcome.set_result(result)

    def told(self, event: session_pb2.SessionEvent) -> None:
        self.events.append(event)

    def lost(self, error: LostError) -> None:
        self.outcome.set_exception(error)

    def cancel(self) -> None:
        assert self.sent is not None
        self.sent.cancel()

    def grant(self, size: int) -> None:
        assert self.sent is not None
        self.sent.grant(size)

    async def result(self) -> session_pb2.SessionResult:
        """Waits for the result.

        Raises:
            ParadeError: The call has failed.
        """
        result = await self.outcome
        if result.HasField("error"):
            raise from_record(result.error)
        return result

    @property
    def items(self) -> list[bytes]:
        return [event.item.data for event in self.events if event.HasField("item")]


class Session:
    """Calls by session."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def begin(self, name: str = "analyst.describe", arguments: Any = None, *, deadline: float = math.inf, **fields: Any) -> Heard:
        """Makes a call; `deadline` in seconds from now."""
        heard = Heard()
        call = session_pb2.SessionCall(function=name, arguments=json({} if arguments is None else arguments), **fields)
        heard.sent = self.link.send(call, heard, asyncio.get_running_loop().time() + deadline)
        return heard

    async def call(self, name: str = "analyst.describe", arguments: Any = None, **fields: Any) -> session_pb2.SessionResult:
        """Makes a call and waits for its result."""
        return await self.begin(name, arguments, **fields).result()
