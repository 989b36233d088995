"""The spans of calls are read, and encoded, as OpenTelemetry's own are."""

from collections.abc import Callable

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, use_span

from parade.wire.recorded_span import SCOPE, Fact, RecordedSpan
from parade.wire.redaction import remember
from parade.wire.sampling import RateLimit, sampler
from parade.wire.span_exporter import encoded
from parade.wire.telemetry import Telemetry

RESOURCE = Resource({"service.name": "tested"})
REMOTE = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, True, TraceFlags(1))
LOCAL = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0xF067AA0BA902B7, False, TraceFlags(3))
FACTS: dict[str, Fact] = {"parade.function": "größe", "parade.attempt": 3, "parade.resumed": True, "parade.step": ""}


class Ground:
    def __init__(self) -> None:
        self.ended = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self.ended)

    def begun(self, parent: SpanContext | None = REMOTE, kind: SpanKind = SpanKind.SERVER) -> RecordedSpan:
        return RecordedSpan("echo.echo", kind, parent, FACTS, RESOURCE, self.processor, 1_000)

    def stock(self) -> Span:
        provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        provider.add_span_processor(self.processor)
        return provider.get_tracer(SCOPE.name).start_span("echo.echo", kind=SpanKind.SERVER, attributes=FACTS, start_time=1_000)

    def encoded(self) -> list[trace_pb2.Span]:
        """Returns all spans that have ended, encoded, without what is made by chance."""
        messages = [
            message
            for resource in encoded(self.ended.get_finished_spans()).resource_spans
            for scope in resource.scope_spans
            for message in scope.spans
        ]
        for message in messages:
            message.trace_id = message.span_id = message.parent_span_id = b""
            message.flags = 0
            for event in message.events:
                event.time_unix_nano = 0
        return messages


@pytest.fixture
def ground() -> Ground:
    return Ground()


@pytest.mark.parametrize("kind", list(SpanKind))
@pytest.mark.parametrize("parent", [None, REMOTE, LOCAL])
def test_a_span_is_encoded_as_the_stock_encoder_does(ground: Ground, parent: SpanContext | None, kind: SpanKind) -> None:
    for _ in range(3):
        ground.begun(parent, kind).end(2_000)

    spans = ground.ended.get_finished_spans()
    assert encoded(spans) == encode_spans(spans)
    assert len(encoded(spans).resource_spans[0].scope_spans[0].spans) == 3


def test_other_spans_are_encoded_with_those_of_calls(ground: Ground) -> None:
    ground.stock().end(2_000)
    ground.begun().end(2_000)
    ground.begun().end(2_000)
    told = ground.begun()
    told.update_name("told")
    told.end(2_000)

    assert sorted(message.name for message in ground.encoded()) == ["echo.echo", "echo.echo", "echo.echo", "told"]


def test_spans_that_are_none_of_calls_are_encoded_alone(ground: Ground) -> None:
    ground.stock().end(2_000)

    spans = ground.ended.get_finished_spans()
    assert encoded(spans) == encode_spans(spans)


def _exception(span: Span) -> None:
    span.record_exception(ValueError("no such row"), {"row": 3})
    span.set_status(StatusCode.ERROR, "no such row")


def _many(span: Span) -> None:
    for number in range(200):
        span.set_attribute(f"number {number}", number)
        span.add_event(f"event {number}")


SAID: dict[str, Callable[[Span], object]] = {
    "attribute": lambda span: span.set_attribute("rows", [1, 2]),
    "attributes": lambda span: span.set_attributes({"rows": 3, "parade.attempt": 4}),
    "event": lambda span: span.add_event("read", {"rows": 3}, 1_500),
    "link": lambda span: span.add_link(REMOTE, {"why": "retry"}),
    "name": lambda span: span.update_name("another"),
    "status": lambda span: span.set_status(Status(StatusCode.OK)),
    "exception": _exception,
    "too much": _many,
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_what_is_said_of_a_span_is_kept_as_opentelemetry_does(ground: Ground, said: Callable[[Span], object]) -> None:
    own, stock = ground.begun(), ground.stock()
    for span in (own, stock):
        said(span)
        span.end(2_000)

    one, other = ground.encoded()
    assert one == other
    before = ground.begun()
    before.end(2_000)
    assert ground.encoded()[0] != one


def test_what_our_code_says_stands_beside_what_others_say(ground: Ground) -> None:
    span = ground.begun()
    span.describe({"first": 1})
    span.set_attribute("second", 2)
    span.describe({"third": 3})
    span.end()

    assert dict(span.attributes) == {**FACTS, "first": 1, "second": 2, "third": 3}


@pytest.mark.parametrize("is_told", [False, True])
def test_a_span_that_has_ended_does_not_change(ground: Ground, *, is_told: bool) -> None:
    span = ground.begun()
    if is_told:
        span.set_attribute("parade.attempt", 3)
    span.end(2_000)
    before = ground.encoded()

    span.describe({"late": True})
    span.set_attribute("late", True)
    span.update_name("late")
    span.end(3_000)

    assert not span.is_recording()
    assert ground.encoded() == before


def test_a_trace_is_followed_and_a_new_one_is_random(ground: Ground) -> None:
    child, other, root = ground.begun(REMOTE), ground.begun(LOCAL), ground.begun(None)

    assert child.context.trace_id == other.context.trace_id == REMOTE.trace_id
    assert len({REMOTE.span_id, child.context.span_id, other.context.span_id}) == 3
    assert (child.context.trace_flags, other.context.trace_flags, root.context.trace_flags) == (1, 3, 3)
    assert root.context.is_valid
    assert root.context.trace_id != ground.begun(None).context.trace_id


def test_a_child_of_opentelemetrys_own_hangs_under_it(ground: Ground) -> None:
    provider = TracerProvider(sampler(RateLimit(20, 50)), RESOURCE, shutdown_on_exit=False)
    tracer = provider.get_tracer("author")
    span = ground.begun()

    with use_span(span):
        inner = tracer.start_span("inner")

    assert inner.is_recording()
    assert inner.get_span_context().trace_id == span.context.trace_id


def test_nothing_is_recorded_where_opentelemetry_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Telemetry("tested", "t-1") as telemetry:
        assert telemetry.begin_call("echo.echo", SpanKind.SERVER, f"00-{REMOTE.trace_id:032x}-{REMOTE.span_id:016x}-01") is None


def test_no_secret_that_the_process_knows_leaves_it_in_a_span(ground: Ground) -> None:
    remember(["canary-of-the-spans"], 60)
    plain, told, stock = ground.begun(), ground.begun(), ground.stock()
    for span in (told, stock):
        span.set_attribute("token", "canary-of-the-spans")
        span.set_attribute("tokens", ["a", "canary-of-the-spans"])
        span.add_event("canary-of-the-spans", {"token": "canary-of-the-spans"})
        span.record_exception(KeyError("canary-of-the-spans"))
        span.set_status(Status(StatusCode.ERROR, "Bearer 0123456789abcdef"))
    for ended in (plain, told, stock):
        ended.end()

    spans = ground.encoded()

    assert len(spans) == 3
    assert b"canary" not in b"".join(span.SerializeToString() for span in spans)
    assert [span.status.message for span in spans if span.status.message] == ["Bearer ***"] * 2
