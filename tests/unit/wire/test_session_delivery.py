"""A call followed by callbacks: encoded by who makes it, with room for items, and sent again where its session is lost."""

import asyncio
import math
from typing import Any

import pytest

from parade.v1.call_pb2 import CallOptions
from parade.v1.session_pb2 import SessionCall, SessionEvent, SessionResult
from parade.v1.value_pb2 import Value
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.delivery import GUARD, Delivery
from parade.wire.session.limits import KEPT, room_taken
from parade.wire.session.link import Link
from tests.support.memory_stream import MemoryTarget
from tests.support.virtual_time import in_virtual_time

WINDOW = 1000
ITEMS = 100


class Handler:
    """Holds calls, or gives items as long as there is room."""

    def __init__(self) -> None:
        self.calls: list[SessionCall] = []
        self.held: list[Exchange] = []
        self.cancelled: list[bool] = []
        self.told = 0

    def begin(self, call: SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        self.held.append(exchange)
        exchange.cancelled = lambda gone: self.stop(exchange, gone)
        if call.function == "count":
            exchange.credited = lambda: self.count(exchange)
            self.count(exchange)

    def stop(self, exchange: Exchange, gone: bool) -> None:  # noqa: FBT001  # as a handler's callback is
        self.cancelled.append(gone)
        exchange.answer(SessionResult())

    def count(self, exchange: Exchange) -> None:
        while exchange.window > 0 and self.told < ITEMS:
            exchange.tell(SessionEvent(item=Value(data=b"%98d" % self.told)))
            self.told += 1
        if self.told == ITEMS:
            exchange.answer(SessionResult())


class Followed(Delivery):
    """Keeps what it hears."""

    def __init__(self, link: Link, function: str = "hold", *, timeout: float = math.inf, encoded: bool = True) -> None:
        loop = asyncio.get_running_loop()
        call = SessionCall(function=function, options=CallOptions(call_id="call-0001"), window=0 if encoded else WINDOW)
        body = call.SerializeToString() if encoded else call
        super().__init__(link, Deadlines(), body, "call-0001", loop.time() + timeout, loop, WINDOW)
        self.items: list[int] = []
        self.taking = True
        self.heard: list[Any] = []
        """The result or the error, and whatever came after it."""

    def told(self, event: SessionEvent) -> None:
        self.items.append(int(event.item.data))
        if self.taking:
            self.taken(room_taken(event.item))

    def succeeded(self, result: SessionResult) -> None:
        self.heard.append(result)

    def failed(self, error: ParadeError) -> None:
        self.heard.append(error)


def world() -> tuple[Link, MemoryTarget, Handler]:
    handler = Handler()
    target = MemoryTarget(Acceptor(handler))
    return Link([target], "/session"), target, handler  # type: ignore[list-item]  # a connection in memory


@pytest.mark.parametrize("encoded", [True, False])
def test_items_come_as_room_is_made_for_them(*, encoded: bool) -> None:
    async def main() -> None:
        link, _, handler = world()
        delivery = Followed(link, "count", encoded=encoded)
        delivery.begin()
        await asyncio.sleep(1)
        assert handler.calls[0].window == WINDOW
        assert delivery.items == list(range(ITEMS))
        assert [type(end) for end in delivery.heard] == [SessionResult]
        await link.close()

    in_virtual_time(main)


def test_no_more_items_come_than_there_is_room_for() -> None:
    async def main() -> None:
        link, _, handler = world()
        delivery = Followed(link, "count")
        delivery.taking = False
        delivery.begin()
        await asyncio.sleep(1)
        assert len(delivery.items) == handler.told == math.ceil(WINDOW / room_taken(Value(data=b"%98d" % 0)))
        assert delivery.heard == []
        await link.close()

    in_virtual_time(main)


@pytest.mark.parametrize("encoded", [True, False])
def test_a_call_whose_session_was_lost_is_sent_again_as_one_that_may_have_arrived(*, encoded: bool) -> None:
    async def main() -> None:
        link, target, first = world()
        delivery = Followed(link, encoded=encoded)
        delivery.begin()
        await asyncio.sleep(0.1)
        second = Handler()
        target.acceptor = Acceptor(second)
        target.break_()
        await asyncio.sleep(KEPT + 1)
        second.held[0].answer(SessionResult())
        await asyncio.sleep(0.1)
        assert not first.calls[0].options.redelivered
        assert second.calls[0].options == CallOptions(call_id="call-0001", redelivered=True)
        assert second.calls[0].window == WINDOW
        assert [type(end) for end in delivery.heard] == [SessionResult]
        assert delivery.redelivered
        await link.close()

    in_virtual_time(main)


def test_a_call_that_never_left_is_not_marked_as_one_that_may_have_arrived() -> None:
    async def main() -> None:
        handler = Handler()
        target = MemoryTarget(None)
        link = Link([target], "/session")  # type: ignore[list-item]  # a connection in memory
        delivery = Followed(link)
        delivery.begin()
        await asyncio.sleep(1)
        target.acceptor = Acceptor(handler)
        await asyncio.sleep(2)
        assert not handler.calls[0].options.redelivered
        assert not delivery.redelivered
        await link.close()

    in_virtual_time(main)


def test_a_call_ends_once_at_its_deadline_and_is_cancelled() -> None:
    async def main() -> None:
        link, _, handler = world()
        delivery = Followed(link, timeout=1)
        delivery.begin()
        await asyncio.sleep(1 + 2 * GUARD)
        assert len(delivery.heard) == 1
        await asyncio.sleep(1)
        (error,) = delivery.heard
        assert (error.reason, error.metadata) == (Reason.DEADLINE_EXCEEDED, {"call_id": "call-0001"})
        assert handler.cancelled == [False]
        await link.close()

    in_virtual_time(main)


@pytest.mark.parametrize("lost", [False, True])
def test_nothing_is_heard_of_a_call_that_was_given_up(*, lost: bool) -> None:
    async def main() -> None:
        link, target, handler = world()
        delivery = Followed(link, timeout=5)
        delivery.begin()
        await asyncio.sleep(0.1)
        if lost:
            target.acceptor = None
            target.break_()
            await asyncio.sleep(KEPT)
        delivery.abandon()
        delivery.abandon()
        await asyncio.sleep(10)
        assert delivery.heard == []
        assert delivery.ended
        assert link.outstanding == 0
        assert handler.cancelled == [lost]
        await link.close()

    in_virtual_time(main)
