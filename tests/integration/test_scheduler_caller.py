"""How the scheduler calls a function by session: what it sends, and what it makes of what comes back."""

import asyncio
import gc
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpc_status import rpc_status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from parade.v1 import dispatcher_pb2_grpc, progress_pb2, session_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade.wire.session import delivery
from parade.wire.session.acceptor import Acceptor, Exchange
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.status import to_record, to_status
from parade.wire.tally_exporter import TallyExporter
from parade.wire.telemetry import Telemetry
from parade_chassis.clock import SystemClock
from parade_scheduler.calls.caller import MAX_SECONDS, DispatcherCaller, call_id
from parade_scheduler.calls.dispatch import Dispatches
from parade_scheduler.decider import Dispatch, Occurrence
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.model import Progress, Run
from tests.support.certificates import Authority
from tests.support.servers import free_port, serving
from tests.support.waiting import eventually
from tests.unit.scheduler.rights import every_right
from tests.unit.scheduler.simulation import START

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
RUN = Run(
    "run-1", "default", "flow", 1, Document(b"{}"), START, principal="spiffe://parade.local/ns/default/client/dev", trace_parent=PARENT
)
Answers = Callable[[session_pb2.SessionCall, Exchange], None]


def dispatch(*, attempt: int = 1, redelivered: bool = False, resumed: bool = False) -> Dispatch:
    return Dispatch("a", 0, attempt, "x.a", Document(b'{"n": 1}'), None, redelivered, resumed)


class FakeDispatcher(dispatcher_pb2_grpc.DispatcherServiceServicer):
    """Answers as the test says."""

    def __init__(self, answers: Answers) -> None:
        self.calls: list[session_pb2.SessionCall] = []
        self._answers = answers
        self._acceptor = Acceptor(self)

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        self.calls.append(call)
        self._answers(call, exchange)

    async def Session(self, frames: AsyncIterator[session_pb2.SessionFrame], context: Any) -> Any:
        try:
            async for frame in self._acceptor.serve(frames, "scheduler", lambda: None):
                yield session_pb2.SessionFrame.FromString(frame)
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))


@asynccontextmanager
async def calling(
    folder: Path, answers: Answers | None, *more: str, spans: InMemorySpanExporter | None = None
) -> AsyncIterator[tuple[DispatcherCaller, FakeDispatcher]]:
    """Gives a caller of a dispatcher that answers so; where there is no answer, of none."""
    authority = Authority(folder)
    dispatcher = FakeDispatcher(answers or (lambda _call, _exchange: None))  # type: ignore[abstract]  # no more is asked
    server, address = await serving(dispatcher, dispatcher_pb2_grpc, "DispatcherService", authority.source(Identity.service("dispatcher")))
    addresses = [*more, *([address] if answers else [])]
    channels = [authority.channel(one, Identity.service("scheduler"), "dispatcher") for one in addresses]
    link = Link(channels, DISPATCHER_SESSION)
    with Telemetry("scheduler", "s-1") as telemetry:
        if spans is not None:
            telemetry._spans.add_span_processor(SimpleSpanProcessor(spans))
            telemetry._tallies = TallyExporter(None, Resource({}), 3600)  # as where there is a collector
        yield DispatcherCaller(link, telemetry), dispatcher
    await link.close()
    for channel in channels:
        await channel.close()
    await server.stop(None)


class Heard:
    """What the caller says of one call."""

    def __init__(self) -> None:
        self.said: list[str | Progress | Document] = []
        self.over: asyncio.Future[Document] = asyncio.get_running_loop().create_future()

    def assigned(self, instance_id: str) -> None:
        self.said.append(instance_id)

    def progressed(self, progress: Progress) -> None:
        self.said.append(progress)

    def succeeded(self, output: Document) -> None:
        self.said.append(output)
        self.over.set_result(output)

    def failed(self, error: Exception) -> None:
        self.over.set_exception(error)


async def heard(caller: DispatcherCaller, dispatch: Dispatch, run: Run = RUN) -> list[str | Progress | Document]:
    listener = Heard()
    caller.call(run, dispatch, listener)
    async with asyncio.timeout(20):
        await listener.over
    return listener.said


async def refused(caller: DispatcherCaller, dispatch: Dispatch) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await heard(caller, dispatch)
    return raised.value


def ends(**outcome: Any) -> Answers:
    return lambda _, exchange: exchange.answer(session_pb2.SessionResult(**outcome))


def fails(error: ParadeError) -> Answers:
    return ends(error=to_record(error))


async def test_a_call_says_whom_and_which_step_it_is_for(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7"))) as (caller, dispatcher):
        answers = await heard(caller, dispatch())

    (call,) = dispatcher.calls
    assert answers == [Document(b"7")]
    assert (call.function, call.arguments.data, call.traceparent) == ("x.a", b'{"n": 1}', PARENT)
    assert (call.origin.namespace, call.origin.principal, call.origin.run_id, call.origin.step) == ("default", RUN.principal, "run-1", "a")
    assert not call.step_redelivered
    assert not call.options.redelivered


async def test_an_attempt_made_again_is_the_same_call_and_a_later_one_is_not(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7"))) as (caller, dispatcher):
        for one in (dispatch(), dispatch(redelivered=True, resumed=True), dispatch(attempt=2, redelivered=True)):
            await heard(caller, one)

    first, again, next_attempt = dispatcher.calls
    assert (again.step_redelivered, again.options.redelivered) == (True, True)
    assert (next_attempt.step_redelivered, next_attempt.options.redelivered) == (True, False)
    assert first.options.call_id == again.options.call_id == call_id("run-1", dispatch())
    assert next_attempt.options.call_id != first.options.call_id
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", first.options.call_id)


async def test_items_of_an_instance_that_was_replaced_are_forgotten(tmp_path: Path) -> None:
    def answers(_: session_pb2.SessionCall, exchange: Exchange) -> None:
        for event in ({"instance_id": "i-1"}, {"item": value_pb2.Value(data=b"1")}, {"instance_id": "i-2"}):
            exchange.tell(session_pb2.SessionEvent(**event))
        for item in (b"2", b"3"):
            exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=item)))
        exchange.answer(session_pb2.SessionResult())

    async with calling(tmp_path, answers) as (caller, _):
        told = await heard(caller, dispatch())

    assert told == ["i-1", "i-2", Document(b"[2,3]")]


async def test_what_the_dispatcher_could_not_do_was_not_sent(tmp_path: Path) -> None:
    async with calling(tmp_path, fails(ParadeError(Reason.UNAVAILABLE, "no picture yet"))) as (caller, _):
        first = await refused(caller, dispatch())
        again = await refused(caller, dispatch(redelivered=True, resumed=True))

    assert (first.reason, first.metadata.get(NOT_SENT)) == (Reason.UNAVAILABLE, "true")
    assert NOT_SENT not in again.metadata


async def test_a_failure_is_the_dispatchers_own_word(tmp_path: Path) -> None:
    async with calling(tmp_path, fails(ParadeError(Reason.AGENT_ERROR, "no such row", metadata={"line": "7"}))) as (caller, _):
        error = await refused(caller, dispatch())

    assert (error.reason, error.message, error.metadata) == (Reason.AGENT_ERROR, "no such row", {"line": "7"})


async def test_an_artifact_is_too_large_for_a_run(tmp_path: Path) -> None:
    artifact = value_pb2.ArtifactReference(digest="sha256:" + "0" * 64, size=8 * 2**20)

    async with calling(tmp_path, ends(result=value_pb2.Value(artifact=artifact))) as (caller, _):
        error = await refused(caller, dispatch())

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert "8.0 MiB" in error.message


async def test_where_nobody_listens_nothing_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "REDELIVERY", 0.2)

    async with calling(tmp_path, None, f"127.0.0.1:{free_port()}") as (caller, _):
        error = await refused(caller, dispatch())

    assert (error.reason, error.metadata.get(NOT_SENT)) == (Reason.UNAVAILABLE, "true")


async def test_one_dispatcher_of_two_is_enough(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7")), f"127.0.0.1:{free_port()}") as (caller, _):
        answers = await heard(caller, dispatch())

    assert answers == [Document(b"7")]


async def test_a_link_that_is_closed_calls_nobody(tmp_path: Path) -> None:
    async with calling(tmp_path, ends()) as (caller, dispatcher):
        await caller.leave()
        error = await refused(caller, dispatch())

    assert (error.reason, error.metadata.get(NOT_SENT)) == (Reason.UNAVAILABLE, "true")
    assert dispatcher.calls == []


async def test_a_call_that_is_cancelled_is_cancelled_at_the_dispatcher_and_heard_of_no_more(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    def answers(_: session_pb2.SessionCall, exchange: Exchange) -> None:
        def stop(gone: bool) -> None:  # noqa: FBT001  # as a handler's callback is
            cancelled.append(gone)
            exchange.answer(session_pb2.SessionResult(result=value_pb2.Value(data=b"7")))

        exchange.cancelled = stop
        exchange.tell(session_pb2.SessionEvent(instance_id="i-1"))

    async with calling(tmp_path, answers) as (caller, _):
        listener = Heard()
        call = caller.call(RUN, dispatch(), listener)
        await eventually(lambda: listener.said == ["i-1"])
        call.cancel()
        await eventually(lambda: cancelled == [False])
        # What was on its way before has arrived once this has, for frames keep their order.
        caller.call(RUN, dispatch(attempt=2), later := Heard())
        await eventually(lambda: later.said == ["i-1"])

    assert listener.said == ["i-1"]
    assert not listener.over.done()


async def test_a_call_takes_no_longer_than_its_step_may(tmp_path: Path) -> None:
    def answers(call: session_pb2.SessionCall, exchange: Exchange) -> None:
        if call.timeout > 1:
            exchange.answer(session_pb2.SessionResult(result=value_pb2.Value(data=b"7")))

    async with calling(tmp_path, answers) as (caller, dispatcher):
        await heard(caller, dispatch())  # so that the session is open
        error = await refused(caller, replace(dispatch(), timeout=0.5))

    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert MAX_SECONDS - 20 < dispatcher.calls[0].timeout <= MAX_SECONDS
    assert 0 < dispatcher.calls[1].timeout <= 0.5


async def test_progress_that_is_no_number_is_not_known(tmp_path: Path) -> None:
    def answers(_: session_pb2.SessionCall, exchange: Exchange) -> None:
        exchange.tell(session_pb2.SessionEvent(progress=progress_pb2.Progress(fraction=math.nan, message="on it")))
        exchange.answer(session_pb2.SessionResult(result=value_pb2.Value(data=b"7")))

    async with calling(tmp_path, answers) as (caller, _):
        told = await heard(caller, dispatch())

    assert told == [Progress(-1.0, "on it"), Document(b"7")]


def streams(count: int, item: bytes, cancelled: Callable[[bool], None] | None = None) -> Answers:
    """Gives so many items, as there is room for them, and says whether it was cancelled."""

    def answers(_: session_pb2.SessionCall, exchange: Exchange) -> None:
        left = count

        def give() -> None:
            nonlocal left
            while left and exchange.window > 0 and not exchange.ended:
                left -= 1
                exchange.tell(session_pb2.SessionEvent(item=value_pb2.Value(data=item)))
            if not left:
                exchange.answer(session_pb2.SessionResult())

        exchange.credited = give
        exchange.cancelled = cancelled
        give()

    return answers


async def test_more_items_than_are_on_their_way_at_once_come_whole(tmp_path: Path) -> None:
    item = b'"' + b"x" * 10_000 + b'"'

    async with calling(tmp_path, streams(100, item)) as (caller, _):
        (output,) = await heard(caller, dispatch())

    assert output == Document(b"[" + b",".join([item] * 100) + b"]")


async def test_items_that_are_too_large_together_end_the_call(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    async with calling(tmp_path, streams(100, b'"' + b"x" * 50_000 + b'"', cancelled.append)) as (caller, _):
        error = await refused(caller, dispatch())
        await eventually(lambda: cancelled == [False])

    assert (error.reason, error.message) == (Reason.INVALID_ARGUMENTS, "the function's items together are larger than 4 MiB")


async def test_a_function_that_gives_no_items_gives_an_empty_list(tmp_path: Path) -> None:
    async with calling(tmp_path, streams(0, b"")) as (caller, _):
        told = await heard(caller, dispatch())

    assert told == [Document(b"[]")]


async def test_a_call_of_a_trace_that_is_recorded_has_a_span_and_is_told_of_it(tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    recorded = replace(RUN, trace_parent=PARENT[:-1] + "1")

    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7")), spans=spans) as (caller, dispatcher):
        await heard(caller, dispatch(), recorded)
        await heard(caller, dispatch())

    (span,) = spans.get_finished_spans()
    assert (span.name, f"{span.context.trace_id:032x}") == ("step a", PARENT.split("-")[1])
    assert dict(span.attributes or {}) == {
        "parade.namespace": "default",
        "parade.run": "run-1",
        "parade.step": "a",
        "parade.task": 0,
        "parade.attempt": 1,
    }
    assert [call.traceparent.split("-")[2] for call in dispatcher.calls] == [f"{span.context.span_id:016x}", PARENT.split("-")[2]]


@pytest.mark.parametrize("sampled", ["0", "1"])
async def test_a_call_that_failed_has_a_span_in_any_case(tmp_path: Path, sampled: str) -> None:
    spans = InMemorySpanExporter()
    answers = fails(ParadeError(Reason.AGENT_ERROR, "no such row"))

    async with calling(tmp_path, answers, spans=spans) as (caller, _):
        with pytest.raises(ParadeError):
            await heard(caller, dispatch(), replace(RUN, trace_parent=PARENT[:-1] + sampled))

    (span,) = spans.get_finished_spans()
    assert (span.name, span.status.description) == ("step a", "no such row")
    assert dict(span.attributes or {})["parade.run"] == "run-1"
    assert dict(span.attributes or {})["parade.reason"] == "AGENT_ERROR"


def alive() -> int:
    """Returns how many attempts and calls there are in memory."""
    return sum(type(one).__name__ in ("_Attempt", "_Call") for one in gc.get_objects())


async def test_a_call_that_is_over_is_freed_at_once(tmp_path: Path) -> None:
    async with calling(tmp_path, ends(result=value_pb2.Value(data=b"7"))) as (caller, _):
        outcomes: list[Occurrence] = []
        dispatches = Dispatches(caller, lambda _, outcome: outcomes.append(outcome), SystemClock(), Log(), 100, every_right())
        gc.collect()
        before = alive()
        gc.disable()
        try:
            for attempt in range(1, 4):
                dispatches.start(RUN, dispatch(attempt=attempt))
            assert alive() == before + 6
            # asyncio may let go of the last frame in its next turns only.
            await eventually(lambda: len(outcomes) == 3 and alive() == before)
        finally:
            gc.enable()
