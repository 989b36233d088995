"""How a service logs: a constant event and fields, as a line for people or as JSON, and to the monitor."""

import logging
import sys
from typing import Any

import structlog
from opentelemetry import trace

from parade.wire.telemetry import Telemetry

Logger = structlog.stdlib.BoundLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SEVERITIES = {"exception": "error", "critical": "error", "warn": "warning"}


def configure(service: str, *, log_format: str, level: str, telemetry: Telemetry) -> Logger:
    """Sets up logging for the process and returns its logger.

    Args:
        service: The name that every line carries.
        log_format: `console` or `json`.
        level: The least grave record that is written.
        telemetry: Where every written record goes too.
    """

    def send(_: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        fields = {key: value for key, value in event.items() if key not in ("event", "level", "timestamp", "service", "trace_id")}
        telemetry.log(_SEVERITIES.get(method, method), str(event["event"]), fields)
        return event

    console = log_format == "console"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
            structlog.processors.format_exc_info,
            _add_trace,
            send,
            _line() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logger: Logger = structlog.get_logger(service=service)
    return logger


def _add_trace(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = f"{span.trace_id:032x}"
    return event


def _line() -> structlog.types.Processor:
    """Returns a renderer of short lines; the prefix with the service's name is put there by whoever follows several services."""

    def render(_: Any, __: str, event: structlog.types.EventDict) -> str:
        exception = event.pop("exception", "")
        head = f"{event.pop('timestamp')} {event.pop('level'):7} {event.pop('event')}"
        event.pop("service", None)
        event.pop("trace_id", None)
        fields = " ".join(f"{key}={value}" for key, value in event.items())
        return f"{head}  {fields}".rstrip() + (f"\n{exception}" if exception else "")

    return render
