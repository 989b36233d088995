"""Calls that come by session: each goes to the engine as it arrives, and what the engine says of it goes back. It decides nothing."""

from opentelemetry.trace import SpanKind

from parade.v1 import session_pb2
from parade.wire.call_span import CallSpan, is_unsampled
from parade.wire.errors import ParadeError, Reason
from parade.wire.session.acceptor import Exchange
from parade.wire.session.methods import DISPATCHER_SESSION
from parade.wire.telemetry import Telemetry
from parade_chassis.audit_decisions import DENIED, Decisions
from parade_chassis.context import RequestContext
from parade_dispatcher import convert, entries
from parade_dispatcher.engine import Engine
from parade_dispatcher.job import Job
from parade_dispatcher.model import Answer, Content, Progress, Timing


class SessionHandler:
    """Begins calls."""

    def __init__(self, engine: Engine, telemetry: Telemetry, decisions: Decisions) -> None:
        """Takes the engine that makes the calls, where the spans of those go whose callers record them, and what takes down refusals."""
        self._engine = engine
        self._telemetry = telemetry
        self._decisions = decisions

    def begin(self, call: session_pb2.SessionCall, exchange: Exchange) -> None:
        """Begins one call; it may have ended when this returns."""
        caller: RequestContext = exchange.caller
        traceparent = call.traceparent
        span = None
        if traceparent and not is_unsampled(traceparent):
            span = self._telemetry.begin_call(call.function, SpanKind.SERVER, traceparent, {"parade.caller": caller.caller.uri}, root=False)
            if span is not None:
                traceparent = span.traceparent
        try:
            request = convert.session_request(call, caller, traceparent)
        except ParadeError as error:
            if span is not None:
                span.end(error.reason.value, error.message)
            self._decisions.denied(DISPATCHER_SESSION, caller, error, f"functions/{call.function}")
            exchange.answer(convert.session_failure(error))
            return
        if span is not None:
            span.describe({"parade.namespace": request.namespace})
        reply = SessionReply(exchange, self._telemetry, self._decisions, not request.call_id, request.step is not None, span)
        reply.began(self._engine.begin(request, reply))


class SessionReply:
    """What the engine says of one call, put into the session."""

    __slots__ = ("_decisions", "_events", "_exchange", "_is_step", "_job", "_names_call", "_span", "_telemetry", "_window")

    def __init__(
        self,
        exchange: Exchange,
        telemetry: Telemetry,
        decisions: Decisions,
        names_call: bool,  # noqa: FBT001 - one for every call
        is_step: bool,  # noqa: FBT001 - as above
        span: CallSpan | None,
    ) -> None:
        """Takes the call at the session.

        Args:
            exchange: The call at the session.
            telemetry: Where a failure goes of a call that nobody records.
            decisions: Takes down refusals.
            names_call: Whether the answer names the call, since its caller did not.
            is_step: Whether it is a step's call.
            span: The call's span, where it is recorded.
        """
        self._exchange: Exchange | None = exchange
        self._window = exchange.window
        self._events = self._window > 0
        self._telemetry = telemetry
        self._decisions = decisions
        self._names_call = names_call
        self._is_step = is_step
        self._span = span
        self._job: Job | None = None

    def began(self, job: Job) -> None:
        """Takes the call at the engine; it may have ended already."""
        exchange = self._exchange
        if exchange is None:
            return
        self._job = job
        exchange.cancelled = self._cancelled
        if self._events:
            exchange.credited = self._credited

    def answered(self, answer: Answer) -> None:
        """Passes on that the call has ended well."""
        self._end(entries.result_entry(answer, names_call=self._names_call))
        if self._span is not None:
            self._span.end()

    def failed(self, error: ParadeError, timing: Timing) -> None:
        """Passes on that the call has failed."""
        if error.reason in DENIED and self._exchange is not None:
            self._decisions.denied(DISPATCHER_SESSION, self._exchange.caller, error, f"functions/{error.metadata.get('function', '')}")
        self._end(convert.session_failure(error, timing))
        facts = error.metadata
        if self._span is not None:
            self._span.end(error.reason.value, error.message)
        elif error.reason is not Reason.CANCELLED:
            seconds = timing.queued + timing.transport + timing.executing
            attributes = {f"parade.{name}": facts[name] for name in ("function", "call_id", "instance") if name in facts}
            self._telemetry.failed_call(
                facts.get("function", "call"), SpanKind.SERVER, seconds, error.reason.value, error.message, attributes=attributes
            )

    def assigned(self, call_id: str, instance_id: str) -> None:  # noqa: ARG002  # the caller knows the call by its number
        """Passes on which instance has the call. To the scheduler the result says so as well, and most of its calls end at once."""
        exchange = self._exchange
        if exchange is None or not self._events:
            return
        if self._is_step:
            exchange.mention(entries.assigned_entry(instance_id))
        else:
            exchange.tell(session_pb2.SessionEvent(instance_id=instance_id))

    def progressed(self, progress: Progress) -> None:
        """Passes on how far the call has come."""
        if self._events and self._exchange is not None:
            self._exchange.tell(session_pb2.SessionEvent(progress=convert.progress_message(progress)))

    def item(self, value: Content) -> None:
        """Passes on an item."""
        exchange = self._exchange
        if exchange is None:
            return
        event = session_pb2.SessionEvent()
        convert.put(event.item, value)
        exchange.tell(event)
        self._window = exchange.window

    def cancelling(self, state: str) -> None:
        """Passes on how far the cancellation has come."""
        if self._events and self._exchange is not None:
            self._exchange.tell(session_pb2.SessionEvent(cancellation=convert.cancellation_number(state)))

    def _end(self, result: session_pb2.SessionResult | bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        # The two ends let go of each other, as `answer` does: a call that has ended is freed at once, not when garbage is next collected.
        self._exchange = self._job = None
        exchange.answer(result)

    def _cancelled(self, gone: bool) -> None:  # noqa: FBT001  # as the session calls it
        if self._job is not None:
            if gone:
                self._job.gone()
            else:
                self._job.cancel()

    def _credited(self) -> None:
        if self._exchange is not None and self._job is not None:
            window = self._exchange.window
            more, self._window = window - self._window, window
            if window <= convert.LARGEST_WINDOW:
                self._job.grant(more)
                return
            self._job.gone()
            self.failed(convert.too_wide(window), Timing())
