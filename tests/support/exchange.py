"""Who waits for a call, in a test: keeps what it is told."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from parade.v1 import call_pb2, session_pb2
from parade.wire.errors import ParadeError
from parade.wire.status import from_record
from tests.support.waiting import eventually


class KeepingExchange:
    """An exchange that keeps what it is told, and answers as an opener would."""

    def __init__(self, window: int = 0) -> None:
        """Takes how many bytes of items it wants before it gives credit."""
        self.window = window
        self.cancelled: Callable[[bool], None] | None = None
        self.credited: Callable[[], None] | None = None
        self.events: list[session_pb2.SessionEvent] = []
        self.results: list[session_pb2.SessionResult] = []

    def answer(self, result: session_pb2.SessionResult) -> None:
        """Keeps the result."""
        self.results.append(result)

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Keeps an event."""
        if event.HasField("item"):
            self.window -= event.item.ByteSize() or 1
        self.events.append(event)

    def grant(self, size: int) -> None:
        """Makes room for more items."""
        self.window += size
        assert self.credited is not None
        self.credited()

    def cancel(self, *, gone: bool = False) -> None:
        """Cancels the call, or goes away."""
        assert self.cancelled is not None
        self.cancelled(gone)

    async def result(self, within: float = 5.0) -> session_pb2.SessionResult:
        """Returns the only result, once it is there."""
        await eventually(lambda: bool(self.results), within=within)
        (result,) = self.results
        return result

    async def value(self, within: float = 5.0) -> Any:
        """Returns the value of the result."""
        result = await self.result(within)
        if result.HasField("error"):
            raise from_record(result.error)
        return orjson.loads(result.result.data) if result.HasField("result") else None

    async def error(self, within: float = 5.0) -> ParadeError:
        """Returns what the call failed with."""
        return from_record((await self.result(within)).error)

    @property
    def items(self) -> list[Any]:
        """The items."""
        return [orjson.loads(event.item.data) for event in self.events if event.HasField("item")]

    @property
    def notes(self) -> list[float]:
        """The fractions of the progress notes."""
        return [event.progress.fraction for event in self.events if event.HasField("progress")]

    @property
    def cancellations(self) -> list[str]:
        """How far the cancellation has come, step by step."""
        return [
            call_pb2.Cancellation.Name(event.cancellation).removeprefix("CANCELLATION_")
            for event in self.events
            if event.HasField("cancellation")
        ]


async def settled() -> None:
    """Lets everything have its turn that needs no waiting."""
    for _ in range(20):
        await asyncio.sleep(0)
