"""Calls as they run: places, deadlines, cancellation, streams, spans; without a connection.

One file, though a long one: it follows one call at an agent through every way that it can run and end.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import parade
from parade.artifact import Artifact, Content
from parade.function import Effect, Function
from parade.hosting.capacity import Capacity
from parade.hosting.executor import Executor
from parade.hosting.host import Artifacts, Host
from parade.hosting.observer import Observer
from parade.v1 import session_pb2, value_pb2
from parade.wire.deadlines import Deadlines
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry
from tests.support.exchange import KeepingExchange, settled
from tests.support.waiting import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

_NUMBERS = itertools.count(1)


class Bench:
    """An executor and the spans that it leaves."""

    def __init__(
        self, telemetry: Telemetry, spans: InMemorySpanExporter, functions: dict[str, Function], artifacts: Artifacts | None
    ) -> None:
        self.spans = spans
        self.capacity = Capacity(2)
        log = Log(level="error")
        self.host = Host("tested", self.capacity, Deadlines(), Observer(telemetry, log), log, None, artifacts)
        self.executor = Executor(functions, self.host)

    def begin(self, function: str, arguments: Any = None, *, window: int = 0, **fields: Any) -> KeepingExchange:
        run_id = fields.pop("run_id", "run-1")
        call_id = fields.pop("call_id", "") or f"call-{next(_NUMBERS):04}"
        call = session_pb2.SessionCall(function=f"tested.{function}", window=window, **{"timeout": 5, **fields})
        call.arguments.data = orjson.dumps({} if arguments is None else arguments)
        call.options.call_id = call_id
        call.origin.principal = "spiffe://p"
        call.origin.run_id = run_id
        call.origin.step = "step-1" if run_id else ""
        exchange = KeepingExchange(window)
        self.executor.begin(call, exchange)
        return exchange

    def span(self) -> ReadableSpan:
        (span,) = self.spans.get_finished_spans()
        return span

    async def idle(self) -> None:
        await eventually(lambda: self.capacity.in_flight == 0)


Making = Callable[..., Bench]


@pytest.fixture
async def make() -> AsyncIterator[Making]:
    made: list[Bench] = []
    with Telemetry("tested", "i1") as telemetry:
        spans = InMemorySpanExporter()
        telemetry._spans.add_span_processor(SimpleSpanProcessor(spans))

        def making(*handlers: Callable[..., Any], effect: Effect = "pure", artifacts: Artifacts | None = None) -> Bench:
            functions = {function.name: function for function in (Function.of(handler, effect=effect) for handler in handlers)}
            made.append(Bench(telemetry, spans, functions, artifacts))
            return made[-1]

        yield making
        for bench in made:
            await bench.executor.close()


# ------------------------------------------------------------------------------------------------------------- outcomes


async def test_a_call_answers_with_its_result_and_where_its_time_went(make: Making) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0.05)
        return 2 * number

    result = await make(double).begin("double", {"number": 21}).result()

    assert result.result.data == b"42"
    assert 50_000 <= result.executing_us < 5_000_000
    assert result.queued_us < 5_000_000


@pytest.mark.parametrize(
    ("function", "arguments", "fields", "reason"),
    [
        ("nothing", None, {}, Reason.UNKNOWN_FUNCTION),
        ("double", {"number": "x"}, {}, Reason.INVALID_ARGUMENTS),
        ("several", None, {}, Reason.INVALID_ARGUMENTS),
        ("double", {"number": 1}, {"attach": True}, Reason.NOT_FOUND),
    ],
    ids=["unknown", "arguments", "stream nobody reads", "attach"],
)
async def test_what_cannot_run_is_answered_at_once(
    make: Making, function: str, arguments: Any, fields: dict[str, Any], reason: Reason
) -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def several() -> AsyncIterator[int]:
        yield 1

    bench = make(double, several)
    exchange = bench.begin(function, arguments, **fields)

    assert (await exchange.error()).reason is reason
    assert bench.capacity.in_flight == 0


async def test_another_agents_function_is_unknown(make: Making) -> None:
    async def double(number: int) -> int:
        return 2 * number

    bench, exchange = make(double), KeepingExchange()

    bench.executor.begin(session_pb2.SessionCall(function="other.double"), exchange)

    assert (await exchange.error()).reason is Reason.UNKNOWN_FUNCTION


async def test_a_full_instance_and_one_that_leaves_refuse(make: Making) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    bench = make(wait)
    running = [bench.begin("wait") for _ in range(2)]

    full = await bench.begin("wait").error()
    bench.capacity.draining = True
    leaving = await bench.begin("wait").error()

    assert (full.reason, full.retryable) == (leaving.reason, leaving.retryable) == (Reason.NO_CAPACITY, True)
    for exchange in running:
        exchange.cancel()
    await bench.idle()


async def test_a_function_that_cancels_itself_has_failed(make: Making) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    error = await make(give_up).begin("give_up").error()

    assert (error.reason, error.metadata["exception_type"]) == (Reason.AGENT_ERROR, "CancelledError")


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [(ConnectionError, True), (TimeoutError, True), (RuntimeError, True), (OSError, True), (ValueError, False), (KeyError, False)],
)
async def test_what_is_no_mistake_may_be_tried_again(make: Making, kind: type[Exception], *, retryable: bool) -> None:
    def reach() -> None:
        raise kind("x")

    error = await make(reach).begin("reach").error()

    assert (error.reason, error.retryable) == (Reason.AGENT_ERROR, retryable)


async def test_the_failure_of_a_nested_call_is_the_functions_own(make: Making) -> None:
    async def ask() -> None:
        raise ParadeError(Reason.UNKNOWN_FUNCTION, "no such function")

    error = await make(ask).begin("ask").error()

    assert (error.reason, error.metadata["cause"]) == (Reason.AGENT_ERROR, "UNKNOWN_FUNCTION")


async def test_threads_run_beside_each_other_and_none_blocks_the_loop(make: Making) -> None:
    meeting = threading.Barrier(2, timeout=5)

    def meet() -> int:
        return meeting.wait()

    bench = make(meet)
    both = [bench.begin("meet"), bench.begin("meet")]

    assert sorted([await one.value() for one in both]) == [0, 1]


async def test_a_context_is_told_whom_the_call_is_for(make: Making) -> None:
    seen: list[parade.Context] = []

    async def look(about: parade.Context | None = None) -> None:
        if about is not None:
            seen.append(about)

    await make(look).begin("look").result()

    assert (seen[0].function, seen[0].principal, seen[0].run_id) == ("tested.look", "spiffe://p", "run-1")
    assert 4 < (seen[0].remaining() or 0) <= 5


# ---------------------------------------------------------------------------------------------- deadline and cancellation


async def test_a_coroutine_is_cancelled_at_its_deadline(make: Making) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = make(wait)
    exchange = bench.begin("wait", timeout=0.05)
    error = await exchange.error()

    assert (error.reason, error.metadata["cancellation"]) == (Reason.DEADLINE_EXCEEDED, "STOPPED")
    assert ended.is_set()
    assert bench.capacity.in_flight == 0


async def test_who_asks_for_events_is_told_at_once_that_the_cancellation_is_known(make: Making) -> None:
    began = asyncio.Event()

    async def slow_to_end() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)

    exchange = make(slow_to_end).begin("slow_to_end", window=1000)
    await began.wait()

    exchange.cancel()

    assert exchange.cancellations == ["ACKNOWLEDGED"]
    assert not exchange.results
    error = await exchange.error()
    assert (error.reason, error.metadata["cancellation"]) == (Reason.CANCELLED, "STOPPED")


async def test_a_stream_that_is_cancelled_before_its_first_step_never_runs(make: Making) -> None:
    ran: list[int] = []

    async def run() -> AsyncIterator[int]:
        ran.append(1)
        yield 1

    bench = make(run)
    exchange = bench.begin("run", window=1000, traceparent=TRACEPARENT)
    exchange.cancel()
    await settled()

    assert (await exchange.error()).metadata["cancellation"] == "STOPPED"
    assert (ran, bench.capacity.in_flight) == ([], 0)


async def test_recorded_calls_of_one_turn_end_in_it_and_share_no_task(make: Making) -> None:
    tasks: set[object] = set()
    spans: set[int] = set()

    async def run() -> str:
        tasks.add(asyncio.current_task())
        spans.add(trace.get_current_span().get_span_context().span_id)
        return "done"

    bench = make(run)
    exchanges = [bench.begin("run", traceparent=TRACEPARENT) for _ in range(3)]

    assert [exchange.results[0].result.data for exchange in exchanges] == [b'"done"'] * 3
    assert (len(tasks), len(spans)) == (3, 3)
    assert not trace.get_current_span().get_span_context().is_valid


async def test_what_a_cancelled_function_still_returns_is_dropped(make: Making) -> None:
    began = asyncio.Event()

    async def persist() -> str:
        began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "late"

    exchange = make(persist).begin("persist")
    await began.wait()
    exchange.cancel()

    error = await exchange.error()
    assert (error.reason, error.metadata["cancellation"]) == (Reason.CANCELLED, "STOPPED")


@pytest.mark.parametrize("ending", ["deadline", "cancel"])
async def test_a_function_that_ignores_its_cancellation_still_ends_for_its_caller(make: Making, ending: str) -> None:
    began, stop = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        began.set()
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    bench = make(stubborn)
    exchange = bench.begin("stubborn", timeout=0.05 if ending == "deadline" else 5)
    await began.wait()
    if ending == "cancel":
        exchange.cancel()
    error = await exchange.error()

    assert error.reason is (Reason.DEADLINE_EXCEEDED if ending == "deadline" else Reason.CANCELLED)
    assert error.metadata["cancellation"] == "COULD_NOT_STOP"
    assert bench.capacity.in_flight == 1  # it holds its place as long as it runs
    stop.set()
    await bench.idle()
    assert len(exchange.results) == 1


@pytest.mark.parametrize("ending", ["deadline", "cancel"])
async def test_a_thread_that_runs_on_is_said_at_once_and_keeps_its_place(make: Making, ending: str) -> None:
    began, finish = threading.Event(), threading.Event()

    def block() -> str:
        began.set()
        finish.wait(10)
        return "late"

    bench = make(block)
    exchange = bench.begin("block", timeout=0.1 if ending == "deadline" else 5)
    await eventually(began.is_set)
    if ending == "cancel":
        exchange.cancel()
        assert exchange.results
    error = await exchange.error()

    assert error.metadata["cancellation"] == "COULD_NOT_STOP"
    assert bench.capacity.in_flight == 1
    finish.set()
    await bench.idle()
    assert len(exchange.results) == 1


async def test_a_deadline_holds_for_a_call_that_is_shorter_than_a_slot_of_the_wheel(make: Making) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    error = await make(wait).begin("wait", timeout=0.001).error()

    assert error.reason is Reason.DEADLINE_EXCEEDED


async def test_the_end_of_the_instance_cancels_what_runs(make: Making) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = make(wait)
    exchange = bench.begin("wait")
    await settled()

    await bench.executor.close()

    assert ended.is_set()
    assert (await exchange.error()).reason is Reason.CANCELLED


# ---------------------------------------------------------------------------------------------------------- kept results


async def test_an_effect_runs_on_when_its_caller_goes_away_and_is_found_again(make: Making) -> None:
    finish, ran = asyncio.Event(), []

    async def pay() -> str:
        ran.append(1)
        await finish.wait()
        return "paid"

    bench = make(pay, effect="effect")
    gone = bench.begin("pay", call_id="payment-1")
    await settled()
    gone.cancel(gone=True)
    joined = bench.begin("pay", call_id="payment-1", attach=True)
    finish.set()

    assert await joined.value() == "paid"
    assert await bench.begin("pay", call_id="payment-1", attach=True).value() == "paid"
    assert (ran, gone.results, bench.capacity.in_flight) == ([1], [], 0)


async def test_an_effect_whose_caller_went_away_still_ends_at_its_deadline(make: Making) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    bench = make(wait, effect="effect")
    bench.begin("wait", call_id="payment-1", timeout=0.2).cancel(gone=True)
    await bench.idle()

    error = await bench.begin("wait", call_id="payment-1", attach=True).error()
    assert (error.reason, error.metadata["cancellation"]) == (Reason.DEADLINE_EXCEEDED, "STOPPED")


@pytest.mark.parametrize("effect", ["pure", "idempotent"])
async def test_what_may_be_repeated_ends_with_its_caller(make: Making, effect: Effect) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    bench = make(wait, effect=effect)
    exchange = bench.begin("wait", call_id="looking-1")
    await settled()

    exchange.cancel(gone=True)

    await ended.wait()
    await bench.idle()
    assert (await bench.begin("wait", call_id="looking-1", attach=True).error()).reason is Reason.NOT_FOUND


async def test_a_second_call_with_the_id_of_an_effect_joins_the_first(make: Making) -> None:
    ran, finish = [], asyncio.Event()

    async def pay() -> int:
        ran.append(1)
        await finish.wait()
        return len(ran)

    bench = make(pay, effect="effect")
    first, second = (bench.begin("pay", call_id="payment-1") for _ in range(2))
    finish.set()

    assert [await first.value(), await second.value(), await bench.begin("pay", call_id="payment-1").value()] == [1, 1, 1]


async def test_one_of_two_callers_may_go_away(make: Making) -> None:
    finish = asyncio.Event()

    async def pay() -> str:
        await finish.wait()
        return "paid"

    bench = make(pay, effect="effect")
    first, second = (bench.begin("pay", call_id="payment-1") for _ in range(2))
    first.cancel(gone=True)
    third = bench.begin("pay", call_id="payment-1", attach=True)
    third.cancel(gone=True)
    finish.set()

    assert await second.value() == "paid"
    assert (first.results, third.results) == ([], [])


@pytest.mark.parametrize("window", [0, 1_000_000], ids=["result alone", "items too"])
async def test_who_joins_a_stream_hears_its_end_and_the_items_that_are_left_where_they_ask_for_them(make: Making, window: int) -> None:
    finish = asyncio.Event()

    async def print_pages() -> AsyncIterator[int]:
        yield 1
        await finish.wait()
        yield 2

    bench = make(print_pages, effect="effect")
    first = bench.begin("print_pages", call_id="print-1", window=1000)
    await eventually(lambda: first.items == [1])
    first.cancel(gone=True)
    joined = bench.begin("print_pages", call_id="print-1", window=window, attach=True)
    finish.set()

    assert await joined.value() is None
    assert joined.items == ([2] if window else [])
    await bench.idle()


# --------------------------------------------------------------------------------------------------------------- streams


def items_of(size: int) -> int:
    """Returns the window that so many of the tests' items fill."""
    return size * value_pb2.Value(data=b'"%s"' % (b"x" * 100)).ByteSize()


def streaming(kind: str, given: list[int], ended: threading.Event) -> Callable[..., Any]:
    async def flow(to: int) -> AsyncIterator[str]:
        try:
            for number in range(to):
                given.append(number)
                yield "x" * 100
        finally:
            ended.set()

    def threaded(to: int) -> Iterator[str]:
        try:
            for number in range(to):
                given.append(number)
                yield "x" * 100
        finally:
            ended.set()

    threaded.__name__ = threaded.__qualname__ = "flow"
    return flow if kind == "coroutine" else threaded


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_a_slow_reader_holds_a_generator_back(make: Making, kind: str) -> None:
    given: list[int] = []
    exchange = make(streaming(kind, given, threading.Event())).begin("flow", {"to": 100}, window=items_of(10))
    await eventually(lambda: len(exchange.items) == 10)
    await asyncio.sleep(0.05)
    assert (len(given), len(exchange.items)) == (10, 10)

    exchange.grant(items_of(5))
    await eventually(lambda: len(exchange.items) == 15)
    await asyncio.sleep(0.05)
    assert len(given) == 15

    exchange.grant(items_of(1000))
    assert await exchange.value() is None
    assert len(exchange.items) == 100


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_a_generator_that_waits_for_its_reader_can_be_cancelled(make: Making, kind: str) -> None:
    given: list[int] = []
    ended = threading.Event()
    bench = make(streaming(kind, given, ended))
    exchange = bench.begin("flow", {"to": 100}, window=items_of(3))
    await eventually(lambda: len(exchange.items) == 3)

    exchange.cancel()

    assert (await exchange.error()).reason is Reason.CANCELLED
    await eventually(ended.is_set)
    await bench.idle()
    assert len(given) == 3


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_an_effects_generator_runs_on_without_its_reader(make: Making, kind: str) -> None:
    given: list[int] = []
    ended = threading.Event()
    bench = make(streaming(kind, given, ended), effect="effect")
    exchange = bench.begin("flow", {"to": 100}, window=items_of(3))
    await eventually(lambda: len(exchange.items) == 3)

    exchange.cancel(gone=True)

    await bench.idle()
    assert len(given) == 100


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_an_item_outside_its_schema_ends_the_stream_and_the_generator(make: Making, kind: str) -> None:
    ended = threading.Event()
    wrong: Any = "x"

    async def flow() -> AsyncIterator[int]:
        try:
            yield 1
            yield wrong
        finally:
            ended.set()

    def threaded() -> Iterator[int]:
        try:
            yield 1
            yield wrong
        finally:
            ended.set()

    handler = flow if kind == "coroutine" else threaded
    exchange = make(handler).begin(handler.__name__, window=1000)

    error = await exchange.error()
    assert (error.reason, exchange.items) == (Reason.AGENT_ERROR, [1])
    assert "yielded an item outside its schema" in error.message
    assert ended.is_set()


async def test_what_a_generator_raises_comes_after_its_items(make: Making) -> None:
    async def flow() -> AsyncIterator[int]:
        yield 1
        raise LookupError("gone")

    exchange = make(flow).begin("flow", window=1000)

    assert (await exchange.error()).message == "LookupError: gone"
    assert exchange.items == [1]


async def test_notes_and_items_keep_their_order(make: Making) -> None:
    def spell(word: str, context: parade.Context) -> Iterator[str]:
        for place, letter in enumerate(word):
            context.progress(place)
            yield letter

    exchange = make(spell).begin("spell", {"word": "abc"}, window=1000)
    await exchange.result()

    told = [orjson.loads(event.item.data) if event.HasField("item") else event.progress.fraction for event in exchange.events]
    assert told == [0, "a", 1, "b", 2, "c"]


async def test_of_many_notes_at_once_the_newest_are_told(make: Making) -> None:
    async def work(context: parade.Context) -> None:
        for number in range(1000):
            context.progress(number)

    exchange = make(work).begin("work", window=1000)
    await exchange.result()

    assert exchange.notes[-1] == 999
    assert len(exchange.notes) <= 64


# ---------------------------------------------------------------------------------------------------------- large values


class Store:
    """Keeps large values; what it is named by tells what it was."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.failure: Exception | None = None

    async def resolve(self, value: value_pb2.Value) -> bytes:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if value.artifact.digest not in self.kept:
            raise ParadeError(Reason.NOT_FOUND, "no such artifact")
        return self.kept[value.artifact.digest]

    async def shrink(self, data: bytes) -> value_pb2.Value:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        digest = f"sha256:{len(self.kept):064}"
        self.kept[digest] = data
        return value_pb2.Value(artifact=value_pb2.ArtifactReference(digest=digest, size=len(data)))

    async def put(self, content: Content, media_type: str) -> Artifact:
        raise NotImplementedError


async def repeat(text: str, times: int) -> str:
    return text * times


def repeat_in_a_thread(text: str, times: int) -> str:
    return text * times


@pytest.mark.parametrize("handler", [repeat, repeat_in_a_thread])
async def test_a_large_result_is_made_an_artifact_and_large_arguments_are_fetched(make: Making, handler: Callable[..., Any]) -> None:
    store = Store()
    bench = make(handler, artifacts=store)

    result = await bench.begin(handler.__name__, {"text": "ab", "times": 1_000_000}, run_id="").result()

    assert store.kept[result.result.artifact.digest] == b'"' + b"ab" * 1_000_000 + b'"'
    store.kept["arguments"] = b'{"text": "c", "times": 3}'
    exchange = KeepingExchange()
    call = session_pb2.SessionCall(function=f"tested.{handler.__name__}", timeout=5)
    call.arguments.artifact.digest = "arguments"
    bench.executor.begin(call, exchange)
    assert await exchange.value() == "ccc"
    assert bench.capacity.in_flight == 0


async def test_the_result_of_a_step_travels_as_itself(make: Making) -> None:
    store = Store()

    result = await make(repeat, artifacts=store).begin("repeat", {"text": "ab", "times": 1_000_000}, run_id="run-1").result()

    assert len(result.result.data) == 2_000_002
    assert store.kept == {}


async def test_large_arguments_that_are_not_there_are_invalid(make: Making) -> None:
    bench, exchange = make(repeat, artifacts=Store()), KeepingExchange()
    call = session_pb2.SessionCall(function="tested.repeat", timeout=5)
    call.arguments.artifact.digest = "nothing"

    bench.executor.begin(call, exchange)

    assert (await exchange.error()).reason is Reason.INVALID_ARGUMENTS
    assert bench.capacity.in_flight == 0


async def test_large_arguments_that_fail_to_come_as_nobody_foresaw_end_their_call(make: Making) -> None:
    store = Store()
    store.failure = OSError("secret")
    bench, exchange = make(repeat, artifacts=store), KeepingExchange()
    call = session_pb2.SessionCall(function="tested.repeat", timeout=5)
    call.arguments.artifact.digest = "arguments"

    bench.executor.begin(call, exchange)

    error = await exchange.error()
    assert error.reason is Reason.INTERNAL
    assert "secret" not in error.message
    assert bench.capacity.in_flight == 0


@pytest.mark.parametrize(
    ("failure", "cause"), [(ParadeError(Reason.UNAVAILABLE, "the gateway is away"), "UNAVAILABLE"), (OSError("unforeseen"), "INTERNAL")]
)
async def test_a_result_that_cannot_be_stored_is_the_functions_failure(make: Making, failure: Exception, cause: str) -> None:
    store = Store()
    store.failure = failure
    bench = make(repeat, artifacts=store)

    error = await bench.begin("repeat", {"text": "ab", "times": 1_000_000}, run_id="").error()

    assert (error.reason, error.metadata["cause"]) == (Reason.AGENT_ERROR, cause)
    await bench.idle()


async def test_without_a_store_results_over_four_mebibytes_and_artifacts_are_refused(make: Making) -> None:
    bench, exchange = make(repeat), KeepingExchange()
    call = session_pb2.SessionCall(function="tested.repeat", timeout=5)
    call.arguments.artifact.digest = "nothing"

    bench.executor.begin(call, exchange)

    assert (await exchange.error()).reason is Reason.FAILED_PRECONDITION
    assert "4 MiB" in (await bench.begin("repeat", {"text": "ab", "times": 3_000_000}).error()).message
    assert len(await bench.begin("repeat", {"text": "ab", "times": 1_000_000}).value()) == 2_000_000


# ----------------------------------------------------------------------------------------------------------------- spans


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_a_call_that_is_recorded_is_a_span_under_its_callers(make: Making, kind: str) -> None:
    seen: list[int] = []

    async def inside() -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    def threaded() -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    handler = inside if kind == "coroutine" else threaded
    bench = make(handler)

    await bench.begin(handler.__name__, traceparent=TRACEPARENT).result()

    span = bench.span()
    assert span.name == f"tested.{handler.__name__}"
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == tuple(TRACEPARENT.split("-")[1:3])
    assert seen == [span.context.span_id]
    assert dict(span.attributes or {}).items() >= {"parade.run_id": "run-1", "parade.step": "step-1"}.items()


@pytest.mark.parametrize("traceparent", ["", TRACEPARENT[:-1] + "0"], ids=["none", "not recorded"])
async def test_a_call_that_nobody_records_is_no_span(make: Making, traceparent: str) -> None:
    async def inside() -> None: ...

    bench = make(inside)

    await bench.begin("inside", traceparent=traceparent).result()

    assert bench.spans.get_finished_spans() == ()


async def test_a_failure_stands_in_the_span(make: Making) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    bench = make(fail)

    await bench.begin("fail", traceparent=TRACEPARENT).result()

    span = bench.span()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LookupError: gone")
    assert (span.attributes or {})["parade.reason"] == "AGENT_ERROR"
    assert (span.events[0].attributes or {})["exception.type"] == "LookupError"
