"""A link between targets: where calls go, what is certain of those that are lost, and what is said of the rest.

One file, though a long one: it follows one link through everything that can become of its targets.
"""

import asyncio
import math
from typing import Any

import grpc
import pytest

from parade.v1.session_pb2 import SessionCall, SessionEvent, SessionResult
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.caller import SessionCaller
from parade.wire.session.limits import ACKNOWLEDGE_AFTER, KEPT, MAX_ENTRY_BYTES, MAX_WAITING
from parade.wire.session.link import Link
from parade.wire.session.opener import LostError, Sent
from parade.wire.status import from_record, to_record
from tests.support.memory_stream import MemoryTarget
from tests.support.virtual_time import in_virtual_time


class Handler:
    """Echoes, fails, counts, or holds."""

    def __init__(self) -> None:
        self.calls: list[SessionCall] = []
        self.held: list[Exchange] = []
        self.cancelled: list[bool] = []
        self.told = 0

    def begin(self, call: SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        match call.function:
            case "fail":
                error = ParadeError(Reason.AGENT_ERROR, "it failed", metadata={"exception_type": "ValueError"})
                exchange.answer(SessionResult(error=to_record(error)))
            case "count":
                exchange.credited = lambda: self.count(exchange)
                exchange.cancelled = lambda gone: self.stop(exchange, gone)
                self.count(exchange)
            case "hold":
                self.held.append(exchange)
                exchange.cancelled = self.cancelled.append
            case _:
                exchange.answer(SessionResult(result=call.arguments))

    def stop(self, exchange: Exchange, gone: bool) -> None:  # noqa: FBT001  # as a handler's callback is
        self.cancelled.append(gone)
        exchange.answer(SessionResult())

    def count(self, exchange: Exchange) -> None:
        while exchange.window > 0 and self.told < 100:
            exchange.tell(SessionEvent(item=Value(data=b"%98d" % self.told)))
            self.told += 1
        if self.told == 100:
            exchange.answer(SessionResult())


class Receiver:
    def __init__(self) -> None:
        self.ends: list[Any] = []
        self.events: list[SessionEvent] = []

    def answered(self, result: SessionResult) -> None:
        self.ends.append(result)

    def told(self, event: SessionEvent) -> None:
        self.events.append(event)

    def lost(self, error: LostError) -> None:
        self.ends.append(error)


def to(*targets: MemoryTarget) -> Link:
    return Link(targets, "/session")  # type: ignore[arg-type]


def send(link: Link, function: str = "echo", deadline: float = math.inf, **fields: Any) -> tuple[Receiver, Sent]:
    receiver = Receiver()
    return receiver, link.send(SessionCall(function=function, **fields), receiver, deadline)


def target(**options: Any) -> tuple[MemoryTarget, Handler]:
    handler = Handler()
    return MemoryTarget(Acceptor(handler, **options)), handler


def test_each_target_is_tried_once_before_calls_are_lost_unsent() -> None:
    async def main() -> None:
        targets = [MemoryTarget(None) for _ in range(3)]
        link = to(*targets)
        receivers = [send(link)[0] for _ in range(5)]
        await asyncio.sleep(1)
        assert [len(one.streams) for one in targets] == [1, 1, 1]
        for receiver in receivers:
            assert [end.sent for end in receiver.ends] == [False]
        assert not link.unimplemented
        await link.close()

    in_virtual_time(main)


def test_a_receiver_may_send_again_as_soon_as_it_hears_of_a_loss() -> None:
    async def main() -> None:
        link = to(MemoryTarget(None))

        class Stubborn(Receiver):
            def lost(self, error: LostError) -> None:
                super().lost(error)
                if len(self.ends) < 4:
                    link.send(SessionCall(), self, math.inf)

        receiver = Stubborn()
        link.send(SessionCall(), receiver, math.inf)
        await asyncio.sleep(1)
        assert len(receiver.ends) == 4
        await link.close()

    in_virtual_time(main)


def test_a_target_that_works_is_found_among_those_that_do_not() -> None:
    async def main() -> None:
        good, _ = target()
        frozen, _ = target()
        frozen.freeze()
        for _ in range(10):
            link = to(MemoryTarget(None), frozen, good)
            receiver, _ = send(link)
            await asyncio.sleep(1.5)
            assert len(receiver.ends) == 1
            assert isinstance(receiver.ends[0], SessionResult)
            await link.close()

    in_virtual_time(main)


def test_a_server_that_knows_no_sessions_is_remembered() -> None:
    async def main() -> None:
        old = MemoryTarget(None)
        old.code = grpc.StatusCode.UNIMPLEMENTED
        link = to(old)
        receiver, _ = send(link)
        await asyncio.sleep(0.1)
        assert link.unimplemented
        assert not receiver.ends[0].sent
        await link.close()

    in_virtual_time(main)


def test_a_refusal_says_its_reason() -> None:
    async def main() -> None:
        stranger, _ = target()

        def refuse() -> None:
            raise ParadeError(Reason.PERMISSION_DENIED, "not you")

        stranger.admit = refuse  # type: ignore[method-assign]
        link = to(stranger)
        receiver, _ = send(link)
        await asyncio.sleep(0.1)
        assert receiver.ends[0].reason is Reason.PERMISSION_DENIED
        with pytest.raises(ParadeError, match="not you") as refused:
            await SessionCaller(link).call(SessionCall(), 5)
        assert refused.value.reason is Reason.PERMISSION_DENIED
        await link.close()

    in_virtual_time(main)


def test_what_has_not_left_is_cancelled_at_once_and_never_leaves() -> None:
    async def main() -> None:
        one, handler = target(max_calls=1)
        link = to(one)
        send(link, "hold")
        await asyncio.sleep(0.01)
        cancelled, sent = send(link)
        abandoned, other = send(link)
        sent.cancel()
        other.abandon()
        assert not cancelled.ends
        await asyncio.sleep(0)
        assert from_record(cancelled.ends[0].error).reason is Reason.CANCELLED
        await asyncio.sleep(0.1)
        assert not abandoned.ends
        assert len(handler.calls) == 1
        assert link.outstanding == 1
        await link.close()

    in_virtual_time(main)


def test_a_call_leaves_with_what_is_left_of_its_time_and_not_at_all_after_it() -> None:
    async def main() -> None:
        one, handler = target(max_calls=1)
        link = to(one)
        now = asyncio.get_running_loop().time()
        send(link, "hold")
        await asyncio.sleep(0.01)
        late, _ = send(link, deadline=now + 2)
        timely, _ = send(link, deadline=now + 10)
        await asyncio.sleep(2.99)
        handler.held[0].answer(SessionResult())
        await asyncio.sleep(0.1)
        assert from_record(late.ends[0].error).reason is Reason.DEADLINE_EXCEEDED
        assert timely.ends
        assert handler.calls[1].timeout == pytest.approx(7, abs=0.01)
        await link.close()

    in_virtual_time(main)


def test_a_call_too_large_to_travel_fails_alone() -> None:
    async def main() -> None:
        one, _ = target()
        link = to(one)
        large, _ = send(link, arguments=Value(data=b"x" * (MAX_ENTRY_BYTES + 1)))
        small, _ = send(link, arguments=Value(data=b"x"))
        await asyncio.sleep(0.1)
        assert from_record(large.ends[0].error).reason is Reason.INVALID_ARGUMENTS
        assert small.ends[0].result.data == b"x"
        await link.close()

    in_virtual_time(main)


def test_a_result_or_an_item_too_large_to_travel_fails_its_call_alone() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        receivers = [send(link, "hold", window=10)[0] for _ in range(2)]
        await asyncio.sleep(0.01)
        large = Value(data=b"x" * (MAX_ENTRY_BYTES + 1))
        handler.held[0].answer(SessionResult(result=large))
        handler.held[1].tell(SessionEvent(item=large))
        await asyncio.sleep(0.01)
        assert [from_record(receiver.ends[0].error).reason for receiver in receivers] == [Reason.AGENT_ERROR] * 2
        assert handler.cancelled == [False]
        await link.close()

    in_virtual_time(main)


def test_too_many_waiting_calls_are_refused() -> None:
    async def main() -> None:
        link = to(MemoryTarget(None))
        for _ in range(MAX_WAITING):
            send(link)
        with pytest.raises(ParadeError) as refused:
            send(link)
        assert refused.value.reason is Reason.NO_CAPACITY
        await link.close()

    in_virtual_time(main)


def test_a_closed_link_loses_what_waits_and_takes_no_more() -> None:
    async def main() -> None:
        link = to(target()[0])
        receiver, _ = send(link)
        await link.close()
        assert [end.sent for end in receiver.ends] == [False]
        with pytest.raises(ParadeError):
            send(link)

    in_virtual_time(main)


def test_a_link_that_is_closed_with_grace_lets_its_calls_end() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        receiver, _ = send(link, "hold")
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(2, lambda: handler.held[0].answer(SessionResult(call_id="well")))
        await link.close(5)
        assert [end.call_id for end in receiver.ends] == ["well"]

    in_virtual_time(main)


def test_an_acceptor_that_still_reads_nothing_is_not_taken_for_dead() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        large = Value(data=b"x" * 4 * 1024 * 1024)
        receivers = [send(link, "hold", arguments=large)[0] for _ in range(20)]
        await asyncio.sleep(30)
        assert len(handler.held) == 16  # 64 MiB, and a little for the fields around them
        while any(not receiver.ends for receiver in receivers):
            for exchange in handler.held:
                exchange.answer(SessionResult())
            await asyncio.sleep(0.1)
        assert len(one.streams) == 1
        assert all(isinstance(receiver.ends[0], SessionResult) for receiver in receivers)
        await link.close()

    in_virtual_time(main)


def test_a_receiver_that_fails_keeps_nobody_from_a_result() -> None:
    async def main() -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        one, _ = target()
        link = to(one)

        class Failing(Receiver):
            def answered(self, result: SessionResult) -> None:
                raise ValueError("no")

        link.send(SessionCall(), Failing(), math.inf)
        receiver, _ = send(link)
        await asyncio.sleep(0.1)
        assert len(receiver.ends) == 1
        assert len(reported) == 1
        await link.close()

    in_virtual_time(main)


def test_a_session_without_calls_costs_no_timer() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        one, _ = target(max_age=1e6)
        link = to(one)
        await SessionCaller(link).call(SessionCall(), math.inf)
        await asyncio.sleep(5)
        timers = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert len(timers) == 1  # the session's age
        await link.close()

    in_virtual_time(main)


def test_the_arrival_of_results_is_told_with_calls_that_leave_in_time_and_otherwise_by_itself() -> None:
    async def main() -> None:
        one, _ = target(max_age=1e6)
        frames: list[float] = []
        loop = asyncio.get_running_loop()
        one.arrived = lambda: frames.append(loop.time())  # type: ignore[method-assign]
        link = to(one)
        caller = SessionCaller(link)
        for _ in range(40):
            await caller.call(SessionCall(), math.inf)
            await asyncio.sleep(0.03)
        assert len(frames) == 1 + 40  # the hello, and the calls
        await asyncio.sleep(ACKNOWLEDGE_AFTER - 0.025)
        (session,) = one.acceptor._sessions.values()  # type: ignore[union-attr]
        assert len(frames) == 1 + 40 + 1
        assert not session.known
        await link.close()

    in_virtual_time(main)


# ---- what is awaited


def test_a_caller_raises_the_other_side_s_error() -> None:
    async def main() -> None:
        link = to(target()[0])
        with pytest.raises(ParadeError, match="it failed") as failed:
            await SessionCaller(link).call(SessionCall(function="fail"), 5)
        assert failed.value.metadata == {"exception_type": "ValueError"}
        await link.close()

    in_virtual_time(main)


def test_a_caller_ends_by_itself_soon_after_the_deadline() -> None:
    async def main() -> None:
        one, handler = target()
        link, loop = to(one), asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(ParadeError) as late:
            await SessionCaller(link).call(SessionCall(function="hold"), 1)
        assert late.value.reason is Reason.DEADLINE_EXCEEDED
        assert 1.04 <= loop.time() - begin <= 1.052
        await asyncio.sleep(0.01)
        assert handler.cancelled == [False]
        await link.close()

    in_virtual_time(main)


def test_cancelling_the_task_cancels_the_call() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        task = asyncio.create_task(SessionCaller(link).call(SessionCall(function="hold"), 60))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        assert task.cancelled()
        assert handler.cancelled == [False]
        await link.close()

    in_virtual_time(main)


def test_a_call_whose_session_was_lost_is_sent_again_under_its_id_to_another_target() -> None:
    async def main() -> None:
        (one, first), (two, second) = target(), target()
        link = to(one, two)
        task = asyncio.create_task(SessionCaller(link).call(SessionCall(function="hold"), 60))
        await asyncio.sleep(0.1)
        (lost, old), (_, new) = ((one, first), (two, second)) if first.held else ((two, second), (one, first))
        lost.acceptor = None
        lost.break_()
        await asyncio.sleep(1.5)
        new.held[0].answer(SessionResult(call_id="found"))
        assert (await task).call_id == "found"
        assert old.calls[0].options.call_id == new.calls[0].options.call_id
        assert not old.calls[0].options.redelivered
        assert new.calls[0].options.redelivered
        await link.close()

    in_virtual_time(main)


def test_redelivery_ends_after_ten_seconds() -> None:
    async def main() -> None:
        link, loop = to(MemoryTarget(None)), asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(ParadeError) as failed:
            await SessionCaller(link).call(SessionCall(), 60)
        assert failed.value.reason is Reason.UNAVAILABLE
        assert 8.5 < loop.time() - begin < 10.1
        await link.close()

    in_virtual_time(main)


def test_redelivery_never_goes_over_the_deadline() -> None:
    async def main() -> None:
        link, loop = to(MemoryTarget(None)), asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(ParadeError) as failed:
            await SessionCaller(link).call(SessionCall(), 2)
        assert failed.value.reason is Reason.DEADLINE_EXCEEDED
        assert loop.time() - begin < 2.06
        await link.close()

    in_virtual_time(main)


def test_a_stream_is_held_back_by_its_reader_and_ends_with_the_result() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        got: list[int] = []
        stream = SessionCaller(link).stream(SessionCall(function="count"), 600, window=1000)
        async for event in stream:
            if isinstance(event, SessionResult):
                break
            got.append(int(event.item.data))
            await asyncio.sleep(0.1)
            assert handler.told <= len(got) + 11
        assert got == list(range(100))
        await stream.aclose()
        await link.close()

    in_virtual_time(main)


def test_a_stream_that_is_left_is_cancelled() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        stream = SessionCaller(link).stream(SessionCall(function="count"), 600, window=1000)
        await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0.1)
        assert handler.cancelled == [False]
        assert link.outstanding == 0
        await link.close()

    in_virtual_time(main)


def test_a_stream_that_gave_an_item_is_not_sent_again() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        stream = SessionCaller(link).stream(SessionCall(function="count"), 600, window=1000)
        await anext(stream)
        one.acceptor = None
        one.break_()
        with pytest.raises(ParadeError) as failed:
            async for _ in stream:
                pass
        assert failed.value.reason is Reason.UNAVAILABLE
        assert len(handler.calls) == 1
        await link.close()

    in_virtual_time(main)


def test_ids_differ_and_fit_the_contract() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        caller = SessionCaller(link)
        await asyncio.gather(*(caller.call(SessionCall(), 5) for _ in range(100)))
        ids = {call.options.call_id for call in handler.calls}
        assert len(ids) == 100
        assert all(8 <= len(call_id) <= 64 for call_id in ids)
        await link.close()

    in_virtual_time(main)


def test_a_link_that_closes_without_cancelling_leaves_its_calls_as_a_process_does_that_is_killed() -> None:
    async def main() -> None:
        one, handler = target()
        link = to(one)
        receiver, _ = send(link, "hold")
        await asyncio.sleep(0.1)
        await link.close(cancel=False)
        assert handler.cancelled == []
        assert [end.sent for end in receiver.ends] == [True]
        await asyncio.sleep(KEPT + 0.1)
        assert handler.cancelled == [True]

    in_virtual_time(main)


def test_calls_hear_of_it_when_what_writes_their_session_fails() -> None:
    async def main() -> None:
        one, _ = target()
        link = to(one)
        held, _ = send(link, "hold")
        await asyncio.sleep(0.1)
        send(link, "echo", deadline="soon")  # type: ignore[arg-type]  # what no caller does, and no frame can be made of
        await asyncio.sleep(0.1)
        after, _ = send(link)
        await asyncio.sleep(0.1)
        await link.close()

        (lost,) = held.ends
        assert (lost.reason, lost.sent) == (Reason.INTERNAL, True)
        assert [type(end) for end in after.ends] == [SessionResult]

    in_virtual_time(main)
