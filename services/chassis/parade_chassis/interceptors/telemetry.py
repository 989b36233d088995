"""The second concern: a span and a measurement for every request."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.trace import SpanKind, Status, StatusCode

from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Telemetry, remote_parent
from parade_chassis.context import current

QUIET = ("/grpc.health.", "/opentelemetry.", DISPATCHER_SESSION)
"""Methods that are not traced: probes, telemetry itself, which would otherwise report on its own reports, and sessions, whose calls have
their own spans."""


class TelemetryConcern:
    """Opens a span under the caller's, and measures how long the request took."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Takes where spans and measurements go."""
        self._telemetry = telemetry
        self._durations = telemetry.tally(("rpc.service", "rpc.method", "rpc.failed"), {"rpc.server.duration": "How long requests took"})

    @asynccontextmanager
    async def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        """Opens the span and closes it with how the request ended."""
        if method.startswith(QUIET):
            yield
            return
        service, _, name = method.strip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "parade.caller": current().caller.uri}
        metadata = dict(context.invocation_metadata() or ())
        started = time.perf_counter()
        with self._telemetry.tracer.start_as_current_span(
            f"{service.rpartition('.')[2]}/{name}",
            context=remote_parent(lambda key: _text(metadata.get(key))),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            finally:
                code = context.code()
                failed = code not in (None, 0, grpc.StatusCode.OK)
                if failed:
                    span.set_status(Status(StatusCode.ERROR, context.details() or ""))
                self._durations.record((service, name, failed), time.perf_counter() - started)


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None
