"""Calls of coroutine functions and asynchronous generators: a task of the event loop each, unless they end in their first step."""

import asyncio
from typing import Any

from parade.hosting.exchange import Exchange
from parade.hosting.host import MAX_INLINE_BYTES, Host
from parade.hosting.results import inline
from parade.hosting.served import Served
from parade.hosting.turn import WAITS, Turn
from parade.hosting.work import Work
from parade.v1 import session_pb2, value_pb2
from parade.wire.call_span import is_unsampled
from parade.wire.errors import ParadeError

TURN = 64
"""Items that a generator may give before others have their turn."""


def begin_plain(host: Host, served: Served, call: session_pb2.SessionCall, exchange: Exchange) -> None:
    """Begins a call of a coroutine function that sees nothing of its call, and answers it where the function ends in its first step.

    Most calls are such, so this is the short way. What is out of the ordinary goes the long one, from where it is.
    """
    value, capacity, traceparent = call.arguments, host.capacity, call.traceparent
    data = value.data
    if (
        not data
        or len(data) > MAX_INLINE_BYTES
        or value.media_type
        or (traceparent and not is_unsampled(traceparent))
        or capacity.draining
        or capacity.in_flight >= capacity.maximum
    ):
        CoroutineWork(host, served, call, exchange).begin()
        return
    now = host.now
    arrived = now()
    try:
        arguments = served.decode(data, host.artifacts)
    except ParadeError:
        CoroutineWork(host, served, call, exchange).begin()
        return
    turn = host.turn
    if turn is None or turn.over:
        turn = host.turn = Turn(host.loop)
    began = now()
    try:
        returned = turn.first_step(served.handler, arguments)
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
        CoroutineWork(host, served, call, exchange, arrived).take_end(began, None, error)
        return
    if returned is WAITS:
        CoroutineWork(host, served, call, exchange, arrived).take_over(turn, began)
        return
    try:
        encoded = served.encode(returned)
    except Exception:  # noqa: BLE001  # a type of the author's own may raise anything when it is written, and does so again below
        encoded = None
    if encoded is None or len(encoded) > MAX_INLINE_BYTES:
        CoroutineWork(host, served, call, exchange, arrived).take_end(began, returned, None)
        return
    seconds = now() - began
    result = inline(encoded)
    result.queued_us = int((began - arrived) * 1e6)
    result.executing_us = int(seconds * 1e6)
    host.observer.succeeded(served.name, seconds)
    capacity.completed += 1
    exchange.answer(result)


class CoroutineWork(Work):
    """A call of a coroutine function."""

    __slots__ = ("_task",)

    def run(self, data: bytes) -> None:
        """Begins the function: its first step is taken here, the rest in a task, where there is any."""
        self._task: asyncio.Task[None] | None = None
        arguments = self.arguments(data)
        host, served = self.host, self.served
        environment = self.environment()
        if environment is not None:
            turn = Turn(host.loop, environment)
        elif host.turn is None or host.turn.over:
            turn = host.turn = Turn(host.loop)
        else:
            turn = host.turn
        self.began = host.now()
        try:
            value = turn.first_step(served.handler, arguments)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
            self.raised(error)
        except BaseException:
            self.left()
            raise
        else:
            if value is WAITS:
                self._task = turn.task
                turn.keep(self, served.name)
                return
            self.returned(value)
        self.left()

    def take_over(self, turn: Turn, began: float) -> None:
        """Takes a call over whose function has begun without it and waits now."""
        self._task = turn.task
        self.began = began
        self._enter_late()
        turn.keep(self, self.served.name)
        self.watch()

    def take_end(self, began: float, value: Any, error: BaseException | None) -> None:
        """Takes a call over whose function has ended without it."""
        self._task = None
        self.began = began
        self._enter_late()
        if error is not None:
            self.raised(error)
        else:
            self.returned(value)
        if not self.answered:
            self.watch()
        self.left()

    def _enter_late(self) -> None:
        # There was a place when the function began, and only what that function did itself has happened since.
        self.host.capacity.in_flight += 1
        self.host.running.add(self)

    def stop(self) -> None:
        """Cancels the task. One that has not begun yet is over with that."""
        if self._task is not None:
            self._task.cancel()
        if self.began:
            self.await_end()
        else:
            self.stopped()
            self.left()

    def own_task(self) -> asyncio.Task[None] | None:
        """Returns the task."""
        return self._task


class CoroutineStream(CoroutineWork):
    """A call of an asynchronous generator function."""

    __slots__ = ("_room",)

    def run(self, data: bytes) -> None:
        """Begins the generator in a task of its own, in which others find its span where the call is recorded."""
        arguments = self.arguments(data)
        self._task = self.host.loop.create_task(self._run(arguments), name=self.served.name, context=self.environment())

    def credited(self) -> None:
        """Lets the generator go on."""
        room: asyncio.Future[None] | None = getattr(self, "_room", None)
        if room is not None and not room.done():
            room.set_result(None)

    async def _run(self, arguments: dict[str, Any]) -> None:
        self.began = self.host.now()
        failure: ParadeError | None = None
        try:
            items = self.served.handler(**arguments)
            try:
                failure = await self._tell_all(items)
            finally:
                await items.aclose()
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
            self.raised(error)
        else:
            if failure is None:
                self.succeed(None)
            else:
                self.fail(failure)
        finally:
            self.left()

    async def _tell_all(self, items: Any) -> ParadeError | None:
        """Tells the items as there is room; returns why not all of them could be told."""
        encode, limit = self.served.function.encode, self.inline_bytes
        turn = 0
        async for item in items:
            try:
                data = encode(item)
                value = value_pb2.Value(data=data) if len(data) <= limit else await self._large(data)
            except ParadeError as error:
                return error
            self.tell_item(value)
            turn += 1
            if self.exchange.window <= 0:
                await self._until_room()
            elif turn % TURN == 0:
                await asyncio.sleep(0)
        return None

    async def _large(self, data: bytes) -> value_pb2.Value:
        if self.host.artifacts is not None:
            return await self.host.artifacts.shrink(data)
        self.served.function.check_result_size(data)
        return value_pb2.Value(data=data)

    async def _until_room(self) -> None:
        while self.exchange.window <= 0:
            self._room = self.host.loop.create_future()
            await self._room
