"""Calls as they run: spans, threads, reports; without a connection."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import parade
from parade.function import Function
from parade.hosting.capacity import Capacity
from parade.hosting.executor import Call, Executor
from parade.hosting.reports import Note, Reports
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry, remote_parent
from tests.support.waiting import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Bench:
    """An executor and the spans that it leaves."""

    def __init__(self, telemetry: Telemetry, *handlers: Callable[..., Any]) -> None:
        self.spans = InMemorySpanExporter()
        telemetry._spans.add_span_processor(SimpleSpanProcessor(self.spans))
        self.capacity = Capacity(2)
        functions = {function.name: function for function in map(Function.of, handlers)}
        self.executor = Executor("tested", functions, self.capacity, telemetry, Log(level="error"), None)

    def span(self) -> ReadableSpan:
        (span,) = self.spans.get_finished_spans()
        return span


Making = Callable[..., Bench]


@pytest.fixture
async def make() -> AsyncIterator[Making]:
    made: list[Bench] = []
    with Telemetry("tested", "i1") as telemetry:

        def making(*handlers: Callable[..., Any]) -> Bench:
            made.append(Bench(telemetry, *handlers))
            return made[-1]

        yield making
        for bench in made:
            await bench.executor.close()


def call(function: str, arguments: bytes = b"{}", parent: TraceContext | None = None, remaining: float | None = 5) -> Call:
    return Call("call-1", function, arguments, "default", "spiffe://p", "run-1", "step-1", remaining, parent or TraceContext())


async def test_a_call_is_a_span_under_its_callers(make: Making) -> None:
    seen: list[int] = []

    def inside() -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    bench = make(inside)

    await bench.executor.run(call("inside", parent=remote_parent({"traceparent": TRACEPARENT}.get)))

    span = bench.span()
    assert span.name == "tested.inside"
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == tuple(TRACEPARENT.split("-")[1:3])
    assert seen == [span.context.span_id]
    assert dict(span.attributes or {}).items() >= {"parade.call_id": "call-1", "parade.run_id": "run-1", "parade.step": "step-1"}.items()


async def test_a_failure_stands_in_the_span(make: Making) -> None:
    async def fail() -> None:
        raise LookupError("gone")

    bench = make(fail)

    with pytest.raises(ParadeError):
        await bench.executor.run(call("fail"))

    span = bench.span()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LookupError: gone")
    assert (span.attributes or {})["parade.reason"] == "AGENT_ERROR"
    assert (span.events[0].attributes or {})["exception.type"] == "LookupError"


async def test_a_function_that_ignores_its_cancellation_still_ends_at_its_deadline_for_its_caller(make: Making) -> None:
    stop = asyncio.Event()

    async def stubborn() -> None:
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                continue

    bench = make(stubborn)

    with pytest.raises(ParadeError) as caught:
        await bench.executor.run(call("stubborn", remaining=0.05))

    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert bench.capacity.in_flight == 1  # it holds its place as long as it runs
    stop.set()
    await eventually(lambda: bench.capacity.in_flight == 0)


async def test_a_function_that_cancels_itself_has_failed(make: Making) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    bench = make(give_up)

    with pytest.raises(ParadeError) as caught:
        await bench.executor.run(call("give_up"))

    assert (caught.value.reason, caught.value.metadata["exception_type"]) == (Reason.AGENT_ERROR, "CancelledError")


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [(ConnectionError, True), (TimeoutError, True), (RuntimeError, True), (OSError, True), (ValueError, False), (KeyError, False)],
)
async def test_what_is_no_mistake_may_be_tried_again(make: Making, kind: type[Exception], *, retryable: bool) -> None:
    def reach() -> None:
        raise kind("x")

    bench = make(reach)

    with pytest.raises(ParadeError) as caught:
        await bench.executor.run(call("reach"))

    assert (caught.value.reason, caught.value.retryable) == (Reason.AGENT_ERROR, retryable)


async def test_the_failure_of_a_nested_call_is_the_functions_own(make: Making) -> None:
    async def ask() -> None:
        raise ParadeError(Reason.UNKNOWN_FUNCTION, "no such function")

    bench = make(ask)

    with pytest.raises(ParadeError) as caught:
        await bench.executor.run(call("ask"))

    assert (caught.value.reason, caught.value.metadata["cause"]) == (Reason.AGENT_ERROR, "UNKNOWN_FUNCTION")


async def test_threads_run_beside_each_other_and_none_blocks_the_loop(make: Making) -> None:
    meeting = threading.Barrier(2, timeout=5)

    def meet() -> int:
        return meeting.wait()

    bench = make(meet)

    results = await asyncio.gather(bench.executor.run(call("meet")), bench.executor.run(call("meet")))

    assert sorted(result for result in results if result) == [b"0", b"1"]


async def test_a_slow_reader_gets_the_newest_notes() -> None:
    written: list[Note | bytes] = []
    open_gate = asyncio.Event()

    async def write(said: Note | bytes) -> None:
        await open_gate.wait()
        written.append(said)

    async with Reports(write) as reports:
        for number in range(1000):
            reports.note(number, "")
        open_gate.set()
        await reports.item(b"1")

    assert written[-1] == b"1"
    assert [said.fraction for said in written if isinstance(said, Note)][-1] == 999
    assert len(written) <= 66


async def test_a_context_is_told_whom_the_call_is_for(make: Making) -> None:
    seen: list[parade.Context] = []

    async def look(about: parade.Context | None = None) -> None:
        if about is not None:
            seen.append(about)

    bench = make(look)

    await bench.executor.run(call("look"))

    assert (seen[0].function, seen[0].principal, seen[0].run_id) == ("tested.look", "spiffe://p", "run-1")
