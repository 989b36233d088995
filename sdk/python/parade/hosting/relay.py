"""Calls that a function in a worker process makes: the agent makes them in its stead, as parts of the function's own call."""

import asyncio
import contextvars
from contextlib import aclosing
from typing import Any

import orjson

from parade.call_options import CallOptions
from parade.context import Calls
from parade.hosting.pipe import Pipe
from parade.v1 import session_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.status import to_record


class Relay:
    """The calls that one call makes. They end with it."""

    def __init__(self, pipe: Pipe, calls: Calls | None, parent: session_pb2.SessionCall, environment: contextvars.Context | None) -> None:
        """Takes the way to the worker, how calls are made, and what they are a part of."""
        self._pipe = pipe
        self._calls = calls
        self._parent: dict[str, Any] = {"parent_call_id": parent.options.call_id, "mandate": parent.origin.mandate}
        self._environment = environment
        self._running: dict[int, _Nested] = {}

    def heed(self, frame: session_pb2.SessionFrame) -> None:
        """Does what the worker asks for."""
        for call in frame.calls:
            nested = self._running[call.number] = _Nested(call.window)
            nested.task = asyncio.get_running_loop().create_task(self._make(call, nested), context=self._environment)
        for credit in frame.credits:
            if credit.number in self._running:
                self._running[credit.number].grant(credit.bytes)
        for number in frame.cancels:
            if number in self._running:
                self._running[number].cancel()

    def end(self) -> None:
        """Ends the calls."""
        for nested in self._running.values():
            nested.cancel()

    async def _make(self, call: session_pb2.SessionCall, nested: "_Nested") -> None:
        result = session_pb2.SessionResult(number=call.number)
        try:
            if self._calls is None:
                raise ParadeError(Reason.FAILED_PRECONDITION, "this call came over no mesh, so no other function can be called from it")
            arguments = orjson.loads(call.arguments.data)
            how = {**self._parent, "options": _options(call)}
            if call.window == 0:
                result.result.data = orjson.dumps(
                    await self._calls.call(call.function, arguments, call.timeout or None, **how), default=_json
                )
            else:
                await self._stream(call, arguments, how, nested)
        except ParadeError as error:
            result.error.CopyFrom(to_record(error))
        except Exception as error:  # noqa: BLE001  # the worker waits for an answer, whatever happened
            message = f"the call of {call.function} failed unexpectedly: {type(error).__name__}"
            result.error.CopyFrom(to_record(ParadeError(Reason.INTERNAL, message)))
        finally:
            self._running.pop(call.number, None)
        self._pipe.send_frame(session_pb2.SessionFrame(results=[result]))

    async def _stream(self, call: session_pb2.SessionCall, arguments: Any, how: dict[str, Any], nested: "_Nested") -> None:
        items: Any = self._calls.stream(call.function, arguments, call.timeout or None, **how) if self._calls is not None else None
        async with aclosing(items):
            async for item in items:
                value = value_pb2.Value(data=orjson.dumps(item, default=_json))
                event = session_pb2.SessionEvent(number=call.number, item=value)
                self._pipe.send_frame(session_pb2.SessionFrame(events=[event]))
                await nested.take(len(value.data))


class _Nested:
    """One call that a worker makes."""

    def __init__(self, window: int) -> None:
        self.task: asyncio.Task[None] | None = None
        self._window = window
        self._room = asyncio.Event()

    def grant(self, size: int) -> None:
        self._window += size
        self._room.set()

    async def take(self, size: int) -> None:
        """Takes room for an item that was sent, and waits for room for another."""
        self._window -= size
        while self._window <= 0:
            self._room.clear()
            await self._room.wait()

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


def _options(call: session_pb2.SessionCall) -> CallOptions | None:
    options = call.options
    if not options.ByteSize():
        return None
    return CallOptions(
        idempotency_key=options.idempotency_key,
        priority=options.priority,
        affinity_key=options.affinity_key,
        labels=dict(options.labels),
        secrets=tuple(options.secrets),
        functions=tuple(options.functions),
    )


def _json(value: Any) -> Any:
    return value.to_json()
