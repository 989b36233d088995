"""One call at an instance that serves no sessions: a task around Invoke or InvokeStream. It decides nothing."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from parade.wire.errors import ParadeError, Reason
from parade.wire.session.limits import room_taken
from parade_dispatcher import convert, failure
from parade_dispatcher.model import Call, Content, Instance
from parade_dispatcher.ports import Receiver

LONGEST_CALL = 86_400.0
"""Seconds after which gRPC gives up a call that has no deadline of its own."""
LAST_WORD = 0.05
"""Seconds after the deadline in which whoever made the call says so itself, and better: it knows whose limit it was."""


class Invocation:
    """One call. Whoever made it hears of it until its last word, or until they abandon it."""

    __slots__ = (
        "_abandoned",
        "_call",
        "_deadline",
        "_ended",
        "_instance",
        "_loop",
        "_mandate",
        "_receiver",
        "_room",
        "_started",
        "_stub",
        "_task",
        "_window",
    )

    def __init__(
        self,
        stub: Any,
        instance: Instance,
        call: Call,
        mandate: bytes,
        deadline: float,
        receiver: Receiver,
        ended: Callable[["Invocation"], None],
    ) -> None:
        """Prepares the call; `start` makes it.

        Args:
            stub: The generated stub of the instance's service.
            instance: The instance.
            call: What it is asked to run. Events are asked for only where it has a window.
            mandate: By which mandate.
            deadline: When the call must have ended, by the event loop's clock.
            receiver: Who hears of it.
            ended: Is told when the call needs the connection no more.
        """
        self._stub = stub
        self._instance = instance
        self._call = call
        self._mandate = mandate
        self._deadline = deadline
        self._receiver = receiver
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._window = call.window
        self._room = asyncio.Event()
        self._abandoned = False
        self._started = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Makes the call in a task of the group."""
        self._started = self._loop.time()
        self._task = tasks.create_task(self._run(), name=f"invoke {self._call.id}")
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Ends the call. gRPC tells the instance; how far that has come is not heard of."""
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Ends the call without a word to who made it."""
        self._abandoned = True
        self.cancel()

    def grant(self, size: int) -> None:
        """Gives room for more bytes of items. While there is none the instance is not read from."""
        self._window += size
        if self._window > 0:
            self._room.set()

    async def _run(self) -> None:
        timeout = min(max(self._deadline - self._loop.time(), 0.001), LONGEST_CALL)
        try:
            result = await (self._stream(timeout) if self._call.window else self._invoke(timeout))
        except ParadeError as error:
            meaning = failure.of_rpc(error, self._instance)
            if failure.is_silence(meaning):
                await asyncio.sleep(LAST_WORD)
                meaning = failure.Loss("the instance did not answer by the deadline", sent=True)
            self._fail(meaning)
        else:
            if not self._abandoned:
                self._receiver.answered(result, 0.0, self._loop.time() - self._started)

    async def _invoke(self, timeout: float) -> Content:
        response = await self._stub.Invoke(convert.invoke_request(self._call, self._mandate), timeout=timeout)
        return convert.returned(response.result, "result")

    async def _stream(self, timeout: float) -> Content | None:
        result: Content | None = None
        async with aclosing(
            self._stub.InvokeStream(convert.invoke_stream_request(self._call, self._mandate), timeout=timeout)
        ) as responses:
            async for response in responses:
                if result is not None:
                    raise ParadeError(Reason.AGENT_ERROR, "the agent went on after its result")
                match response.WhichOneof("event"):
                    case "progress":
                        self._receiver.progressed(convert.progress(response.progress))
                    case "item":
                        await self._item(convert.returned(response.item, "item"), room_taken(response.item))
                    case "result":
                        result = convert.returned(response.result, "result")
                    case _:
                        raise ParadeError(Reason.AGENT_ERROR, "the agent sent an event without content")
        return result

    async def _item(self, item: Content, size: int) -> None:
        self._window -= size
        self._receiver.item(item)
        while self._window <= 0:
            self._room.clear()
            await self._room.wait()

    def _fail(self, meaning: failure.Loss | ParadeError) -> None:
        if self._abandoned:
            return
        if isinstance(meaning, failure.Loss):
            self._receiver.lost(meaning.message, meaning.sent)
        else:
            self._receiver.failed(meaning, 0.0, self._loop.time() - self._started)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._ended(self)
        if not task.cancelled():
            return
        if self._loop.time() >= self._deadline:
            self._fail(failure.Loss("the instance did not answer by the deadline", sent=True))
        else:
            self._fail(ParadeError(Reason.CANCELLED, "the call was cancelled", metadata={"cancellation": "REQUESTED"}))
