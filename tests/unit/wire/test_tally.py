"""Tallies hold what was recorded as OpenTelemetry's own instruments would export it, within a bound of keys."""

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    Metric,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from parade.wire import tally, tally_exporter
from parade.wire.tally import BOUNDS_MS, IDLE_READINGS, OVERFLOW, CallTally, Tally
from parade.wire.tally_exporter import TallyExporter

KEY = ("default", "echo.echo", "i-1")


class Time:
    now = 1_000

    def __call__(self) -> int:
        return self.now


def points(metrics: list[Metric], name: str) -> list[Any]:
    (metric,) = [metric for metric in metrics if metric.name == name]
    return list(metric.data.data_points)


def test_a_call_is_in_three_histograms_and_one_sum() -> None:
    clock = Time()
    calls = CallTally(clock)
    calls.record_call(KEY, 0.0, 0.0015, 0.004, "OK")
    calls.record_call(KEY, 0.001, 0.0016, 7200.0, "AGENT_ERROR")
    clock.now = 2_000

    metrics = calls.read()

    (queued,), (transport,), (executing,) = (points(metrics, f"parade.call.{name}") for name in ("queued", "transport", "executing"))
    assert queued.attributes == {"parade.namespace": "default", "parade.function": "echo.echo", "parade.instance": "i-1"}
    assert (queued.start_time_unix_nano, queued.time_unix_nano, queued.count) == (1_000, 2_000, 2)
    assert transport.sum == pytest.approx(3.1)
    counted = {bound: count for bound, count in zip((*BOUNDS_MS, "more"), transport.bucket_counts, strict=True) if count}
    assert counted == {1.5: 1, 2: 1}
    assert executing.bucket_counts[-1] == 1
    sums = {point.attributes["parade.outcome"]: point.value for point in points(metrics, "parade.calls")}
    assert sums == {"OK": 1, "AGENT_ERROR": 1}


def test_a_tally_without_outcomes_has_no_sum() -> None:
    durations = Tally(("rpc.method", "rpc.failed"), {"rpc.server.duration": "How long requests took"})
    durations.record(("Get", False), 0.002)

    (metric,) = durations.read()

    assert (metric.name, metric.unit) == ("rpc.server.duration", "ms")
    assert metric.data.data_points[0].attributes == {"rpc.method": "Get", "rpc.failed": False}


def test_a_reading_has_the_keys_that_changed_with_what_was_counted_since_the_beginning() -> None:
    calls = CallTally()
    calls.record_call(KEY, 0, 0, 0, "OK")
    calls.record_call(("default", "echo.echo", "i-2"), 0, 0, 0, "OK")
    calls.read()
    calls.record_call(KEY, 0, 0, 0, "OK")

    changed = points(calls.read(), "parade.calls")
    nothing = calls.read()
    everything = points(calls.read(everything=True), "parade.calls")

    assert [(point.attributes["parade.instance"], point.value) for point in changed] == [("i-1", 2)]
    assert nothing == []
    assert [(point.attributes["parade.instance"], point.value) for point in everything] == [("i-1", 2), ("i-2", 1)]


def test_what_comes_after_the_last_key_is_counted_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MAX_KEYS", 2)
    calls = CallTally()
    for number in range(5):
        calls.record_call(("default", "echo.echo", f"i-{number}"), 0, 0, 0, "OK")

    sums = points(calls.read(), "parade.calls")

    assert len(sums) == 3
    assert (sums[-1].attributes, sums[-1].value) == ({**OVERFLOW, "parade.outcome": "OK"}, 3)


def test_a_key_that_is_idle_makes_room_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MAX_KEYS", 2)
    clock = Time()
    calls = CallTally(clock)
    calls.record_call(("default", "echo.echo", "gone"), 0, 0, 0, "OK")
    for _ in range(IDLE_READINGS + 1):
        calls.record_call(KEY, 0, 0, 0, "OK")
        calls.read()
    clock.now = 9_000

    calls.record_call(("default", "echo.echo", "new"), 0, 0, 0, "OK")
    (new,) = points(calls.read(), "parade.calls")
    calls.record_call(("default", "echo.echo", "gone"), 0, 0, 0, "OK")
    (overflown,) = points(calls.read(), "parade.calls")

    assert (new.attributes["parade.instance"], new.start_time_unix_nano) == ("new", 9_000)
    assert "otel.metric.overflow" in overflown.attributes


def test_the_stock_encoder_takes_a_reading() -> None:
    calls = CallTally()
    calls.record_call(KEY, 0.001, 0.002, 0.003, "OK")

    scope = ScopeMetrics(InstrumentationScope("parade"), calls.read(), "")
    encoded = encode_metrics(MetricsData([ResourceMetrics(Resource({}), [scope], "")]))

    metrics = encoded.resource_metrics[0].scope_metrics[0].metrics
    assert [metric.WhichOneof("data") for metric in metrics] == ["histogram", "histogram", "histogram", "sum"]
    assert metrics[0].histogram.data_points[0].HasField("sum")
    assert not metrics[0].histogram.data_points[0].HasField("max")


class Exporter:
    """Keeps what it is given, unless it is down."""

    def __init__(self) -> None:
        self.points: list[Any] = []
        self.exports = 0
        self.down = False
        self.ended = False

    def export(self, data: MetricsData) -> MetricExportResult:
        if self.down:
            return MetricExportResult.FAILURE
        self.exports += 1
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.points += metric.data.data_points
        return MetricExportResult.SUCCESS

    def shutdown(self) -> None:
        self.ended = True


def exporting(exporter: Exporter) -> tuple[TallyExporter, Tally]:
    tallies = TallyExporter(exporter, Resource({}), interval=3600)
    requests = Tally(("method",), {"duration": ""})
    tallies.add(requests)
    return tallies, requests


def test_what_was_counted_leaves_at_the_end_in_exports_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_exporter, "MAX_POINTS", 2)
    exporter = Exporter()
    tallies, requests = exporting(exporter)
    for number in range(5):
        requests.record((str(number),), 0.001)

    tallies.end()

    assert [point.attributes["method"] for point in exporter.points] == ["0", "1", "2", "3", "4"]
    assert exporter.exports == 3


def test_what_could_not_be_sent_is_sent_the_next_time() -> None:
    exporter = Exporter()
    tallies, requests = exporting(exporter)
    requests.record(("Get",), 0.001)
    exporter.down = True
    tallies._export()
    exporter.down = False

    tallies.end()

    assert [point.count for point in exporter.points] == [1]


def test_where_nobody_listens_at_the_end_nobody_waits_again() -> None:
    exporter = Exporter()
    tallies, requests = exporting(exporter)
    requests.record(("Get",), 0.001)
    exporter.down = True

    tallies.end()

    assert exporter.ended
