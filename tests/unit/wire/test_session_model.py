"""Sessions over a connection in memory that breaks: each call has one end, runs once at most, and stays within its room."""

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parade.v1 import session_pb2, value_pb2
from parade.wire.errors import Reason
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.limits import room_taken
from parade.wire.session.link import Link
from parade.wire.session.opener import LostError, Sent
from tests.support.memory_stream import MemoryTarget
from tests.support.virtual_time import in_virtual_time

WINDOW = 100


@dataclass
class Work:
    """One call at the handler: it answers after `delay`, or tells `items` of `size` bytes first, as far as there is room."""

    exchange: Exchange
    tag: str
    items: int
    size: int
    told: int = 0
    over: bool = False

    def go_on(self) -> None:
        while not self.over and self.told < self.items and self.exchange.window > 0:
            self.exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=f"{self.told:0{self.size}}".encode())))
            self.told += 1
        if self.told == self.items:
            self.end(session_pb2.SessionResult(result=value_pb2.Value(data=self.tag.encode())))

    def end(self, result: session_pb2.SessionResult) -> None:
        if not self.over:
            self.over = True
            self.exchange.answer(result)

    def cancelled(self, gone: bool) -> None:  # noqa: FBT001  # as a handler's callback is
        if not gone:
            self.end(session_pb2.SessionResult(call_id="cancelled"))
        self.over = True


@dataclass
class Handler:
    begun: Counter[str] = field(default_factory=Counter)
    works: list[Work] = field(default_factory=list)

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        tag, delay, items, size = call.function.split(":")
        self.begun[tag] += 1
        work = Work(exchange, tag, int(items), int(size))
        self.works.append(work)
        if delay == "never":
            exchange.cancelled = work.cancelled
            return
        exchange.cancelled = work.cancelled
        exchange.credited = work.go_on
        if float(delay):
            asyncio.get_running_loop().call_later(float(delay), work.go_on)
        else:
            work.go_on()


@dataclass
class Caller:
    tag: str
    items: int
    within: list[bool]
    room: int = 0
    ends: list[Any] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    sent: Sent | None = None
    abandoned: bool = False

    def answered(self, result: session_pb2.SessionResult) -> None:
        assert not self.within[0]
        self.ends.append(result)

    def lost(self, error: LostError) -> None:
        assert not self.within[0]
        self.ends.append(error)

    def told(self, event: session_pb2.SessionEvent) -> None:
        assert not self.within[0]
        assert not self.ends
        assert self.room > 0
        self.room -= room_taken(event.item)
        self.got.append(event.item.data)


calls = st.tuples(
    st.just("call"),
    st.sampled_from(["0", "0", "0.002", "0.03", "0.4", "never"]),
    st.sampled_from([0, 0, 0, 1, 7, 150]),
    st.sampled_from([1, 40, 300]),
    st.integers(1, 90),
)
waits = st.tuples(st.just("wait"), st.sampled_from([0.0003, 0.0008, 0.001, 0.0015, 0.003, 0.007, 0.05, 0.2, 2.5]))
others = st.one_of(
    st.tuples(st.sampled_from(["cancel", "abandon", "grant"]), st.integers(0, 30)),
    st.tuples(st.sampled_from(["drain", "renew"])),
)
faults = st.sampled_from([[("breaks",)], [("breaks",)], [("freeze",), ("wait", 3.6), ("thaw",)], [("down",), ("wait", 0.6), ("up",)]])
steps = st.one_of(
    st.tuples(calls, waits).map(list),
    st.builds(lambda call, wait, fault: [call, wait, *fault], calls, waits, faults),
    st.tuples(others).map(list),
    st.tuples(waits).map(list),
)
plans = st.lists(steps, max_size=15).map(lambda several: [step for some in several for step in some])


class Mesh:
    """A link, an acceptor, and every call that was made between them."""

    def __init__(self, max_calls: int, latency: float) -> None:
        self.handler = Handler()
        self.acceptor = Acceptor(self.handler, max_calls=max_calls)
        self.target = MemoryTarget(self.acceptor, latency=latency)
        self.link = Link([self.target], "/session")  # type: ignore[list-item]
        self.within = [False]
        self.callers: list[Caller] = []

    async def do(self, what: str, *arguments: Any) -> None:
        if what == "wait":
            await asyncio.sleep(*arguments)
        elif what == "call":
            self.within[0] = True
            self.call(*arguments)
        elif self.callers and arguments:
            self.within[0] = True
            getattr(self, what)(self.callers[arguments[0] % len(self.callers)])
        elif not arguments:
            getattr(self, what)()
        self.within[0] = False

    def call(self, delay: str, items: int, size: int, count: int) -> None:
        for _ in range(count):
            caller = Caller(f"t{len(self.callers)}", items, self.within, room=WINDOW if items else 0)
            call = session_pb2.SessionCall(function=f"{caller.tag}:{delay}:{items}:{size}", window=caller.room)
            caller.sent = self.link.send(call, caller, math.inf)
            self.callers.append(caller)

    def grant(self, caller: Caller, size: int = 50) -> None:
        if caller.items and caller.sent is not None:
            caller.room += size
            caller.sent.grant(size)

    def abandon(self, caller: Caller) -> None:
        assert caller.sent is not None
        caller.abandoned = True
        caller.sent.abandon()

    def cancel(self, caller: Caller) -> None:
        assert caller.sent is not None
        caller.sent.cancel()

    def breaks(self) -> None:
        self.target.break_()

    def freeze(self) -> None:
        self.target.freeze()

    def thaw(self) -> None:
        self.target.frozen = False

    def renew(self) -> None:
        self.target.renewed = True

    def drain(self) -> None:
        for session in self.acceptor._sessions.values():
            session.drain()

    def down(self) -> None:
        self.target.acceptor = None
        self.target.break_()

    def up(self) -> None:
        self.target.acceptor = self.acceptor

    async def settle(self) -> None:
        """Gives every call its end: those that have none of their own are cancelled after a while."""
        for turn in range(600):
            for caller in self.callers:
                if caller.room < 1000 and not caller.ends:
                    self.grant(caller, 1000)
                if turn > 400:
                    self.cancel(caller)
            await asyncio.sleep(0.05)
            if all(caller.ends or caller.abandoned for caller in self.callers):
                break
        await asyncio.sleep(30)  # an acceptor that hears nothing more gives up by then


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans, st.sampled_from([1, 3, 1000]), st.sampled_from([0.0, 0.0006, 0.004]))
def test_every_call_has_one_end_and_runs_once_at_most(plan: list[tuple[Any, ...]], max_calls: int, latency: float) -> None:
    async def main() -> None:
        mesh = Mesh(max_calls, latency)
        for step in plan:
            await mesh.do(*step)
        await mesh.settle()

        for caller in mesh.callers:
            _judge(caller, mesh.handler.begun[caller.tag])
        assert mesh.link.outstanding == 0
        assert not any(session.known for session in mesh.acceptor._sessions.values())
        assert all(work.over for work in mesh.handler.works)
        assert not [failure for failure in mesh.target.failures if failure.reason is Reason.INVALID_ARGUMENTS]
        await mesh.link.close()
        await asyncio.sleep(10)
        assert not mesh.acceptor._sessions
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(main)


def _judge(caller: Caller, begun: int) -> None:
    assert begun <= 1
    assert len(caller.ends) <= 1 if caller.abandoned else len(caller.ends) == 1
    assert [int(item) for item in caller.got] == list(range(len(caller.got)))
    for end in caller.ends:
        if isinstance(end, LostError):
            assert end.sent or not begun
        elif end.HasField("result"):
            assert end.result.data == caller.tag.encode()
            assert len(caller.got) == caller.items
