"""`python -m parade.hosting.worker`: a process that runs functions for its agent, one call at a time, and ends with it.

It becomes like its agent by importing the modules of the functions; the agent's main script under another name than `__main__`, so that
what stands under `if __name__ == "__main__":` does not run again, and up to where it would serve.
"""

import asyncio
import ctypes
import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from functools import reduce
from types import ModuleType
from typing import Any

import orjson

from parade import agent as agents
from parade import values
from parade.artifact import Artifact, Content
from parade.call_options import CallOptions
from parade.function import Function
from parade.hosting.capacity import Capacity
from parade.hosting.executor import Executor
from parade.hosting.host import Host
from parade.hosting.observer import FailureLog
from parade.hosting.pipe import Kind, Pipe
from parade.v1 import session_pb2, value_pb2
from parade.wire.deadlines import Expiring
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.status import from_record

MAIN = "__parade_main__"
"""What the agent's main script is called in a worker."""
WINDOW = 64 * 1024
"""Bytes of items of another function that may wait here."""
_PR_SET_PDEATHSIG = 1


class Worker:
    """The process, seen from inside."""

    def __init__(self) -> None:
        """Begins without functions."""
        self.pipe = Pipe(self)
        self.ended = asyncio.Event()
        self._nested = _Calls(self.pipe)
        self._executor: Executor | None = None
        self._exchange: _Exchange | None = None

    def received(self, kind: Kind, body: bytes) -> None:
        """Takes a message of the agent."""
        if kind is Kind.START:
            self._start(orjson.loads(body))
        elif kind is Kind.FRAME:
            self._heed(session_pb2.SessionFrame.FromString(body))

    def lost(self) -> None:
        """Ends with the agent."""
        end_with_all()

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        """Sends a log record on to the monitor, from any thread."""
        self._loop.call_soon_threadsafe(self.pipe.send_json, Kind.LOG, [severity, event, fields])

    def _start(self, start: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        sys.path[:] = start["path"]
        sys.argv[:] = start["arguments"]
        os.environ.pop("PYTHONPATH", None)
        if start["pythonpath"] is not None:
            os.environ["PYTHONPATH"] = start["pythonpath"]
        log = Log(self, level=start["level"])
        try:
            functions = {one["name"]: _found(one, start) for one in start["functions"]}
        except (Exception, SystemExit) as error:  # noqa: BLE001  # an import runs whatever its author wrote
            sys.stderr.write(traceback.format_exc())
            self.pipe.send_json(Kind.UNREADY, f"{type(error).__name__}: {error}"[:500])
            return
        host = Host(start["agent"], Capacity(1), _NoDeadlines(), FailureLog(log), log, self._nested, _NoArtifacts())
        self._executor = Executor(functions, host)
        self.pipe.send(Kind.READY)

    def _heed(self, frame: session_pb2.SessionFrame) -> None:
        for call in frame.calls:
            if self._executor is not None:
                self._exchange = _Exchange(self.pipe, call)
                self._executor.begin(call, self._exchange)
        for credit in frame.credits:
            if self._exchange is not None and credit.number == self._exchange.number:
                self._exchange.grant(credit.bytes)
        self._nested.heed(frame)


class _Exchange:
    """The agent, which waits for a call."""

    def __init__(self, pipe: Pipe, call: session_pb2.SessionCall) -> None:
        self.number = call.number
        self.window = call.window
        self.cancelled: Any = None
        self.credited: Any = None
        self._pipe = pipe

    def answer(self, result: session_pb2.SessionResult) -> None:
        result.number = self.number
        self._pipe.send_frame(session_pb2.SessionFrame(results=[result]))

    def tell(self, event: session_pb2.SessionEvent) -> None:
        event.number = self.number
        if event.HasField("item"):
            self.window -= event.item.ByteSize() or 1
        self._pipe.send_frame(session_pb2.SessionFrame(events=[event]))

    def grant(self, size: int) -> None:
        self.window += size
        if self.credited is not None:
            self.credited()


class _Calls:
    """Calls that go by way of the agent."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._numbers = 0
        self._said: dict[int, asyncio.Queue[session_pb2.SessionResult | session_pb2.SessionEvent]] = {}

    async def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",  # noqa: ARG002  # the agent knows it
        mandate: bytes = b"",  # noqa: ARG002  # as above
    ) -> Any:
        async for item in self._made(function, arguments, timeout, options, 0):
            return item
        return None

    async def stream(
        self,
        function: str,
        arguments: Mapping[str, Any],
        timeout: float | None = None,
        *,
        options: CallOptions | None = None,
        parent_call_id: str = "",  # noqa: ARG002  # the agent knows it
        mandate: bytes = b"",  # noqa: ARG002  # as above
    ) -> AsyncGenerator[Any, None]:
        async for item in self._made(function, arguments, timeout, options, WINDOW):
            yield item

    def heed(self, frame: session_pb2.SessionFrame) -> None:
        for event in frame.events:
            if event.number in self._said:
                self._said[event.number].put_nowait(event)
        for result in frame.results:
            if result.number in self._said:
                self._said[result.number].put_nowait(result)

    async def _made(
        self, function: str, arguments: Mapping[str, Any], timeout: float | None, options: CallOptions | None, window: int
    ) -> AsyncGenerator[Any, None]:
        self._numbers += 1
        number = self._numbers
        call = session_pb2.SessionCall(number=number, function=function, timeout=timeout or 0.0, window=window)
        call.arguments.CopyFrom(values.encode(arguments, "arguments"))
        if options is not None:
            options.write(call.options)
        said = self._said[number] = asyncio.Queue()
        answered = False
        self._pipe.send_frame(session_pb2.SessionFrame(calls=[call]))
        try:
            while True:
                one = await said.get()
                if isinstance(one, session_pb2.SessionResult):
                    answered = True
                    if one.HasField("error"):
                        raise from_record(one.error)
                    if one.HasField("result"):
                        yield orjson.loads(one.result.data)
                    return
                yield orjson.loads(one.item.data)
                credit = session_pb2.SessionCredit(number=number, bytes=len(one.item.data))
                self._pipe.send_frame(session_pb2.SessionFrame(credits=[credit]))
        finally:
            del self._said[number]
            if not answered:
                self._pipe.send_frame(session_pb2.SessionFrame(cancels=[number]))


class _NoDeadlines:
    """The agent kills the process at a call's deadline."""

    def add(self, when: float, item: Expiring) -> None:
        pass

    def remove(self, when: float, item: Expiring) -> None:
        pass


_NO_ARTIFACTS = "a function in a process of its own has no way to artifacts; let another function put and read them"


class _NoArtifacts:
    """The agent stores what is large."""

    async def resolve(self, value: value_pb2.Value) -> bytes:
        return value.data

    async def shrink(self, data: bytes) -> value_pb2.Value:
        return value_pb2.Value(data=data)

    async def put(self, content: Content, media_type: str) -> Artifact:  # noqa: ARG002  # refused, whatever it is
        raise ParadeError(Reason.FAILED_PRECONDITION, _NO_ARTIFACTS)

    def pieces(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:  # noqa: ARG002  # refused, whatever it is
        raise ParadeError(Reason.FAILED_PRECONDITION, _NO_ARTIFACTS)


def _found(one: dict[str, Any], start: dict[str, Any]) -> Function:
    module = _main(start) if one["module"] == "__main__" else importlib.import_module(one["module"])
    handler: Any = reduce(getattr, one["qualname"].split("."), module)
    return Function.of(handler, name=one["name"], effect=one["effect"], timeout=one["timeout"])


def _main(start: dict[str, Any]) -> ModuleType:
    """Imports the agent's main script, up to where it would serve."""
    if MAIN in sys.modules:
        return sys.modules[MAIN]
    name, path = start["main_module"], start["main_path"]
    spec = importlib.util.find_spec(name) if name else importlib.util.spec_from_file_location(MAIN, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"the main script {name or path!r} cannot be found again; put the function into a module")
    module = importlib.util.module_from_spec(spec)
    module.__name__ = MAIN
    # What its functions say of their module must be found there.
    sys.modules[MAIN] = sys.modules["__main__"] = module
    code = spec.loader.get_code(spec.name)  # type: ignore[attr-defined]  # loaders of source have it
    with suppress(agents.ServedElsewhereError):
        exec(code, module.__dict__)  # noqa: S102  # the script that the user runs
    return module


def end_with_all() -> None:
    """Ends this process and all it has started, at once."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end_with_agent() -> None:
    """Lets the kernel end this process when its agent ends, and does it by itself where the kernel does not."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        end_with_all()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


async def _run(connection: socket.socket) -> None:
    worker = Worker()
    await asyncio.get_running_loop().create_connection(lambda: worker.pipe, sock=connection)
    await worker.ended.wait()


def main() -> None:
    """Runs until the agent ends."""
    _end_with_agent()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.setblocking(False)
    agents.served_elsewhere = True
    asyncio.run(_run(connection))


if __name__ == "__main__":
    main()
