"""The monitor as a process of its own, over mutual TLS: fed by the exporters that everybody uses, asked through the contract.

One file, though a long one: it follows one process through everything that it is sent and asked, to its end.
"""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from parade.v1 import monitor_pb2, monitor_pb2_grpc
from parade.wire.certificates import CertificateSource
from parade.wire.channel import Channel, Metadata
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity, Kind
from parade.wire.metadata import on_behalf_of
from parade.wire.roles import Role
from parade.wire.telemetry import Collector, Telemetry
from parade.wire.tls import channel_credentials
from tests.support.certificates import Authority
from tests.support.servers import free_port
from tests.support.waiting import eventually

SERVER_NAME = Identity.service("monitor").server_name
DEADLINE = 10.0


class ThroughGateway(Channel):
    """The gateway's channel, on which it asks for a client that is an admin."""

    def __init__(self, address: str, source: CertificateSource, client: Identity, direct: Channel) -> None:
        super().__init__(address, source, SERVER_NAME)
        self._metadata = on_behalf_of(client.namespace, client.uri, Role.ADMIN)
        self._direct = direct

    async def close(self) -> None:
        await self._direct.close()
        await super().close()

    def unary_unary(self, path: str, *codec: Any, **more: Any) -> Any:
        if path.endswith("/Export"):  # what a client tells of itself it sends itself
            return self._direct.unary_unary(path, *codec, **more)
        return partial(self._ask, super().unary_unary(path, *codec, **more))

    def unary_stream(self, *method: Any, **more: Any) -> Any:
        return partial(self._ask, super().unary_stream(*method, **more))

    def _ask(self, call: Any, request: Any, metadata: Metadata = (), **named: Any) -> Any:
        return call(request, metadata=(*self._metadata, *metadata), **named)


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor that runs, and those who may talk to it."""

    process: "subprocess.Popen[str]"
    address: str
    database: Path
    authority: Authority

    def channel(self, caller: Identity) -> Channel:
        """Returns a channel of somebody of the mesh. A client comes through the gateway, which says its role: nobody else here could."""
        direct = self.authority.channel(self.address, caller, "monitor")
        if caller.kind is not Kind.CLIENT:
            return direct
        return ThroughGateway(self.address, self.authority.source(Identity.service("gateway")), caller, direct)

    def collector(self, sender: Identity) -> Collector:
        return Collector(self.address, SERVER_NAME, self.authority.source(sender))

    def rows(self, statement: str, *given: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement, given).fetchall()


@contextmanager
def started(authority: Authority, database: Path, **settings: str) -> Iterator[Monitor]:
    files = authority.files(Identity.service("monitor"))
    given = {
        "LISTEN": "127.0.0.1:0",
        "TRUST_BUNDLE": str(files.trust_bundle),
        "CERTIFICATE": str(files.certificate),
        "PRIVATE_KEY": str(files.private_key),
        "DATABASE_URL": f"sqlite:///{database}",
        **settings,
    }
    environment = {**os.environ, **{f"PARADE_MONITOR_{name}": value for name, value in given.items()}}
    process = subprocess.Popen([sys.executable, "-m", "parade_monitor"], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        first = process.stderr.readline()  # ends with the process, and so with the test's deadline
        assert '"serving"' in first, first + process.stderr.read()
        yield Monitor(process, json.loads(first)["address"], database, authority)
    finally:
        process.kill()
        process.wait(DEADLINE)
        process.stderr.close()


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitor]:
    folder = tmp_path_factory.mktemp("monitor")
    with started(Authority(folder), folder / "monitor.db") as running:
        yield running


@pytest.fixture
def namespace() -> str:
    """A namespace of the test's own."""
    return f"n{uuid4().hex[:12]}"


async def logs_of(channel: Channel, **given: Any) -> list[monitor_pb2.LogRecord]:
    request = monitor_pb2.QueryLogsRequest(filter=monitor_pb2.LogFilter(**given))
    answer: monitor_pb2.QueryLogsResponse = await monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs()).QueryLogs(request)
    return list(answer.records)


async def trace_of(channel: Channel, trace_id: str) -> list[monitor_pb2.Span]:
    """Asks for a trace until it is there."""
    found: list[monitor_pb2.Span] = []

    async def is_there() -> bool:
        try:
            answer = await monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs()).GetTrace(monitor_pb2.GetTraceRequest(trace_id=trace_id))
        except ParadeError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
            return False
        found.extend(answer.spans)
        return True

    await eventually(is_there)
    return found


async def export(channel: Channel, *events: str, at: int = 0) -> ExportLogsServiceResponse:
    records = [logs_pb2.LogRecord(time_unix_nano=at, body=AnyValue(string_value=event)) for event in events]
    group = logs_pb2.ResourceLogs(scope_logs=[logs_pb2.ScopeLogs(log_records=records)])
    answer: ExportLogsServiceResponse = await LogsServiceStub(channel).Export(  # type: ignore[no-untyped-call]  # its library types messages only
        ExportLogsServiceRequest(resource_logs=[group])
    )
    return answer


async def refusal(awaitable: Any) -> ParadeError:
    with pytest.raises(ParadeError) as raised:
        await awaitable
    return raised.value


async def test_what_an_agents_telemetry_says_is_found_by_a_client(monitor: Monitor, namespace: str) -> None:
    agent = Identity.agent("analyst", "a-1", namespace)
    with Telemetry("analyst", "a-1", namespace, monitor.collector(agent)) as telemetry:
        with telemetry.tracer.start_as_current_span("describe", attributes={"rows": 3}) as outer:
            trace_id = f"{outer.get_span_context().trace_id:032x}"
            telemetry.log("warning", "column is empty", {"column": "price", "run_id": "run-7"})
            with telemetry.tracer.start_as_current_span("read") as inner:
                inner.set_status(Status(StatusCode.ERROR, "no such file"))
        telemetry.meter.create_counter("rows").add(3)

    async with monitor.channel(Identity.client("dev", namespace)) as channel:
        first, second = await trace_of(channel, trace_id.upper())
        await eventually(lambda: _found(channel, run_id="run-7"))
        (record,) = await logs_of(channel, trace_id=trace_id, service="analyst", instance_id="a-1", contains="empty")

    assert (first.name, first.service, first.instance_id, first.parent_span_id) == ("describe", "analyst", "a-1", "")
    assert json.loads(first.attributes.data) == {"rows": 3}
    assert (second.name, second.parent_span_id, second.status_message) == ("read", first.span_id, "no such file")
    assert second.status == monitor_pb2.SPAN_STATUS_ERROR
    assert (record.event, record.severity, record.span_id) == ("column is empty", monitor_pb2.SEVERITY_WARNING, first.span_id)
    assert json.loads(record.fields.data) == {"column": "price", "run_id": "run-7"}
    await eventually(lambda: monitor.rows("SELECT name, kind, value FROM metric WHERE namespace = ?", namespace) == [("rows", "sum", 3.0)])


async def test_what_was_tallied_arrives_at_the_end(monitor: Monitor, namespace: str) -> None:
    agent = Identity.agent("analyst", "a-1", namespace)
    with Telemetry("analyst", "a-1", namespace, monitor.collector(agent)) as telemetry:
        calls = telemetry.call_tally()
        calls.record_call((namespace, "echo.echo", "i-1"), 0.001, 0.002, 0.003, "OK")
        calls.record_call((namespace, "echo.echo", "i-1"), 0.001, 0.002, 0.005, "OK")

    def rows() -> list[Any]:
        return monitor.rows("SELECT name, unit, kind, value, count, sum FROM metric WHERE namespace = ? ORDER BY name", namespace)

    await eventually(lambda: len(rows()) == 4)
    executing, queued, _, calls_row = rows()
    assert executing[:5] == ("parade.call.executing", "ms", "histogram", None, 2)
    assert executing[5] == pytest.approx(8)
    assert queued[5] == pytest.approx(2)
    assert calls_row == ("parade.calls", "1", "sum", 2.0, None, None)


async def test_the_stock_exporter_is_understood_and_its_namespace_is_that_of_its_certificate(monitor: Monitor, namespace: str) -> None:
    exporter = OTLPSpanExporter(
        endpoint=monitor.address,
        insecure=False,
        credentials=channel_credentials(monitor.authority.certificates(Identity.client("foreign", namespace))),
        channel_options=(("grpc.ssl_target_name_override", SERVER_NAME),),
    )
    claimed = Resource({"service.name": "java-shop", "service.namespace": "somebody-else"})
    provider = TracerProvider(resource=claimed, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("shop").start_as_current_span("checkout") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()

    async with monitor.channel(Identity.client("dev", namespace)) as owner, monitor.channel(Identity.client("x", "somebody-else")) as other:
        (shown,) = await trace_of(owner, trace_id)
        stub = monitor_pb2_grpc.MonitorServiceStub(other.for_stubs())
        refused = await refusal(stub.GetTrace(monitor_pb2.GetTraceRequest(trace_id=trace_id)))

    assert (shown.name, shown.service) == ("checkout", "java-shop")
    assert refused.reason is Reason.NOT_FOUND


async def test_a_trace_holds_what_was_done_for_the_namespace_and_nothing_else(monitor: Monitor, namespace: str) -> None:
    senders = {
        Identity.service("dispatcher"): namespace,
        Identity.service("scheduler"): "elsewhere",
        Identity.service("gateway"): "",
        Identity.agent("analyst", "a-1", namespace): "elsewhere",
        Identity.agent("spy", "s-1", "elsewhere"): namespace,
    }
    with Telemetry("root", "r-1") as root, root.tracer.start_as_current_span("root") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        for sender, said in senders.items():
            telemetry = Telemetry(sender.name, "i-1", collector=monitor.collector(sender))
            with telemetry, telemetry.tracer.start_as_current_span(f"of {sender.name}", attributes={"parade.namespace": said}):
                telemetry.log("info", f"by {sender.name}", {"namespace": said})

    async with monitor.channel(Identity.client("dev", namespace)) as channel:
        await eventually(lambda: len(monitor.rows("SELECT 1 FROM span WHERE trace_id = ?", trace_id)) == len(senders))
        await eventually(lambda: len(monitor.rows("SELECT 1 FROM log WHERE trace_id = ?", trace_id)) == len(senders))
        spans = await trace_of(channel, trace_id)
        logs = await logs_of(channel, trace_id=trace_id)

    assert [span.name for span in spans] == ["of dispatcher", "of analyst"]
    assert {record.event for record in logs} == {"by dispatcher", "by analyst"}


async def test_pages_go_on_where_the_last_ended(monitor: Monitor, namespace: str) -> None:
    async with monitor.channel(Identity.client("dev", namespace)) as channel:
        await export(channel, *(f"{number}" for number in range(7)), at=time.time_ns())
        await eventually(lambda: _found(channel, service="dev", count=7))
        stub, request, pages = monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs()), _page_of_three(""), []
        while True:
            answer = await stub.QueryLogs(request)
            pages.append([record.event for record in answer.records])
            if not answer.next_page_token:
                break
            request = _page_of_three(answer.next_page_token)

    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


async def test_a_tail_has_neither_gap_nor_repetition_between_history_and_what_arrives(monitor: Monitor, namespace: str) -> None:
    total = 300
    async with monitor.channel(Identity.client("dev", namespace)) as channel, asyncio.timeout(30), asyncio.TaskGroup() as tasks:

        async def send() -> None:
            for number in range(total):
                await export(channel, f"{number}", at=time.time_ns())

        async def follow(after: int) -> list[int]:
            await eventually(lambda: _found(channel, service="dev", count=min(after, 100)), within=20)
            request = monitor_pb2.TailLogsRequest(filter=monitor_pb2.LogFilter(service="dev"), last=1000)
            seen: list[int] = []
            responses: Any = monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs()).TailLogs(request)
            async with aclosing(responses):
                async for response in responses:
                    seen.append(int(response.record.event))
                    if seen[-1] == total - 1:
                        break
            return seen

        tasks.create_task(send())
        readers = [tasks.create_task(follow(after)) for after in (0, 10, 50, 100)]

    for reader in readers:
        assert reader.result() == list(range(total))


async def test_bad_questions_are_refused_with_their_faults(monitor: Monitor, namespace: str) -> None:
    async with monitor.channel(Identity.client("dev", namespace)) as channel:
        stub = monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs())

        malformed = await refusal(stub.GetTrace(monitor_pb2.GetTraceRequest(trace_id="xyz")))
        unknown = await refusal(stub.GetTrace(monitor_pb2.GetTraceRequest(trace_id="a" * 32)))
        token = await refusal(stub.QueryLogs(monitor_pb2.QueryLogsRequest(page_token="made up", page_size=-1)))
        tail = await refusal(anext(aiter(stub.TailLogs(monitor_pb2.TailLogsRequest(last=1001)))))

    assert (malformed.reason, malformed.violations[0].field) == (Reason.INVALID_ARGUMENTS, "trace_id")
    assert unknown.reason is Reason.NOT_FOUND
    assert "two seconds" in unknown.message
    assert token.violations[0].field == "page_size"
    assert (tail.reason, tail.violations[0].field) == (Reason.INVALID_ARGUMENTS, "last")


async def test_agents_may_send_and_not_ask_and_the_gateway_says_for_whom_it_asks(monitor: Monitor, namespace: str) -> None:
    request = monitor_pb2.QueryLogsRequest(filter=monitor_pb2.LogFilter(service="analyst"))
    agent, gateway = Identity.agent("analyst", "a-1", namespace), Identity.service("gateway")
    async with monitor.channel(agent) as sender, monitor.channel(gateway) as asker:
        await export(sender, "hello")
        asked = monitor_pb2_grpc.MonitorServiceStub(asker.for_stubs())

        agent_refused = await refusal(monitor_pb2_grpc.MonitorServiceStub(sender.for_stubs()).QueryLogs(request))
        nobody = await refusal(asked.QueryLogs(request, metadata=on_behalf_of("", "", Role.VIEWER)))
        await eventually(lambda: _found(sender=asker, metadata=on_behalf_of(namespace, "", Role.VIEWER), request=request))

    assert agent_refused.reason is Reason.PERMISSION_DENIED
    assert nobody.reason is Reason.INVALID_ARGUMENTS


async def test_a_stranger_may_not_send(monitor: Monitor, tmp_path: Path) -> None:
    strangers = Authority(tmp_path)
    source = strangers.source(Identity.client("dev"), trust_bundle=monitor.authority.trust_bundle)
    async with Channel(monitor.address, source, SERVER_NAME) as channel:
        refused = await refusal(export(channel, "let me in"))

    assert refused.reason is Reason.UNAVAILABLE  # the handshake fails


async def test_records_that_cannot_be_kept_are_counted_in_the_answer(monitor: Monitor, namespace: str) -> None:
    async with monitor.channel(Identity.client("dev", namespace)) as channel:
        kept = await export(channel, "now", at=time.time_ns())
        answer = await export(channel, "in the year 2100", at=4_102_444_800 * 10**9)

    assert not kept.HasField("partial_success")
    assert answer.partial_success.rejected_log_records == 1
    assert "ahead" in answer.partial_success.error_message


async def test_what_was_visible_outlives_a_kill(tmp_path: Path) -> None:
    authority, database, client = Authority(tmp_path), tmp_path / "monitor.db", Identity.client("dev")
    with started(authority, database) as first:
        async with first.channel(client) as channel:
            await export(channel, "before the kill")
            await eventually(lambda: _found(channel, service="dev"))
        first.process.kill()
        first.process.wait(DEADLINE)

    with started(authority, database) as second:
        async with second.channel(client) as channel:
            assert [record.event for record in await logs_of(channel)] == ["before the kill"]
            with Telemetry("late", "l-1", collector=second.collector(client)) as telemetry:
                telemetry.log("info", "goes on", {})
            await eventually(lambda: _found(channel, service="late"))


async def test_the_end_writes_what_is_queued_and_tells_readers_at_once(tmp_path: Path) -> None:
    client = Identity.client("dev")
    with started(Authority(tmp_path), tmp_path / "monitor.db") as monitor:
        async with monitor.channel(client) as channel:
            tail = monitor_pb2_grpc.MonitorServiceStub(channel.for_stubs()).TailLogs(monitor_pb2.TailLogsRequest(last=1))
            await export(channel, "first")
            async with asyncio.timeout(DEADLINE):
                assert (await anext(aiter(tail))).record.event == "first"
            await export(channel, "second", "third")

            monitor.process.send_signal(signal.SIGTERM)
            ended = await refusal(_drained(tail))

        assert ended.reason is Reason.UNAVAILABLE
        assert await asyncio.to_thread(monitor.process.wait, 4) == 0
        assert [event for (event,) in monitor.rows("SELECT event FROM log ORDER BY id")] == ["first", "second", "third"]


async def test_a_monitor_that_reports_to_itself_does_not_report_on_reports(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with started(Authority(tmp_path), tmp_path / "monitor.db", LISTEN=address, MONITOR=address) as monitor:
        async with monitor.channel(Identity.client("dev")) as channel:
            for number in range(5):
                await export(channel, f"{number}")
            await eventually(lambda: monitor.rows("SELECT 1 FROM log WHERE service = 'monitor' AND event = 'serving'") != [])
            assert await logs_of(channel, service="monitor") == []  # what it says of itself is no namespace's
            await eventually(lambda: monitor.rows("SELECT 1 FROM span") != [])

        assert {name for (name,) in monitor.rows("SELECT name FROM span")} == {"MonitorService/QueryLogs"}


async def test_a_monitor_that_reports_to_itself_keeps_its_own_last_words(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with started(Authority(tmp_path), tmp_path / "monitor.db", LISTEN=address, MONITOR=address) as monitor:
        async with monitor.channel(Identity.client("dev")) as channel:
            assert await logs_of(channel, service="nobody") == []
        monitor.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(monitor.process.wait, DEADLINE) == 0

        assert monitor.rows("SELECT name FROM span") == [("MonitorService/QueryLogs",)]


async def test_losing_the_monitor_disturbs_nobody(tmp_path: Path) -> None:
    agent = Identity.agent("analyst", "a-1")
    with started(Authority(tmp_path), tmp_path / "monitor.db") as monitor:
        telemetry = Telemetry("analyst", "a-1", "default", monitor.collector(agent))
        with telemetry.tracer.start_as_current_span("before"):
            telemetry.log("info", "before", {})
        monitor.process.kill()
        monitor.process.wait(DEADLINE)

        started_at = time.monotonic()
        with telemetry:
            for number in range(5000):
                telemetry.log("info", "after", {"number": number})
            said = time.monotonic() - started_at
        ended = time.monotonic() - started_at

    assert said < 2
    assert ended < 10


async def _found(
    sender: Channel, count: int = 1, metadata: Any = (), request: monitor_pb2.QueryLogsRequest | None = None, **given: Any
) -> bool:
    wanted = request or monitor_pb2.QueryLogsRequest(filter=monitor_pb2.LogFilter(**given))
    answer = await monitor_pb2_grpc.MonitorServiceStub(sender.for_stubs()).QueryLogs(wanted, metadata=metadata)
    return len(answer.records) >= count


async def _drained(responses: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        async for _ in responses:
            pass


def _page_of_three(token: str) -> monitor_pb2.QueryLogsRequest:
    return monitor_pb2.QueryLogsRequest(filter=monitor_pb2.LogFilter(service="dev"), page_size=3, page_token=token)
