"""Frames outside the protocol: each ends its own session, with a message that names the rule, and harms no other.

One file, though a long one: it is the table of the protocol's rules, read as a whole.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.v1.progress_pb2 import Progress
from parade.v1.session_pb2 import SessionCall as Call
from parade.v1.session_pb2 import SessionCredit as Credit
from parade.v1.session_pb2 import SessionEvent as Event
from parade.v1.session_pb2 import SessionFrame as Frame
from parade.v1.session_pb2 import SessionHello as Hello
from parade.v1.session_pb2 import SessionOutstanding as Outstanding
from parade.v1.session_pb2 import SessionResult as Result
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.limits import HELLO_TIMEOUT, MAX_FRAME_BYTES, MENTION_AFTER
from parade.wire.session.opener import LostError, Opener, Sent, Waiting
from tests.support.virtual_time import in_virtual_time

ID = "session-of-a-test"
GREETING = Frame(hello=Hello(session_id=ID))


class Handler:
    """Holds every call, and notices those whose opener goes away; a call of `now` is answered at once."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.gone: list[int] = []

    def begin(self, call: Call, exchange: Exchange) -> None:
        if call.function == "now":
            exchange.answer(Result())
            return
        if call.function == "fault":
            raise ValueError("the password is swordfish")
        self.exchanges.append(exchange)
        exchange.cancelled = lambda gone: self.gone.append(exchange.number) if gone else None


class Raw:
    """A stream to an acceptor, frame by frame."""

    def __init__(self, acceptor: Acceptor, caller: str = "client", *, refuse: ParadeError | None = None) -> None:
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._refusal = refuse
        self._responses = acceptor.serve(self._requests(), caller, self._admit)

    def _admit(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    async def _requests(self) -> AsyncIterator[Frame]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def say(self, *frames: Frame | None) -> None:
        for frame in frames:
            await self._frames.put(frame)

    async def hear(self) -> Frame:
        return Frame.FromString(await anext(self._responses))

    async def opened(self) -> "Raw":
        await self.say(GREETING)
        assert (await self.hear()).hello.session_id == ID
        return self

    async def close(self) -> None:
        await self._responses.aclose()


def called(*numbers: int, **fields: Any) -> Frame:
    return Frame(calls=[Call(number=number, **fields) for number in numbers])


async def failure_of(raw: Raw) -> ParadeError:
    try:
        while True:
            await raw.hear()
    except ParadeError as error:
        return error


FIRST = [
    (Frame(), "the first frame of a stream holds its hello"),
    (called(1), "the first frame of a stream holds its hello"),
    (Frame(hello=Hello(session_id=ID), calls=[Call(number=1)]), "the hello and nothing else, but it holds calls"),
    (Frame(hello=Hello(session_id="short")), "hello.session_id is 16 to 64"),
    (Frame(hello=Hello(session_id="a" * 65)), "hello.session_id is 16 to 64"),
    (Frame(hello=Hello(session_id="no spaces in here, please")), "hello.session_id is 16 to 64"),
    (Frame(hello=Hello(session_id=ID, max_calls=3)), "hello.max_calls is for the acceptor"),
    (Frame(hello=Hello(session_id=ID, outstanding=[Outstanding(number=1)])), "hello.outstanding is for a session that is resumed"),
    (Frame(hello=Hello(session_id=ID, resume=True, outstanding=[Outstanding(number=1), Outstanding(number=1)])), "names each call once"),
]


@pytest.mark.parametrize(("frame", "rule"), FIRST, ids=range(len(FIRST)))
def test_a_stream_begins_with_a_hello(frame: Frame, rule: str) -> None:
    async def main() -> None:
        raw = Raw(Acceptor(Handler()))
        await raw.say(frame)
        error = await failure_of(raw)
        assert error.reason is Reason.INVALID_ARGUMENTS
        assert rule in error.message

    in_virtual_time(main)


LATER = [
    ([GREETING], "only the first frame of a stream holds a hello"),
    ([Frame(results=[Result(number=1)])], "results come from the acceptor"),
    ([Frame(events=[Event(number=1)])], "events come from the acceptor"),
    ([Frame(drain=True)], "drain comes from the acceptor"),
    ([called(*range(2, 67))], "at most 64 calls, not 65"),
    ([called(2, 3, arguments=Value(data=b"x" * MAX_FRAME_BYTES))], "at most 262144 bytes unless one entry alone is larger"),
    ([Frame(acknowledged=range(1, 150_000))], "at most 262144 bytes"),
    ([called(2), called(2)], "numbers rise: call 2 came after call 2"),
    ([called(3), called(2)], "numbers rise: call 2 came after call 3"),
    ([called(0)], "numbers rise: call 0 came after call 1"),
    ([called(2, timeout=-1)], "call 2 has a timeout that is no time: -1"),
    ([called(2, timeout=float("nan"))], "call 2 has a timeout that is no time: nan"),
    ([called(2, timeout=float("inf"))], "call 2 has a timeout that is no time: inf"),
    ([called(2, 3, 4), called(5)], "at most 4 calls are outstanding at once"),
    ([Frame(cancels=[7])], "a cancel names call 7, and there is none"),
    ([Frame(credits=[Credit(number=7, bytes=1)])], "a credit names call 7, and there is none"),
    ([Frame(acknowledged=[7])], "an acknowledgement names call 7, and there is none"),
    ([Frame(acknowledged=[1])], "call 1 is acknowledged and has no result"),
]


@pytest.mark.parametrize(("frames", "rule"), LATER, ids=range(len(LATER)))
def test_a_frame_outside_the_protocol_ends_its_session_alone(frames: list[Frame], rule: str) -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler, max_calls=4)
        other = Raw(acceptor)
        await other.say(Frame(hello=Hello(session_id="another-session-of-it")), called(100))
        await other.hear()
        raw = await Raw(acceptor).opened()
        await raw.say(called(1), *frames)

        error = await failure_of(raw)

        assert error.reason is Reason.INVALID_ARGUMENTS
        assert rule in error.message
        assert 1 in handler.gone
        assert 100 not in handler.gone
        assert ID not in acceptor._sessions
        await asyncio.sleep(0.01)
        await other.say(called(101, function="now"))
        assert (await other.hear()).results[0].number == 101
        await other.close()

    in_virtual_time(main)


def test_what_is_late_is_passed_over() -> None:
    async def main() -> None:
        raw = await Raw(Acceptor(Handler())).opened()
        late = Frame(cancels=[1], credits=[Credit(number=1, bytes=5)])
        await raw.say(called(1, function="now"), late)
        assert (await raw.hear()).results[0].number == 1
        await raw.say(Frame(acknowledged=[1]), late, Frame(acknowledged=[1]), Frame(ping=9))
        assert (await raw.hear()).pong == 9
        await raw.close()

    in_virtual_time(main)


def test_one_entry_alone_may_be_larger_than_a_frame() -> None:
    async def main() -> None:
        handler = Handler()
        raw = await Raw(Acceptor(handler)).opened()
        await raw.say(called(1, arguments=Value(data=b"x" * 4 * MAX_FRAME_BYTES)), Frame(ping=1))
        assert (await raw.hear()).pong == 1
        assert len(handler.exchanges) == 1
        await raw.close()

    in_virtual_time(main)


def test_a_handler_that_fails_fails_its_call_alone_and_tells_no_secret() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        raw = await Raw(Acceptor(Handler())).opened()
        await raw.say(called(1, function="fault"), called(2, function="now"))
        results = [*(await raw.hear()).results]
        while len(results) < 2:
            results += (await raw.hear()).results
        assert [result.number for result in results] == [1, 2]
        assert "swordfish" not in str(results[0])
        assert results[0].HasField("error")
        await raw.close()

    in_virtual_time(main)


def test_a_stream_without_a_hello_is_not_kept() -> None:
    async def main() -> None:
        begin = asyncio.get_running_loop().time()
        error = await failure_of(Raw(Acceptor(Handler())))
        assert "the hello comes within 5 s" in error.message
        assert asyncio.get_running_loop().time() - begin == pytest.approx(HELLO_TIMEOUT)

    in_virtual_time(main)


@pytest.mark.parametrize(("caller", "resume"), [("somebody else", True), ("somebody else", False), ("client", False)])
def test_a_session_is_its_opener_s(caller: str, *, resume: bool) -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        raw = await Raw(acceptor).opened()
        await raw.say(called(1))
        await asyncio.sleep(0.01)

        thief = Raw(acceptor, caller)
        await thief.say(Frame(hello=Hello(session_id=ID, resume=resume)))
        assert "this one is in use" in (await failure_of(thief)).message

        handler.exchanges[0].answer(Result())
        assert (await raw.hear()).results[0].number == 1
        await raw.close()

    in_virtual_time(main)


def test_a_stream_that_resumes_takes_the_session_from_one_that_nobody_knew_to_be_broken() -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        old = await Raw(acceptor).opened()
        await old.say(called(1, 2, window=10))
        await asyncio.sleep(0.01)
        for exchange in handler.exchanges:
            exchange.answer(Result(call_id=f"{exchange.number}"))
        assert len((await old.hear()).results) == 2

        new = Raw(acceptor)
        await new.say(Frame(hello=Hello(session_id=ID, resume=True, outstanding=[Outstanding(number=2), Outstanding(number=3)])))
        hello = (await new.hear()).hello
        assert hello.resume
        assert [item.number for item in hello.outstanding] == [2]
        assert [result.number for result in (await new.hear()).results] == [2]
        with pytest.raises(StopAsyncIteration):
            await old.hear()
        await new.say(called(1))
        assert "numbers rise: call 1 came after call 3" in (await failure_of(new)).message

    in_virtual_time(main)


def test_a_broken_session_is_kept_for_a_while_and_what_it_runs_is_then_cancelled() -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        raw = await Raw(acceptor).opened()
        await raw.say(called(1))
        await asyncio.sleep(0.01)
        await raw.close()

        await asyncio.sleep(1.4)
        assert not handler.gone
        await asyncio.sleep(0.2)
        assert handler.gone == [1]
        handler.exchanges[0].answer(Result())
        assert not acceptor._sessions

    in_virtual_time(main)


def test_a_session_that_breaks_again_is_kept_as_long_as_the_first_time() -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        raw = await Raw(acceptor).opened()
        await raw.say(called(1))
        await asyncio.sleep(0.01)
        for _ in range(4):
            await raw.close()
            await asyncio.sleep(1)
            raw = Raw(acceptor)
            await raw.say(Frame(hello=Hello(session_id=ID, resume=True, outstanding=[Outstanding(number=1)])))
            assert (await raw.hear()).hello.resume
        await raw.close()

    in_virtual_time(main)


def test_a_handler_that_gives_more_items_than_there_is_room_for_fails_its_call_alone() -> None:
    async def main() -> None:
        handler = Handler()
        raw = await Raw(Acceptor(handler)).opened()
        await raw.say(called(1, window=10), called(2))
        await asyncio.sleep(0.01)
        for _ in range(3):
            handler.exchanges[0].tell(Event(item=Value(data=b"x" * 20)))
        handler.exchanges[1].answer(Result())
        frame = await raw.hear()
        assert len(frame.events) == 1
        assert [result.HasField("error") for result in frame.results] == [True, False]
        await raw.close()

    in_virtual_time(main)


def test_items_that_were_lost_on_the_way_lose_their_call() -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        raw = await Raw(acceptor).opened()
        await raw.say(called(1, 2, window=100))
        await asyncio.sleep(0.01)
        for exchange in handler.exchanges:
            exchange.tell(Event(item=Value(data=b"x" * 58)))
            assert exchange.window == 40
        assert len((await raw.hear()).events) == 2
        await raw.close()

        outstanding = [Outstanding(number=1, item_count=1, window=130), Outstanding(number=2, window=100)]
        again = Raw(acceptor)
        await again.say(Frame(hello=Hello(session_id=ID, resume=True, outstanding=outstanding)))
        assert [item.number for item in (await again.hear()).hello.outstanding] == [1]
        assert handler.gone == [2]
        assert handler.exchanges[0].window == 70
        await again.close()

    in_virtual_time(main)


def test_progress_that_nobody_has_read_gives_way_to_newer_progress() -> None:
    async def main() -> None:
        handler = Handler()
        raw = await Raw(Acceptor(handler)).opened()
        await raw.say(called(1, window=1000))
        await asyncio.sleep(0.01)
        exchange = handler.exchanges[0]
        for step in range(500):
            exchange.tell(Event(progress=Progress(fraction=step / 500)))
        exchange.tell(Event(item=Value(data=b"1")))
        exchange.tell(Event(progress=Progress(fraction=1)))
        exchange.answer(Result())
        frame = await raw.hear()
        assert [event.WhichOneof("event") for event in frame.events] == ["progress", "item", "progress"]
        assert frame.events[0].progress.fraction == 499 / 500
        assert len(frame.results) == 1
        await raw.close()

    in_virtual_time(main)


def test_what_matters_only_while_a_call_runs_is_told_late_or_with_something_else() -> None:
    async def main() -> None:
        handler = Handler()
        raw = await Raw(Acceptor(handler)).opened()
        await raw.say(called(1, 2, 3, window=1000))
        await asyncio.sleep(0.01)
        ends, talks, waits = handler.exchanges
        for exchange in handler.exchanges:
            exchange.mention(Event(instance_id="a").SerializeToString())
            exchange.mention(Event(instance_id="b").SerializeToString())

        ends.answer(Result())
        ends.mention(Event(instance_id="c").SerializeToString())
        talks.tell(Event(item=Value(data=b"1")))
        frame = await raw.hear()
        assert [result.number for result in frame.results] == [1]
        assert [(event.number, event.instance_id) for event in frame.events] == [(2, "b"), (2, "")]
        began = asyncio.get_running_loop().time()
        assert list((await raw.hear()).events) == [Event(number=3, instance_id="b")]
        assert MENTION_AFTER - 0.02 < asyncio.get_running_loop().time() - began < 2 * MENTION_AFTER + 0.02
        waits.mention(Event(instance_id="d").SerializeToString())
        assert list((await raw.hear()).events) == [Event(number=3, instance_id="d")]
        await raw.close()

    in_virtual_time(main)


def test_an_acceptor_that_drains_takes_no_new_session_and_lets_calls_end() -> None:
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler)
        raw = await Raw(acceptor).opened()
        await raw.say(called(1))
        await asyncio.sleep(0.01)
        draining = asyncio.create_task(acceptor.drain(10))
        assert (await raw.hear()).drain

        late = Raw(acceptor)
        await late.say(Frame(hello=Hello(session_id="another-session-of-it")))
        assert (await failure_of(late)).reason is Reason.UNAVAILABLE

        handler.exchanges[0].answer(Result())
        assert (await raw.hear()).results
        assert not draining.done()
        await raw.say(Frame(acknowledged=[1]))
        await draining
        await raw.close()

    in_virtual_time(main)


def test_who_may_no_longer_come_is_told_so() -> None:
    async def main() -> None:
        raw = Raw(Acceptor(Handler()), refuse=ParadeError(Reason.PERMISSION_DENIED, "revoked"))
        await raw.say(GREETING)
        assert (await failure_of(raw)).reason is Reason.PERMISSION_DENIED

    in_virtual_time(main)


class Receiver:
    """Notes what becomes of a call."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def answered(self, result: Result) -> None:
        self.heard.append(result)

    def told(self, event: Event) -> None:
        self.heard.append(event)

    def lost(self, error: LostError) -> None:
        self.heard.append(error)


FROM_ACCEPTOR = [
    (GREETING, "only the first frame of a stream holds a hello"),
    (called(1), "come from the opener"),
    (Frame(cancels=[1]), "come from the opener"),
    (Frame(credits=[Credit(number=1)]), "come from the opener"),
    (Frame(acknowledged=[1]), "come from the opener"),
    (Frame(results=[Result(number=2)]), "call 2 has a result and is not outstanding"),
    (Frame(results=[Result(number=1), Result(number=1)]), "call 1 has a result and is not outstanding"),
    (Frame(results=[Result(number=number) for number in range(65)]), "at most 64 results, not 65"),
    (Frame(events=[Event(number=number) for number in range(65)]), "at most 64 events, not 65"),
    (Frame(events=[Event(number=1)]), "an event of call 1 says nothing that is known"),
    (Frame(events=[Event(number=2, instance_id="a")]), "call 2 has an event and is not outstanding"),
    (Frame(events=[Event(number=1, item=Value(data=b"12345678")), Event(number=1, item=Value())]), "call 1 has an item and no room for it"),
    (Frame(results=[Result(number=1, result=Value(data=b"x" * MAX_FRAME_BYTES)), Result(number=1)] * 2), "at most 262144 bytes"),
]


@pytest.mark.parametrize(("frame", "rule"), FROM_ACCEPTOR, ids=range(len(FROM_ACCEPTOR)))
def test_an_opener_notices_an_acceptor_that_breaks_the_rules(frame: Frame, rule: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiting: Waiting = Waiting()
        opener = Opener(ID, waiting, loop, lambda: None, None)
        opener.greeted(Hello(session_id=ID, max_calls=10), resume=False)
        waiting[Sent(Call(window=10), Receiver(), float("inf"), waiting, loop)] = None
        opener.take()

        with pytest.raises(ParadeError, match=rule) as raised:
            opener.received(frame)
        assert raised.value.reason is Reason.INVALID_ARGUMENTS

    in_virtual_time(main)


@pytest.mark.parametrize(
    ("hello", "rule"),
    [
        (Hello(session_id="another-session-of-it", max_calls=1), "names the opener's session"),
        (Hello(session_id=ID), "max_calls is above 0"),
        (Hello(session_id=ID, max_calls=1, resume=True, outstanding=[Outstanding(number=5)]), "names calls of the opener's hello"),
    ],
)
def test_an_opener_notices_a_hello_that_breaks_the_rules(hello: Hello, rule: str) -> None:
    async def main() -> None:
        opener = Opener(ID, Waiting(), asyncio.get_running_loop(), lambda: None, None)
        with pytest.raises(ParadeError, match=rule):
            opener.greeted(hello, resume=True)

    in_virtual_time(main)


numbers = st.integers(0, 6)
frames = st.builds(
    Frame,
    hello=st.one_of(st.none(), st.none(), st.none(), st.builds(Hello, session_id=st.just(ID), resume=st.booleans())),
    calls=st.lists(
        st.builds(Call, number=numbers, function=st.sampled_from(["now", "hold"]), timeout=st.sampled_from([0, 5, -1]), window=numbers),
        max_size=3,
    ),
    results=st.lists(st.builds(Result, number=numbers), max_size=1),
    events=st.lists(st.builds(Event, number=numbers), max_size=1),
    cancels=st.lists(numbers, max_size=2),
    credits=st.lists(st.builds(Credit, number=numbers, bytes=numbers), max_size=2),
    acknowledged=st.lists(numbers, max_size=2),
    drain=st.booleans(),
    ping=numbers,
    pong=numbers,
)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(frames, max_size=8))
def test_whatever_arrives_nothing_worse_happens_than_the_end_of_its_session(greeted: bool, several: list[Frame]) -> None:  # noqa: FBT001
    async def main() -> None:
        handler = Handler()
        acceptor = Acceptor(handler, max_calls=4)
        other = Raw(acceptor)
        await other.say(Frame(hello=Hello(session_id="another-session-of-it")), called(100))
        await other.hear()
        raw = await Raw(acceptor).opened() if greeted else Raw(acceptor)
        await raw.say(*several, None)
        with suppress(StopAsyncIteration):
            error = await failure_of(raw)
            assert error.reason is Reason.INVALID_ARGUMENTS
            assert "rules are broken" in error.message
        await asyncio.sleep(2)

        assert set(acceptor._sessions) == {"another-session-of-it"}
        assert {exchange.number for exchange in handler.exchanges if not exchange.ended} == {100}
        assert 100 not in handler.gone
        await other.close()

    in_virtual_time(main)
