"""What an instance says of its calls: how long and how they ended, spans of those that are recorded, a line where a function failed."""

import traceback
from collections.abc import Collection

from opentelemetry.trace import SpanKind

from parade.function_error import FunctionError
from parade.v1 import session_pb2
from parade.wire.call_span import CallSpan, is_unsampled
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.redaction import masked
from parade.wire.telemetry import Telemetry


class FailureLog:
    """Writes down where a function failed, and nothing else."""

    def __init__(self, log: Log) -> None:
        """Takes the log."""
        self._log = log

    def begin(self, name: str, effect: str, call: session_pb2.SessionCall) -> CallSpan | None:  # noqa: ARG002  # what observers take
        """Records nothing."""
        return None

    def succeeded(self, name: str, seconds: float) -> None:
        """Says nothing of a call that ended well."""

    def end(
        self,
        name: str,
        call: session_pb2.SessionCall,
        seconds: float,  # noqa: ARG002  # what observers take
        error: ParadeError | None,
        span: CallSpan | None,  # noqa: ARG002  # what observers take
        *,
        told: bool,
    ) -> None:
        """Writes a line for a function that failed."""
        if error is None or error.reason is not Reason.AGENT_ERROR or told:
            return
        # What a function raises on purpose needs no traceback; what it returned has none worth reading.
        raised = error.__cause__ if "exception_type" in error.metadata and not isinstance(error.__cause__, FunctionError) else None
        log = self._log.bind({"function": name}, {"call_id": call.options.call_id, "run_id": call.origin.run_id}, call.options.secrets)
        log.error("function failed", exception=raised, error=error.message)


class Observer(FailureLog):
    """Tells the monitor too."""

    def __init__(self, telemetry: Telemetry, log: Log) -> None:
        """Takes where everything goes."""
        super().__init__(log)
        self._telemetry = telemetry
        self._tally = telemetry.tally(
            ("parade.function",),
            {"parade.function.duration": "How long functions ran"},
            ("parade.function.calls", "Calls, by how they ended"),
            "parade.outcome",
        )

    def begin(self, name: str, effect: str, call: session_pb2.SessionCall) -> CallSpan | None:
        """Opens a call's span under the caller's; None where nobody records its trace."""
        traceparent = call.traceparent
        if is_unsampled(traceparent):
            return None
        return self._telemetry.begin_call(name, SpanKind.SERVER, traceparent, _attributes(name, call, effect), root=False)

    def succeeded(self, name: str, seconds: float) -> None:
        """Counts a call that ended well and has no span."""
        self._tally.record((name,), seconds, outcome="OK")

    def end(
        self, name: str, call: session_pb2.SessionCall, seconds: float, error: ParadeError | None, span: CallSpan | None, *, told: bool
    ) -> None:
        """Counts a call, closes its span, and writes a line where the function failed."""
        if error is None:
            self._tally.record((name,), seconds, outcome="OK")
            if span is not None:
                span.end()
            return
        self._tally.record((name,), seconds, outcome=error.reason.value)
        if span is not None:
            if error.reason is Reason.AGENT_ERROR and error.__cause__ is not None:
                _record_exception(span, error.__cause__, call.options.secrets)
            span.end(error.reason.value, error.message)
        else:
            self._telemetry.failed_call(
                name, SpanKind.SERVER, seconds, error.reason.value, error.message, call.traceparent, _attributes(name, call)
            )
        super().end(name, call, seconds, error, span, told=told)


def _record_exception(span: CallSpan, exception: BaseException, secrets: Collection[str]) -> None:
    stacktrace = "".join(traceback.format_exception(exception))
    words = {"exception.message": masked(str(exception), secrets), "exception.stacktrace": masked(stacktrace, secrets)}
    span.span.record_exception(exception, words if secrets else None)


def _attributes(name: str, call: session_pb2.SessionCall, effect: str = "") -> dict[str, str | int | bool]:
    origin = call.origin
    attributes = {
        "parade.function": name,
        "parade.call_id": call.options.call_id,
        "parade.principal": origin.principal,
        "parade.run_id": origin.run_id,
        "parade.step": origin.step,
        "parade.effect": effect,
    }
    return {key: value for key, value in attributes.items() if value}
