"""The second concern: a span and a measurement for every request."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from opentelemetry import context as tracing
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, set_span_in_context

from parade.wire.recorded_span import Fact
from parade.wire.session.methods import DISPATCHER_SESSION, SCHEDULER_SESSION
from parade.wire.telemetry import Telemetry
from parade_chassis.context import current

QUIET = ("/grpc.health.", "/opentelemetry.", DISPATCHER_SESSION, SCHEDULER_SESSION)
"""Methods that are not traced: probes, telemetry itself, which would otherwise report on its own reports, and sessions, whose calls have
their own spans."""

LASTING = "/parade.v1.AgentManagerService/Heartbeat"
"""A method that is measured and not traced: it lasts as long as an instance lives, and a span that nobody sees before it ends would be kept
in memory for each of thousands."""


class TelemetryConcern:
    """Opens a span under the caller's, and measures how long the request took."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Takes where spans and measurements go."""
        self._telemetry = telemetry
        self._durations = telemetry.tally(("rpc.service", "rpc.method", "rpc.failed"), {"rpc.server.duration": "How long requests took"})

    def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Callable[[], None] | None:
        """Opens the span and returns what closes it with how the request ended."""
        if method.startswith(QUIET):
            return None
        started = time.perf_counter()
        if method == LASTING:
            return partial(self._answered, method, context, INVALID_SPAN, started)
        metadata = dict(context.invocation_metadata() or ())
        parent = metadata.get("traceparent")
        return partial(self._answered, method, context, self.begin(method, parent if isinstance(parent, str) else ""), started)

    def begin(self, method: str, parent: str) -> Span:
        """Opens the span of a request that has a task, and so a context, of its own, under the one that `parent` names."""
        service, _, name = method.strip("/").partition("/")
        request = current()
        facts: dict[str, Fact] = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "parade.caller": request.caller.uri}
        if request.namespace:
            facts["parade.namespace"] = request.namespace  # whose the span is: the monitor shows it to nobody else
        span = self._telemetry.begin_request(f"{service.rpartition('.')[2]}/{name}", parent, facts)
        tracing.attach(set_span_in_context(span))
        return span

    def end(self, method: str, span: Span, started: float, failure: str | None) -> None:
        """Closes the span and measures.

        Args:
            method: The method's full name.
            span: What `begin` gave.
            started: When the request came, by `time.perf_counter`.
            failure: Why it failed; None where it did not.
        """
        service, _, name = method.strip("/").partition("/")
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, failure))
        self._durations.record((service, name, failure is not None), time.perf_counter() - started)
        span.end()

    def _answered(self, method: str, context: grpc.aio.ServicerContext[Any, Any], span: Span, started: float) -> None:
        failed = context.code() not in (None, 0, grpc.StatusCode.OK)
        self.end(method, span, started, (context.details() or "") if failed else None)
