"""What becomes of an attempt whose session is lost on the way."""

import asyncio

import pytest

from parade.v1.session_pb2 import SessionCall, SessionEvent, SessionResult
from parade.v1.value_pb2 import Value
from parade.wire.errors import Reason
from parade.wire.log import Log
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.limits import KEPT
from parade.wire.session.link import Link
from parade.wire.telemetry import Telemetry
from parade_chassis.clock import ManualClock
from parade_scheduler.calls.caller import DispatcherCaller
from parade_scheduler.calls.dispatch import Dispatches
from parade_scheduler.decider import Dispatch, Occurrence, TaskFailed, TaskSucceeded
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Run
from tests.support.memory_stream import MemoryTarget
from tests.support.virtual_time import in_virtual_time
from tests.unit.scheduler.rights import every_right
from tests.unit.scheduler.simulation import START

RUN = Run("run-1", "default", "flow", 1, Document(b"{}"), START)
ATTEMPT = Dispatch("a", 0, 1, "x.a", Document(b"{}"), None, redelivered=False)


class Handler:
    """Holds every call; of a streaming function it gives one item first."""

    def __init__(self, *, streaming: bool = False) -> None:
        self.calls: list[SessionCall] = []
        self.held: list[Exchange] = []
        self._streaming = streaming

    def begin(self, call: SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        self.held.append(exchange)
        exchange.tell(SessionEvent(instance_id="i-1"))
        if self._streaming:
            exchange.tell(SessionEvent(item=Value(data=b"1")))


class World:
    """Attempts whose calls go to one dispatcher in memory."""

    def __init__(self, handler: Handler | None) -> None:
        self.target = MemoryTarget(None if handler is None else Acceptor(handler))
        self.link = Link([self.target], "/session")  # type: ignore[list-item]  # a connection in memory
        self.outcomes: list[Occurrence] = []
        caller = DispatcherCaller(self.link, Telemetry("scheduler", "s-1"))
        self.dispatches = Dispatches(caller, lambda _, outcome: self.outcomes.append(outcome), ManualClock(), Log(), 10, every_right())

    async def lose(self, acceptor: Acceptor | None) -> None:
        """Loses the session, and lets another dispatcher take the place of the one that had it."""
        self.target.acceptor = acceptor
        self.target.break_()
        await asyncio.sleep(KEPT + 1)


def test_an_attempt_goes_to_the_next_dispatcher_and_says_that_it_may_have_been_elsewhere() -> None:
    async def main() -> None:
        first, second = Handler(), Handler()
        world = World(first)
        world.dispatches.start(RUN, ATTEMPT)
        await asyncio.sleep(0.1)
        await world.lose(Acceptor(second))
        second.held[0].answer(SessionResult(result=Value(data=b"7")))
        await asyncio.sleep(0.1)
        await world.link.close()
        assert [call.options.redelivered for call in (*first.calls, *second.calls)] == [False, True]
        assert first.calls[0].options.call_id == second.calls[0].options.call_id
        assert world.outcomes == [TaskSucceeded("a", 0, 1, Document(b"7"), "i-1")]

    in_virtual_time(main)


@pytest.mark.parametrize("reached", [False, True])
def test_where_no_dispatcher_comes_back_it_is_known_whether_one_was_reached(*, reached: bool) -> None:
    async def main() -> None:
        world = World(Handler() if reached else None)
        world.dispatches.start(RUN, ATTEMPT)
        await asyncio.sleep(0.1)
        await world.lose(None)
        await asyncio.sleep(15)
        await world.link.close()
        (outcome,) = world.outcomes
        assert isinstance(outcome, TaskFailed)
        assert outcome.failure.reason is Reason.UNAVAILABLE
        assert (NOT_SENT in outcome.failure.metadata) == (not reached)

    in_virtual_time(main)


def test_a_streaming_function_that_gave_an_item_is_not_called_again_by_itself() -> None:
    async def main() -> None:
        first, second = Handler(streaming=True), Handler(streaming=True)
        world = World(first)
        world.dispatches.start(RUN, ATTEMPT)
        await asyncio.sleep(0.1)
        await world.lose(Acceptor(second))
        await world.link.close()
        (outcome,) = world.outcomes
        assert isinstance(outcome, TaskFailed)
        assert (outcome.failure.reason, NOT_SENT in outcome.failure.metadata) == (Reason.UNAVAILABLE, False)
        assert second.calls == []

    in_virtual_time(main)


def test_draining_leaves_the_call_to_the_dispatcher_and_reports_nothing() -> None:
    async def main() -> None:
        handler = Handler()
        cancelled: list[bool] = []
        world = World(handler)
        world.dispatches.start(RUN, ATTEMPT)
        await asyncio.sleep(0.1)
        handler.held[0].cancelled = cancelled.append
        await world.dispatches.drain(1)
        await asyncio.sleep(KEPT + 60)
        assert world.outcomes == []
        assert cancelled == [True]  # as one whose opener went away, not as one that was cancelled

    in_virtual_time(main)
