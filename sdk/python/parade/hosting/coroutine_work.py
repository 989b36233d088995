"""Calls of coroutine functions and asynchronous generators: a task of the event loop each."""

import asyncio
from typing import Any

from parade.hosting.work import Work
from parade.v1 import value_pb2
from parade.wire.errors import ParadeError

TURN = 64
"""Items that a generator may give before others have their turn."""


class CoroutineWork(Work):
    """A call of a coroutine function."""

    __slots__ = ("_task",)

    def run(self, data: bytes) -> None:
        """Begins the function in a task of its own."""
        served, loop = self.served, self.host.loop
        work = self._run(served.handler, self.arguments(data))
        if self.span is None:
            self._task = loop.create_task(work, name=served.name)
        else:
            self._task = loop.create_task(work, name=served.name, context=self.environment())

    def stop(self) -> None:
        """Cancels the task. One that has not begun yet is over with that."""
        self._task.cancel()
        if self.began:
            self.await_end()
        else:
            self.stopped()
            self.left()

    def own_task(self) -> asyncio.Task[None] | None:
        """Returns the task."""
        return self._task

    async def _run(self, handler: Any, arguments: dict[str, Any]) -> None:
        self.began = self.host.now()
        try:
            value = await handler(**arguments)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's code may raise anything
            self.raised(error)
        else:
            self.returned(value)
        finally:
            self.left()


class CoroutineStream(CoroutineWork):
    """A call of an asynchronous generator function."""

    __slots__ = ("_room",)

    def credited(self) -> None:
        """Lets the generator go on."""
        room: asyncio.Future[None] | None = getattr(self, "_room", None)
        if room is not None and not room.done():
            room.set_result(None)

    async def _run(self, handler: Any, arguments: dict[str, Any]) -> None:
        self.began = self.host.now()
        failure: ParadeError | None = None
        try:
            items = handler(**arguments)
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
