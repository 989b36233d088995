"""The worker processes of an agent, seen from the agent: started when they are needed, used again, killed where a call is to end."""

import asyncio
import contextvars
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

import parade
from parade.context import Calls
from parade.function import Function
from parade.hosting.pipe import Kind, Pipe
from parade.hosting.process_work import ProcessWork
from parade.hosting.relay import Relay
from parade.hosting.settings import TOKEN_VARIABLE
from parade.v1 import session_pb2
from parade.wire.log import Sink

END_TIMEOUT = 5.0
"""Seconds that killed processes may take to end."""


class Workers:
    """All workers of an agent. Each has one call at a time, and each call has a place, so there are no more of them than places."""

    def __init__(self, agent: str, functions: Mapping[str, Function], calls: Calls | None, level: str, sink: Sink | None) -> None:
        """Starts none yet.

        Args:
            agent: The agent's name.
            functions: Its functions; those that want a process are known to the workers.
            calls: How functions call other functions.
            level: The least grave log record that workers write.
            sink: Where their log records go beside standard error.
        """
        self.calls = calls
        self.sink = sink
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._start = {"agent": agent, "level": level, "functions": [_named(one) for one in functions.values() if one.process]}

    def take(self, work: ProcessWork, data: bytes) -> None:
        """Gives a call to a worker that has none, or to a new one."""
        worker = self._idle.pop() if self._idle else self._started()
        worker.take(work, data)

    def idle(self, worker: "Worker") -> None:
        """Takes a worker back whose call has ended."""
        self._idle.append(worker)

    def forget(self, worker: "Worker") -> None:
        """Takes note that a worker has ended."""
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)

    async def close(self) -> None:
        """Kills all of them."""
        ends = [worker.end() for worker in list(self._all)]
        if ends:
            await asyncio.wait(ends, timeout=END_TIMEOUT)

    def _started(self) -> "Worker":
        worker = Worker(self, {**_surroundings(), **self._start})
        self._all.add(worker)
        return worker


class Worker:
    """One worker process. It lives from its making to the end of its process, which it follows by itself."""

    def __init__(self, workers: Workers, start: dict[str, Any]) -> None:
        """Starts the process.

        Args:
            workers: Where it is taken back to.
            start: What it needs to become like its agent.
        """
        self._workers = workers
        self._start = start
        self._pipe = Pipe(self)
        self._process: Process | None = None
        self._ready = False
        self._killed = False
        self._work: ProcessWork | None = None
        self._data = b""
        self._number = 0
        self._why = ""
        self._relay: Relay | None = None
        self._environment: contextvars.Context | None = None
        self._living = asyncio.create_task(self._live(), name="worker process")

    def take(self, work: ProcessWork, data: bytes) -> None:
        """Takes a call, and sends it as soon as the process is ready."""
        self._work, self._data = work, data
        work.worker = self
        if self._ready:
            self._send()

    def spare(self) -> None:
        """Forgets its call, which it has not begun."""
        self._work, self._data = None, b""
        if self._ready:
            self._workers.idle(self)

    def kill(self) -> None:
        """Kills the process and all it has started."""
        self._killed = True
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def end(self) -> "asyncio.Task[None]":
        """Kills the process and returns what ends when it has ended."""
        self.kill()
        return self._living

    def grant(self, size: int) -> None:
        """Makes room for more items of its call."""
        credit = session_pb2.SessionCredit(number=self._number, bytes=size)
        self._pipe.send_frame(session_pb2.SessionFrame(credits=[credit]))

    def received(self, kind: Kind, body: bytes) -> None:
        """Takes a message of the process."""
        match kind:
            case Kind.READY:
                self._ready = True
                if self._work is not None:
                    self._send()
                else:
                    self._workers.idle(self)
            case Kind.UNREADY:
                self._why = orjson.loads(body)
                self.kill()
            case Kind.FRAME:
                self._heed(session_pb2.SessionFrame.FromString(body))
            case Kind.LOG if self._workers.sink is not None:
                record = self._workers.sink.log
                (self._environment or contextvars.copy_context()).run(record, *orjson.loads(body))

    def lost(self) -> None:
        """Kills the process where it is not gone with its end of the socket."""
        self.kill()

    async def _live(self) -> None:
        try:
            status = await self._follow()
            how = self._why or f"has ended by itself ({_cause(status)})"
        except OSError as error:
            self._why = how = f"cannot be started: {error}"
        self._workers.forget(self)
        self._let_go()
        work, self._work = self._work, None
        if work is None:
            return
        if self._why:
            work.unable(self._why)
        else:
            work.died(how)

    async def _follow(self) -> int:
        """Starts the process and returns its exit status once it has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([_home(), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
            environment.pop(TOKEN_VARIABLE, None)
            try:
                # Its standard input is never written to: it ends when the agent does, and then the worker knows.
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the agent's import path follows by the socket
                    "-m",
                    "parade.hosting.worker",
                    str(theirs.fileno()),
                    stdin=PIPE,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    env=environment,
                )
            except BaseException:
                ours.close()
                raise
        await asyncio.get_running_loop().create_connection(lambda: self._pipe, sock=ours)
        if self._killed:
            self.kill()
        self._pipe.send_json(Kind.START, self._start)
        status = await self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it has started does not outlive it
        self._pipe.close()
        return status

    def _send(self) -> None:
        work = self._work
        if work is None:
            return
        self._number += 1
        self._environment = work.environment()
        self._relay = Relay(self._pipe, self._workers.calls, work.call, self._environment)
        call = work.call_for_worker(self._data)
        call.number = self._number
        self._data = b""
        self._pipe.send_frame(session_pb2.SessionFrame(calls=[call]))

    def _heed(self, frame: session_pb2.SessionFrame) -> None:
        work = self._work
        if work is None or self._relay is None:
            return
        self._relay.heed(frame)
        for event in frame.events:
            work.heard(event)
        for result in frame.results:
            self._let_go()
            self._work = None
            if not self._killed:
                self._workers.idle(self)
            work.heard_result(result)

    def _let_go(self) -> None:
        if self._relay is not None:
            self._relay.end()
            self._relay = None


def _named(function: Function) -> dict[str, Any]:
    handler = function.handler
    return {
        "name": function.name,
        "module": handler.__module__,
        "qualname": handler.__qualname__,
        "effect": function.effect,
        "timeout": function.timeout,
    }


def _surroundings() -> dict[str, Any]:
    """Returns what a worker needs to find the same modules as this process."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    path = getattr(main, "__file__", None)
    return {
        "path": sys.path,
        "arguments": sys.argv,
        "pythonpath": os.environ.get("PYTHONPATH"),
        "main_module": spec.name if spec is not None else "",
        "main_path": str(Path(path).absolute()) if path is not None else "",
    }


def _home() -> str:
    return str(Path(str(parade.__file__)).parent.parent)


def _cause(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
