"""The mesh for programs without an event loop: what `parade.client` and `parade.run` offer, blocking.

```python
with parade.sync.connect() as mesh:
    greeting = mesh.call("greeter.greet", name="Ada")
    for event in mesh.start("greetings").events():
        print(event.type)
```

An event loop of its own, in a thread of its own, does the work. Any number of threads may use one connection.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from parade import artifact as asynchronous_artifact
from parade import client
from parade import run as asynchronous_run
from parade import started_call as asynchronous_call
from parade.wire.mesh_file import MeshFile

CANCEL_TIMEOUT = 5.0
"""Seconds that what was interrupted has to come to its end."""

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="parade-sync", daemon=True)
        self.ended = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CANCEL_TIMEOUT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def complete(self, coroutine: Coroutine[Any, Any, T], context: contextvars.Context | None = None) -> T:
        """Runs a coroutine and returns its result. Ctrl-C cancels it.

        Args:
            coroutine: The coroutine.
            context: The context that it runs in; a copy of the caller's where not given, so that traces go on.

        Raises:
            RuntimeError: The loop has ended.
        """
        left = threading.Event()

        async def within() -> T:
            try:
                return await self._loop.create_task(coroutine, context=context)
            finally:
                left.set()

        if self.ended:
            coroutine.close()
            raise RuntimeError("the connection to the mesh is closed: its block has ended")
        future = asyncio.run_coroutine_threadsafe(within(), self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                left.wait(CANCEL_TIMEOUT)
            raise

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


class _Blocking(Generic[S]):
    """The blocking twin of an object."""

    def __init__(self, inner: S, loop: _Loop) -> None:
        """Takes the object and the loop that it lives in; see `connect`."""
        self._inner = inner
        self._loop = loop

    def __repr__(self) -> str:
        """Returns the text of the object that this is the twin of."""
        return repr(self._inner)


@overload
def _blocking(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Any, P], T]: ...


@overload
def _blocking(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Callable[Concatenate[Any, P], Iterator[T]]: ...


def _blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the blocking twin of a method: it waits for what that awaits, iterates over what that yields, and gives out twins."""

    @functools.wraps(method)
    def twin(self: _Blocking[Any], /, *args: Any, **named: Any) -> Any:
        made = method(self._inner, *args, **named)
        if isinstance(made, AsyncIterator):
            return _items(made, self._loop)
        result = self._loop.complete(made) if asyncio.iscoroutine(made) else made
        twin_kind = _twins().get(type(result))
        return twin_kind(result, self._loop) if twin_kind is not None else result

    return twin


def _giving_run(method: Callable[Concatenate[Any, P], Any]) -> "Callable[Concatenate[Any, P], Run]":
    """Returns the blocking twin of a method that gives out a run."""
    return _blocking(method)


def _giving_call(method: Callable[Concatenate[Any, P], Any]) -> "Callable[Concatenate[Any, P], StartedCall]":
    """Returns the blocking twin of a method that gives out a call that was started."""
    return _blocking(method)


def _giving_artifact(method: Callable[Concatenate[Any, P], Any]) -> "Callable[Concatenate[Any, P], Artifact]":
    """Returns the blocking twin of a method that gives out an artifact."""
    return _blocking(method)


def _items(iterator: AsyncIterator[T], loop: _Loop) -> Iterator[T]:
    # One context for all steps: a span that the first one enters is left by the last.
    context = contextvars.copy_context()
    try:
        while True:
            try:
                yield loop.complete(cast("Coroutine[Any, Any, T]", anext(iterator)), context)
            except StopAsyncIteration:
                return
    finally:
        if not loop.ended:
            loop.complete(cast("Any", iterator).aclose(), context)


class Run(_Blocking[asynchronous_run.Run]):
    """A run of a workflow; see `parade.Run`, whose methods these are."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self._inner.id

    get = _blocking(asynchronous_run.Run.get)
    wait = _blocking(asynchronous_run.Run.wait)
    result = _blocking(asynchronous_run.Run.result)
    events = _blocking(asynchronous_run.Run.events)
    cancel = _blocking(asynchronous_run.Run.cancel)
    pause = _blocking(asynchronous_run.Run.pause)
    resume = _blocking(asynchronous_run.Run.resume)
    signal = _blocking(asynchronous_run.Run.signal)
    approve = _blocking(asynchronous_run.Run.approve)
    reject = _blocking(asynchronous_run.Run.reject)
    rerun = _giving_run(asynchronous_run.Run.rerun)
    fork = _giving_run(asynchronous_run.Run.fork)


class StartedCall(_Blocking[asynchronous_call.StartedCall]):
    """A call that was started; see `parade.StartedCall`, whose methods these are."""

    @property
    def id(self) -> str:
        """The call's id."""
        return self._inner.id

    status = _blocking(asynchronous_call.StartedCall.status)
    wait = _blocking(asynchronous_call.StartedCall.wait)
    result = _blocking(asynchronous_call.StartedCall.result)
    cancel = _blocking(asynchronous_call.StartedCall.cancel)
    items = _blocking(asynchronous_call.StartedCall.items)
    progress = _blocking(asynchronous_call.StartedCall.progress)


class Artifact(_Blocking[asynchronous_artifact.Artifact], asynchronous_artifact.Named):
    """An artifact; see `parade.Artifact`, whose methods these are."""

    @property
    def digest(self) -> str:
        """Its digest."""
        return self._inner.digest

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._inner.size

    @property
    def media_type(self) -> str:
        """What the bytes are."""
        return self._inner.media_type

    def to_json(self) -> dict[str, Any]:
        """Returns its JSON form."""
        return self._inner.to_json()

    chunks = _blocking(asynchronous_artifact.Artifact.chunks)
    save = _blocking(asynchronous_artifact.Artifact.save)
    read = _blocking(asynchronous_artifact.Artifact.read)


class Mesh(_Blocking[client.Mesh]):
    """A connection to a mesh; see `parade.Mesh`, whose methods these are."""

    @property
    def file(self) -> MeshFile:
        """The mesh file."""
        return self._inner.file

    call = _blocking(client.Mesh.call)
    outcome = _blocking(client.Mesh.outcome)
    stream = _blocking(client.Mesh.stream)
    events = _blocking(client.Mesh.events)
    start_call = _giving_call(client.Mesh.start_call)
    started_call = _giving_call(client.Mesh.started_call)
    calls = _blocking(client.Mesh.calls)
    put_artifact = _giving_artifact(client.Mesh.put_artifact)
    artifact = _giving_artifact(client.Mesh.artifact)
    put_workflow = _blocking(client.Mesh.put_workflow)
    check_workflow = _blocking(client.Mesh.check_workflow)
    start = _giving_run(client.Mesh.start)
    execute = _blocking(client.Mesh.execute)
    run = _giving_run(client.Mesh.run)
    runs = _blocking(client.Mesh.runs)
    cancel_runs = _blocking(client.Mesh.cancel_runs)
    rerun_runs = _blocking(client.Mesh.rerun_runs)
    approvals = _blocking(client.Mesh.approvals)
    call_approvals = _blocking(client.Mesh.call_approvals)
    call_approval = _blocking(client.Mesh.call_approval)
    approve_call = _blocking(client.Mesh.approve_call)
    reject_call = _blocking(client.Mesh.reject_call)
    workflow = _blocking(client.Mesh.workflow)
    workflows = _blocking(client.Mesh.workflows)
    put_schedule = _blocking(client.Mesh.put_schedule)
    schedule = _blocking(client.Mesh.schedule)
    schedules = _blocking(client.Mesh.schedules)
    pause_schedule = _blocking(client.Mesh.pause_schedule)
    resume_schedule = _blocking(client.Mesh.resume_schedule)
    delete_schedule = _blocking(client.Mesh.delete_schedule)
    publish_event = _blocking(client.Mesh.publish_event)
    agent = _blocking(client.Mesh.agent)
    agents = _blocking(client.Mesh.agents)
    functions = _blocking(client.Mesh.functions)
    pause_agent = _blocking(client.Mesh.pause_agent)
    resume_agent = _blocking(client.Mesh.resume_agent)
    drain_instance = _blocking(client.Mesh.drain_instance)
    create_key = _blocking(client.Mesh.create_key)
    keys = _blocking(client.Mesh.keys)
    revoke_key = _blocking(client.Mesh.revoke_key)
    grant_role = _blocking(client.Mesh.grant_role)
    put_policy = _blocking(client.Mesh.put_policy)
    policy = _blocking(client.Mesh.policy)
    policies = _blocking(client.Mesh.policies)
    delete_policy = _blocking(client.Mesh.delete_policy)
    test_policy = _blocking(client.Mesh.test_policy)
    explain_policy = _blocking(client.Mesh.explain_policy)
    revoke_role = _blocking(client.Mesh.revoke_role)
    roles = _blocking(client.Mesh.roles)
    who_am_i = _blocking(client.Mesh.who_am_i)
    certificates = _blocking(client.Mesh.certificates)
    revoke = _blocking(client.Mesh.revoke)
    logs = _blocking(client.Mesh.logs)
    tail_logs = _blocking(client.Mesh.tail_logs)
    trace = _blocking(client.Mesh.trace)


def _twins() -> dict[type, Any]:
    """Returns the blocking twin of each kind of object that has one, but for the connection itself."""
    return {asynchronous_run.Run: Run, asynchronous_call.StartedCall: StartedCall, asynchronous_artifact.Artifact: Artifact}


@contextmanager
def connect(mesh: MeshFile | Path | None = None, *, traced: bool = True) -> Iterator[Mesh]:
    """Connects to a mesh for the time of a block. Arguments and errors are those of `parade.connect`."""
    with _Loop() as loop:
        connection = client.connect(mesh, traced=traced)
        connected = loop.complete(connection.__aenter__())
        try:
            yield Mesh(connected, loop)
        finally:
            loop.complete(connection.__aexit__(None, None, None))
