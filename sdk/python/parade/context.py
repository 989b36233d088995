"""What a function is told of the call it serves, and what it can do while it runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from parade import values
from parade.artifact import BYTES, Artifact, Content
from parade.call_options import CallOptions, checked
from parade.cancellation import Cancellation
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log

ResultT = TypeVar("ResultT")


class Calls(Protocol):
    """How other functions are called; `parade.calls.Caller` is one."""

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> Any:
        """Calls a function and returns its result."""
        ...

    def stream(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",
        mandate: bytes = b"",
    ) -> AsyncIterator[Any]:
        """Calls a function and yields its items."""
        ...


class Artifacts(Protocol):
    """Where large things lie; `parade.artifacts.Artifacts` is one."""

    async def put(self, content: Content, media_type: str) -> Artifact:
        """Stores bytes under their hash."""
        ...


class Reports(Protocol):
    """Where progress notes go; `parade.hosting.reports.Reports` is one."""

    def note(self, fraction: float, message: str) -> None:
        """Takes a note, in any thread, without waiting."""
        ...

    async def flush(self) -> None:
        """Waits until every note is on its way."""
        ...


class Context:
    """One call, seen from inside the function. Every function may ask for it with a parameter of this type, whatever the parameter's name.

    One rule for coroutines and threads: what tells the mesh something (`progress`, `log`) takes effect where it stands and never waits;
    what waits for the mesh (`call`, `stream`) is awaited in a coroutine, and in a thread handed to `wait`. So `context.progress(0.5)` is
    the same line in both; a coroutine may await it, to hold itself back until the note is on its way.

    In a test of a function alone, `Context()` is a call without a mesh: it has no deadline, and only `call` and `stream` fail.

    Attributes:
        call_id: The call's id, the same over all its attempts.
        function: The full name of the function, `agent.function`.
        namespace: The namespace of the caller.
        principal: For whom the call is made: a SPIFFE id, or the subject of an API key or a person. Calls that the function makes by
            `call` and `stream` are made for the same one, as far as that one may.
        run_id: The run that the call belongs to, empty outside runs.
        step: The step of that run.
        cancelled: Whether the call is cancelled: a truth value that can also be awaited, or waited for in a thread.
    """

    def __init__(
        self,
        *,
        call_id: str = "",
        function: str = "",
        namespace: str = "",
        principal: str = "",
        run_id: str = "",
        step: str = "",
        timeout: float | None = None,
        cancelled: Cancellation | None = None,
        make_log: Callable[[], Log] = Log,
        reports: Reports | None = None,
        calls: Calls | None = None,
        artifacts: Artifacts | None = None,
        secrets: Collection[str] = (),
        mandate: bytes = b"",
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Makes a context; agents make one for every call."""
        self.call_id = call_id
        self.function = function
        self.namespace = namespace
        self.principal = principal
        self.run_id = run_id
        self.step = step
        self.cancelled = Cancellation() if cancelled is None else cancelled
        self._make_log = make_log
        self._log: Log | None = None
        self._end = None if timeout is None else time.monotonic() + timeout
        self._reports = reports
        self._calls = calls
        self._artifacts = artifacts
        self._secrets = secrets
        """What its arguments hold that nobody may quote."""
        self._mandate = mandate
        """What says for whom other functions are called."""
        self._loop = loop
        self._nested: set[asyncio.Task[Any]] = set()

    @property
    def log(self) -> Log:
        """The log: to the console and, with the call's and the run's id, to the monitor."""
        if self._log is None:
            self._log = self._make_log()
        return self._log

    @property
    def deadline(self) -> datetime | None:
        """When the call must have ended, in UTC; None where it may take for ever."""
        remaining = self.remaining()
        return None if remaining is None else datetime.now(UTC) + timedelta(seconds=remaining)

    def remaining(self) -> float | None:
        """Returns the seconds that are left, never less than 0; None where the call may take for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def progress(self, fraction: float, message: str = "") -> Awaitable[None]:
        """Tells whoever watches the call how far it has come, at once and in any thread.

        Args:
            fraction: From 0 to 1; negative where it is not known.
            message: What is being done now.

        Returns:
            What a coroutine may await, until the note is on its way. While a reader is slow, old notes that nobody awaits give way to new.
        """
        if self._reports is not None:
            self._reports.note(fraction, message)
        return _Told(self._reports)

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> Any:
        """Calls another function of the mesh and returns its result; a part of this call, so it ends with it.

        Args:
            function: Its full name, `agent.function`.
            arguments: Its arguments by name; for names that are taken here, as `timeout`.
            timeout: Seconds to wait at most; no longer than is left of this call.
            options: How the call is to be made.
            named: More arguments.

        Raises:
            ParadeError: With the reason why there is no result.
        """
        given = {**(arguments or {}), **named}
        with self._part():
            return await self._mesh().call(
                function,
                given,
                self._limit(timeout),
                options=self._marked(options, given),
                parent_call_id=self.call_id,
                mandate=self._mandate,
            )

    async def stream(
        self,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        /,
        *,
        timeout: float | None = None,
        options: CallOptions | None = None,
        **named: Any,
    ) -> AsyncIterator[Any]:
        """Calls another function and yields its items as they come. Arguments and errors are those of `call`."""
        given = {**(arguments or {}), **named}
        with self._part():
            async for item in self._mesh().stream(
                function,
                given,
                self._limit(timeout),
                options=self._marked(options, given),
                parent_call_id=self.call_id,
                mandate=self._mandate,
            ):
                yield item

    def end_calls(self, function: "asyncio.Task[None] | None") -> None:
        """Ends the calls that are a part of this one; in the event loop, by whoever runs it.

        Args:
            function: The function's own task, which is ended otherwise.
        """
        for task in self._nested:
            if task is not function:
                task.cancel()

    @contextmanager
    def _part(self) -> Iterator[None]:
        """Lets what waits in the block, in whatever task, end with this call."""
        task = asyncio.current_task()
        if task is None or task in self._nested:
            yield
            return
        self._nested.add(task)
        try:
            yield
        finally:
            self._nested.discard(task)

    async def put_artifact(self, content: Content, *, media_type: str = BYTES) -> Artifact:
        """Stores up to 1 GiB of bytes under their hash, piece by piece, and returns what names them, as an argument or a result does.

        Args:
            content: Bytes, the path of a file, or an asynchronous iterator of bytes.
            media_type: What the bytes are.

        Raises:
            ParadeError: INVALID_ARGUMENTS (more than 1 GiB); NO_CAPACITY (the gateway's disk is full).
            OSError: The file cannot be read.
        """
        if self._artifacts is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "this call came over no mesh, so nothing can be put as an artifact")
        return await self._artifacts.put(content, media_type)

    def wait(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Waits, in a function that runs in a thread, for what a coroutine would await: `context.wait(context.call("a.b"))`.

        Raises:
            ParadeError: CANCELLED where this call is cancelled meanwhile; what was waited for is cancelled too.
            RuntimeError: It is used in a coroutine, which would wait for itself.
        """
        if self._loop is None or _in_event_loop():
            work.close()
            raise RuntimeError("wait() is for functions that run in a thread of an agent; in a coroutine use await")
        return asyncio.run_coroutine_threadsafe(self._unless_cancelled(work), self._loop).result()

    async def _unless_cancelled(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        working = asyncio.create_task(work)
        cancelled = asyncio.ensure_future(self.cancelled)
        try:
            await asyncio.wait([working, cancelled], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ParadeError(Reason.CANCELLED, "the call was cancelled while it waited for another")
        finally:
            working.cancel()
            cancelled.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _marked(self, options: CallOptions | None, arguments: Mapping[str, Any]) -> CallOptions | None:
        """Returns how to make a call that is a part of this one: which of this one's secrets it hands on is said there too."""
        if not self._secrets:
            return options
        data = values.dumps(arguments, "arguments")
        options = CallOptions() if options is None else checked(options)
        handed_on = [secret for secret in self._secrets if values.dumps(secret, "secret")[1:-1] in data]
        return replace(options, secrets=tuple(dict.fromkeys((*options.secrets, *handed_on))))

    def _mesh(self) -> Calls:
        if self._calls is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "this call came over no mesh, so no other function can be called from it")
        return self._calls

    def _limit(self, timeout: float | None) -> float | None:
        limits = [limit for limit in (timeout, self.remaining()) if limit is not None]
        limit = min(limits, default=None)
        if limit is not None and limit <= 0:
            raise ParadeError(Reason.DEADLINE_EXCEEDED, "no time is left to call another function")
        return limit


class _Told:
    """What `progress` returns: done already, unless it is awaited."""

    def __init__(self, reports: Reports | None) -> None:
        self._reports = reports

    def __await__(self) -> Generator[Any, Any, None]:
        flush: Callable[[], Awaitable[None]] = self._reports.flush if self._reports is not None else _nothing
        yield from flush().__await__()


async def _nothing() -> None:
    await asyncio.sleep(0)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
