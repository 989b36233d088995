"""A scheduler as its process runs it, between a dispatcher and an agent_manager that a test speaks for; all over mutual TLS on loopback."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import orjson
from google.protobuf.duration_pb2 import Duration
from grpc_status import rpc_status

from parade.v1 import (
    agent_manager_pb2,
    agent_manager_pb2_grpc,
    dispatcher_pb2_grpc,
    progress_pb2,
    scheduler_pb2,
    scheduler_pb2_grpc,
    session_pb2,
)
from parade.v1.access_pb2 import ROLE_ADMIN
from parade.v1.access_watch_pb2 import ClientRole, WatchAccessResponse
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.status import to_record, to_status
from parade_chassis.clock import Clock
from parade_scheduler.__main__ import serve
from parade_scheduler.config import Config
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.servers import free_port, listens, serving
from tests.support.waiting import eventually

CLIENT = Identity.client("dev")


def json(value: Any) -> Value:
    return Value(data=orjson.dumps(value))


class Call:
    """A call that the scheduler has made. The test says what comes of it."""

    def __init__(self, request: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.request = request
        self.cancelled = False
        self.left = False
        """Whether it was cancelled since the scheduler went away, and not since the scheduler said so."""
        self.ended = False
        self._exchange = exchange
        exchange.cancelled = self._cancel

    @property
    def run_id(self) -> str:
        return self.request.origin.run_id

    @property
    def step(self) -> str:
        return self.request.origin.step

    @property
    def call_id(self) -> str:
        return self.request.options.call_id

    @property
    def redelivered(self) -> bool:
        """Whether the scheduler says that it may have made this call before."""
        return self.request.step_redelivered

    @property
    def arguments(self) -> Any:
        return orjson.loads(self.request.arguments.data)

    def say(self, **event: Any) -> None:
        """Sends something: `instance_id`, `progress` or `item`."""
        self._exchange.tell(session_pb2.SessionEvent(**event))

    def succeed(self, value: Any, instance: str = "i-1") -> None:
        """Ends the call with a result."""
        if not self.ended:
            self.say(instance_id=instance)
            self._end(result=json(value))

    def finish(self) -> None:
        """Ends the call without another word."""
        self._end()

    def fail(self, error: ParadeError) -> None:
        """Ends the call with an error."""
        self._end(error=to_record(error))

    def _end(self, **outcome: Any) -> None:
        self.ended = True
        self._exchange.answer(session_pb2.SessionResult(**outcome))

    def _cancel(self, gone: bool) -> None:  # noqa: FBT001  # as the session calls it
        self.cancelled, self.left = True, gone
        self.fail(ParadeError(Reason.CANCELLED, "the call was cancelled"))


class Dispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Takes calls and lets the test answer them, or answers by itself where it was told how."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.auto: Callable[[Call], None] | None = None
        self._acceptor = Acceptor(self)

    def begin(self, request: session_pb2.SessionCall, exchange: Exchange) -> None:
        call = Call(request, exchange)
        self.calls.append(call)
        if self.auto is not None:
            self.auto(call)

    async def Session(self, frames: AsyncIterator[session_pb2.SessionFrame], context: Any) -> Any:
        try:
            async for frame in self._acceptor.serve(frames, "scheduler", lambda: None):
                yield session_pb2.SessionFrame.FromString(frame)
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))

    async def call(self, step: str, number: int = 0) -> Call:
        """Waits for a call that is made for a step; `number` counts those from 0."""

        def made() -> list[Call]:
            return [call for call in self.calls if call.step == step]

        await eventually(lambda: len(made()) > number)
        return made()[number]


class AgentManager(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    """Knows the functions that a test names, and says by `WatchAccess` that the client may do everything."""

    def __init__(self) -> None:
        self.functions = ["x.a", "x.b", "x.c"]

    async def WatchAccess(self, request: Any, context: Any) -> Any:
        yield WatchAccessResponse(client_role=ClientRole(subject=CLIENT.uri, namespace="*", role=ROLE_ADMIN))
        yield WatchAccessResponse(synced=WatchAccessResponse.Synced())
        await asyncio.Event().wait()

    async def ListFunctions(self, request: agent_manager_pb2.ListFunctionsRequest, context: Any) -> agent_manager_pb2.ListFunctionsResponse:
        names = sorted(name for name in self.functions if name.startswith(f"{request.agent}."))
        # One a page, so that pages are followed.
        place = names.index(request.page_token) + 1 if request.page_token else 0
        entries = [agent_manager_pb2.ListFunctionsResponse.Entry(full_name=name) for name in names[place : place + 1]]
        more = names[place] if place + 1 < len(names) else ""
        return agent_manager_pb2.ListFunctionsResponse(functions=entries, next_page_token=more)


class World:
    """A scheduler that can be stopped, killed and started again, and its neighbours."""

    def __init__(self, folder: Path, authority: Authority, dispatcher: Dispatcher, manager: AgentManager, settings: dict[str, Any]) -> None:
        self.authority = authority
        self.dispatcher = dispatcher
        self.manager = manager
        self.settings = {"database_url": f"sqlite:///{folder / 'scheduler.db'}", **settings}
        self.address = f"127.0.0.1:{free_port()}"
        self.stack = AsyncExitStack()
        self._log = folder / f"scheduler-{self.address.rpartition(':')[2]}.log"
        self._stop: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, clock: Clock | None = None) -> None:
        """Starts the scheduler, by a clock of the test's own where one is given, and waits until it serves."""
        started = asyncio.Event()

        async def live() -> None:
            async with process_of("scheduler", Config, self.authority, listen=self.address, **self.settings) as process:
                self._stop = process.stop
                process.clock = clock or process.clock
                started.set()
                await serve(process)

        self._task = asyncio.create_task(live())
        await started.wait()
        await eventually(lambda: listens(self.address))

    async def stop(self) -> None:
        """Stops the scheduler as SIGTERM does."""
        assert self._task is not None
        self._stop()
        async with asyncio.timeout(10):
            await self._task

    async def start_process(self, **environment: str) -> None:
        """Starts the scheduler as a process of its own, to be killed, and waits until it serves, or has ended before.

        Args:
            environment: What it finds in its environment beside its settings.
        """
        files = self.authority.files(Identity.service("scheduler"))
        settings = {
            "LISTEN": self.address,
            "TRUST_BUNDLE": files.trust_bundle,
            "CERTIFICATE": files.certificate,
            "PRIVATE_KEY": files.private_key,
            **{key.upper(): value for key, value in self.settings.items()},
        }
        told = {f"PARADE_SCHEDULER_{key}": str(value) for key, value in settings.items()}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "parade_scheduler", env={**os.environ, **told, **environment}, stderr=log
            )
        process = self._process
        await eventually(lambda: process.returncode is not None or listens(self.address), within=60)
        if process.returncode is None:
            await eventually(self._knows_its_clients, within=60)

    async def _knows_its_clients(self) -> bool:
        """Tells whether the process has heard who may do what, or has ended."""
        assert self._process is not None
        if self._process.returncode is not None:
            return True
        async with self.authority.channel(self.address, CLIENT, "scheduler") as channel:
            try:
                await scheduler_pb2_grpc.SchedulerServiceStub(channel.for_stubs()).ListWorkflows(scheduler_pb2.ListWorkflowsRequest())
            except (ParadeError, grpc.aio.AioRpcError):
                return False
        return True

    async def died(self) -> None:
        """Waits until the scheduler's process has ended."""
        assert self._process is not None
        await self._process.wait()

    @property
    def pid(self) -> int:
        """The scheduler's process."""
        assert self._process is not None
        return self._process.pid

    def words(self) -> str:
        """Returns what the process has logged."""
        return self._log.read_text() if self._log.exists() else ""

    def replica(self) -> "World":
        """Returns another scheduler over the same database, which does not run yet."""
        return World(self._log.parent, self.authority, self.dispatcher, self.manager, self.settings)

    async def kill(self) -> None:
        """Kills the scheduler's process as `kill -9` does."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._process = None

    async def terminate(self) -> int:
        """Asks the scheduler's process to end and returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(10):
            status = await self._process.wait()
        self._process = None
        return status

    async def close(self) -> None:
        """Stops whatever still runs."""
        await self.stack.aclose()
        if self._process is not None:
            await self.kill()
        if self._task is not None and not self._task.done():
            await self.stop()

    def stub(self, caller: Identity = CLIENT) -> Any:
        channel = self.authority.channel(self.address, caller, "scheduler")
        self.stack.push_async_callback(channel.close)
        return scheduler_pb2_grpc.SchedulerServiceStub(channel.for_stubs())


@asynccontextmanager
async def running_world(folder: Path, **settings: Any) -> AsyncIterator[World]:
    """Runs a scheduler and its neighbours for the block."""
    authority, dispatcher, manager = Authority(folder), Dispatcher(), AgentManager()  # type: ignore[abstract]  # no more is asked
    async with AsyncExitStack() as stack:
        addresses = {}
        for name, servicer, module, service in (
            ("dispatcher", dispatcher, dispatcher_pb2_grpc, "DispatcherService"),
            ("agent_manager", manager, agent_manager_pb2_grpc, "AgentManagerService"),
        ):
            server, addresses[name] = await serving(servicer, module, service, authority.source(Identity.service(name)))
            stack.push_async_callback(server.stop, None)
        world = World(folder, authority, dispatcher, manager, {**addresses, **settings})
        await world.start()
        try:
            yield world
        finally:
            await world.close()


def seconds(number: float) -> Duration:
    return Duration(seconds=int(number), nanos=int(number % 1 * 1e9))


def progress(fraction: float, message: str) -> progress_pb2.Progress:
    return progress_pb2.Progress(fraction=fraction, message=message)


async def put(stub: Any, steps: Any, **words: Any) -> scheduler_pb2.Workflow:
    """Stores a workflow "flow"."""
    source = orjson.dumps({"name": "flow", "steps": steps, **words}).decode()
    response = await stub.PutWorkflow(scheduler_pb2.PutWorkflowRequest(source=source))
    stored: scheduler_pb2.Workflow = response.workflow
    return stored


async def begin(stub: Any, inputs: Any = None, **fields: Any) -> scheduler_pb2.Run:
    """Starts a run of "flow"."""
    request = scheduler_pb2.StartRunRequest(workflow="flow", **fields)
    if inputs is not None:
        request.inputs.CopyFrom(json(inputs))
    run: scheduler_pb2.Run = (await stub.StartRun(request)).run
    return run


async def ended(stub: Any, run_id: str, within: float = 10) -> scheduler_pb2.Run:
    """Waits until a run has ended and returns it."""
    request = scheduler_pb2.WaitRunRequest(run_id=run_id, timeout=seconds(within))
    run: scheduler_pb2.Run = (await stub.WaitRun(request)).run
    assert run.HasField("end_time"), run
    return run


async def history(stub: Any, run_id: str, after: int = 0) -> list[scheduler_pb2.RunEvent]:
    """Returns the whole history of a run, which must end."""
    async with asyncio.timeout(10):
        stream = stub.WatchRun(scheduler_pb2.WatchRunRequest(run_id=run_id, after_sequence=after))
        return [response.event async for response in stream]
