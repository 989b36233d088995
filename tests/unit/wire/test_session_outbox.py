"""When frames leave, and how much each holds."""

import asyncio
import math
from collections import OrderedDict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parade.v1.session_pb2 import SessionCall, SessionFrame
from parade.wire.session.accepted import Accepted, Exchange
from parade.wire.session.frames import CALL, EVENT, RESULT, FrameBuilder, varint
from parade.wire.session.limits import FULL_FRAME, GAP, MAX_FRAME_BYTES, REQUEST_GAP
from parade.wire.session.opener import NOBODY, Opener, Sent, Waiting
from parade.wire.session.outbox import CALLS, REQUESTS, Outbox, Pace
from tests.support.virtual_time import in_virtual_time


class Writer:
    """Writes what was put, and notes when it left."""

    def __init__(self, takes: float = 0.0, pace: Pace = CALLS) -> None:
        self.loop = asyncio.get_running_loop()
        self.begin = self.loop.time()
        self.waiting = 0
        self.under_way = 1
        self.takes = takes
        self.frames: list[tuple[float, int]] = []
        self.outbox = Outbox(lambda: self.waiting, lambda: self.under_way, self.loop, pace)
        self.task = asyncio.create_task(self.write())

    def put(self, count: int = 1) -> None:
        self.waiting += count
        self.outbox.wake()

    async def write(self) -> None:
        while await self.outbox.due():
            count, self.waiting = self.waiting, 0
            if count:
                self.outbox.left(count)
                self.frames.append((round(self.loop.time() - self.begin, 6), count))
                await asyncio.sleep(self.takes)


class Answering:
    """Answers every call at once."""

    def begin(self, call: SessionCall, exchange: Exchange) -> None:
        exchange.answer(b"")


def test_one_at_a_time_leaves_at_once() -> None:
    async def main() -> None:
        writer = Writer()
        for _ in range(5):
            writer.put()
            await asyncio.sleep(0.0001)
        assert writer.frames == [(round(0.0001 * turn, 6), 1) for turn in range(5)]
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_what_comes_in_one_turn_of_the_loop_travels_together() -> None:
    async def main() -> None:
        writer = Writer()
        await asyncio.sleep(0)
        for _ in range(5):
            writer.put()
        await asyncio.sleep(0.0001)
        assert writer.frames == [(0, 5)]
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_under_load_frames_leave_a_gap_apart() -> None:
    async def main() -> None:
        writer = Writer()
        writer.put(2)
        for _ in range(100):
            await asyncio.sleep(GAP / 10)
            writer.put()
        await asyncio.sleep(0.01)
        times = [when for when, _ in writer.frames]
        assert all(later - earlier > GAP * 0.999 for earlier, later in pairwise(times))
        assert sum(count for _, count in writer.frames) == 102
        assert len(writer.frames) < 14
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_requests_of_services_leave_a_gap_apart_one_by_one_too() -> None:
    async def main() -> None:
        writer = Writer(pace=REQUESTS)
        for _ in range(4):
            writer.put()
            await asyncio.sleep(REQUEST_GAP / 3)
        await asyncio.sleep(0.01)
        writer.under_way = 0
        for _ in range(2):
            writer.put()
            await asyncio.sleep(REQUEST_GAP / 3)
        assert [count for _, count in writer.frames] == [1, 3, 1, 1]
        assert writer.frames[1][0] - writer.frames[0][0] == pytest.approx(REQUEST_GAP)
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_nothing_is_waited_for_where_nothing_more_can_come() -> None:
    async def main() -> None:
        writer = Writer()
        writer.put(64)
        await asyncio.sleep(0.0001)
        writer.put(64)
        await asyncio.sleep(0.0001)
        writer.under_way = 0
        writer.put(2)
        await asyncio.sleep(0.0001)
        assert writer.frames == [(0, 64), (0.0001, 64), (0.0002, 2)]
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_one_write_is_under_way_at_a_time() -> None:
    async def main() -> None:
        writer = Writer(takes=0.55)
        for _ in range(10):
            writer.put()
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert writer.frames == [(0, 1), (0.55, 5), (1.1, 4)]
        writer.outbox.close()
        await writer.task

    in_virtual_time(main)


def test_a_closed_outbox_lets_its_writer_go_even_within_a_gap() -> None:
    async def main() -> None:
        writer = Writer()
        writer.put(2)
        await asyncio.sleep(0.0001)
        writer.put(2)
        await asyncio.sleep(0.0001)
        writer.outbox.close()
        await writer.task
        assert writer.frames == [(0, 2)]

    in_virtual_time(main)


@given(st.lists(st.integers(0, 3 * MAX_FRAME_BYTES // 2) | st.integers(0, 9000), max_size=200))
def test_a_frame_keeps_to_its_limits_and_can_be_read(sizes: list[int]) -> None:
    entries = [SessionCall(number=number, function="x" * size).SerializeToString() for number, size in enumerate(sizes, 1)]
    frames, builder = [], FrameBuilder()
    for entry in entries:
        if not builder.add(CALL, entry):
            frames.append(builder.encoded())
            builder = FrameBuilder()
            assert builder.add(CALL, entry)
    frames.append(builder.encoded())

    read = [SessionFrame.FromString(frame) for frame in frames]

    assert [call.number for frame in read for call in frame.calls] == list(range(1, len(sizes) + 1))
    for frame in read:
        assert len(frame.calls) <= FULL_FRAME
        assert frame.ByteSize() <= MAX_FRAME_BYTES or len(frame.calls) == 1


def test_each_kind_of_entry_has_its_own_limit() -> None:
    builder = FrameBuilder(SessionFrame(ping=7).SerializeToString())
    for kind in (RESULT, EVENT):
        assert all(builder.add(kind, b"\x08\x01") for _ in range(FULL_FRAME))
        assert not builder.add(kind, b"\x08\x01")
    frame = SessionFrame.FromString(builder.encoded())
    assert (len(frame.results), len(frame.events), frame.ping) == (FULL_FRAME, FULL_FRAME, 7)
    assert builder.entries == 2 * FULL_FRAME


@pytest.mark.parametrize(
    ("waiting", "frames"),
    [(32, [32]), (33, [33]), (48, [48]), (49, [32, 17]), (64, [32, 32]), (65, [32, 33]), (100, [32, 32, 36])],
)
def test_a_full_frame_takes_along_the_few_that_are_left_and_leaves_many(waiting: int, frames: list[int]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: Waiting = OrderedDict()
        opener = Opener("o" * 16, calls, loop, lambda: None, None)
        opener.max_calls = 1000
        acceptor = Accepted("a" * 16, "client", Answering(), 1000, loop)
        for _ in range(waiting):
            calls[Sent(b"", NOBODY, math.inf, calls, loop)] = None
        sent = []
        while (frame := opener.take())[1]:
            sent.append(frame[1])
            acceptor.received(SessionFrame.FromString(frame[0]))
        answered = []
        while (frame := acceptor.take())[1]:
            answered.append(frame[1])
            opener.received(SessionFrame.FromString(frame[0]))

        assert sent == answered == frames
        assert not opener.calls

    in_virtual_time(main)


@given(st.integers(0, 2**64 - 1) | st.sampled_from([1023, 1024, 131_071, 131_072]))
def test_whole_numbers_are_encoded_as_the_contract_has_them(number: int) -> None:
    assert SessionFrame.FromString(b"\x48" + varint(number)).ping == number
