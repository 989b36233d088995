"""One call while it runs here: its place, its deadline, its end and who is told of it. How its function runs, the kinds of work know.

A call ends for its callers when it is answered, and for the instance when its function has ended: the second may come later than the first.
"""

import asyncio
import contextvars
from abc import ABC, abstractmethod
from typing import Any

from opentelemetry.context import attach
from opentelemetry.trace import set_span_in_context

from parade.context import Context
from parade.hosting.exchange import Exchange, Nobody
from parade.hosting.failures import failure_of
from parade.hosting.host import MAX_INLINE_BYTES, MAX_STEP_BYTES, Host
from parade.hosting.large import fetched, stored
from parade.hosting.notes import Notes
from parade.hosting.results import inline
from parade.hosting.served import Served
from parade.v1 import call_pb2, session_pb2, value_pb2
from parade.wire.call_span import CallSpan
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.log import Log
from parade.wire.redaction import redacted_error, remember
from parade.wire.status import to_record

JSON = "application/json"
GRACE = 0.5
"""Seconds that a function gets to end once it was told to; then who called is told that it could not be stopped."""

_Result = session_pb2.SessionResult


class Work(ABC):
    """One call while it runs. Subclasses run its function: they begin and stop it, and say when it has ended."""

    __slots__ = (
        "_aside",
        "_joined",
        "answered",
        "arrived",
        "began",
        "call",
        "call_id",
        "cancelling",
        "context",
        "deadline",
        "exchange",
        "host",
        "limit",
        "notes",
        "served",
        "span",
        "watched",
    )

    def __init__(self, host: Host, served: Served, call: session_pb2.SessionCall, exchange: Exchange, arrived: float = 0.0) -> None:
        """Takes a call that has just arrived, or at a time of the loop."""
        self.host = host
        self.served = served
        self.call = call
        self.exchange = exchange
        self.call_id = ""
        """Its id, where its function has effects: by that it is found again."""
        self.watched = exchange.window > 0
        """Whether somebody wants to know what it says while it runs."""
        self.arrived = arrived or host.now()
        self.began = 0.0
        """When its function began; 0 while it has not."""
        timeout, limit = call.timeout, served.limit
        self.limit = timeout if 0 < timeout < limit else limit
        """Seconds that it may take."""
        self.deadline = self.arrived + self.limit
        self.answered = False
        self.cancelling: ParadeError | None = None
        """Why it is to end before its time."""
        self.context: Context | None = None
        self.notes: Notes | None = None
        self.span: CallSpan | None = None
        self._joined: list[Exchange] | None = None
        self._aside: asyncio.Task[None] | None = None
        """What fetches the arguments or stores the result, where they are too large to travel as themselves."""

    # ---------------------------------------------------------------------------------------- what the kinds of work do

    @abstractmethod
    def run(self, data: bytes) -> None:
        """Begins the function.

        Args:
            data: Its arguments as JSON.

        Raises:
            ParadeError: INVALID_ARGUMENTS.
        """

    @abstractmethod
    def stop(self) -> None:
        """Tells the function to end; why stands in `cancelling`."""

    @property
    def inline_bytes(self) -> int:
        """The largest value that it may send as itself."""
        return MAX_STEP_BYTES if self.call.origin.step else MAX_INLINE_BYTES

    def credited(self) -> None:  # noqa: B027  # only streams have something to do here
        """Takes note that there is room for more items."""

    # ---------------------------------------------------------------------------------------------------------- its beginning

    def enter(self) -> None:
        """Takes a place.

        Raises:
            ParadeError: NO_CAPACITY.
        """
        self.host.capacity.take()
        self.host.running.add(self)

    def watch(self) -> None:
        """Lets its caller end it from now on, and its deadline."""
        self.exchange.cancelled = self.cancelled
        self.host.deadlines.add(self.deadline, self)

    def begin(self) -> None:
        """Begins, or answers at once why not."""
        host = self.host
        try:
            self.enter()
        except ParadeError as error:
            self.fail(error)
            return
        if self.served.effect:
            self.call_id = self.call.options.call_id
            host.effects[self.call_id] = self
        try:
            self._begin()
        except ParadeError as error:
            self.fail(error)
            self.left()

    def _begin(self) -> None:
        host, call, served, exchange = self.host, self.call, self.served, self.exchange
        remember(call.options.secrets)
        if call.traceparent:
            self.span = host.observer.begin(served.name, served.function.effect, call)
        value = call.arguments
        data = value.data
        if served.streaming:
            if not self.watched:
                raise ParadeError(Reason.INVALID_ARGUMENTS, f"{served.function.name} streams its items; call it as a stream")
            exchange.credited = self.credited
        media_type = value.media_type
        if media_type and media_type != JSON:
            fault = Violation("arguments", f"are {media_type}; only {JSON} is accepted")
            raise ParadeError(Reason.INVALID_ARGUMENTS, "the arguments are not JSON", violations=[fault])
        if not data and value.HasField("artifact"):
            if host.artifacts is None:
                raise ParadeError(Reason.FAILED_PRECONDITION, "the arguments are an artifact, and this agent has no way to read artifacts")
            self._aside = host.loop.create_task(self._fetch(fetched(host.artifacts, value)))
        else:
            if len(data) > MAX_INLINE_BYTES:
                served.function.check_arguments_size(data)
            self.run(data)
        if not self.answered:
            self.watch()

    async def _fetch(self, content: Any) -> None:
        try:
            data = await content
            self._aside = None
            self.run(data)
        except ParadeError as error:
            self._aside = None
            self.fail(error)
            self.left()

    def arguments(self, data: bytes) -> dict[str, Any]:
        """Returns the function's arguments, the context with them where it asks for one."""
        served = self.served
        arguments = served.decode(data, self.host.artifacts)
        if served.context:
            arguments[served.context] = self._context()
        return arguments

    def make_notes(self) -> Notes:
        """Returns what takes the function's progress notes."""
        return Notes(self)

    def environment(self) -> contextvars.Context | None:
        """Returns what the function runs in where its call is recorded, so that what it does hangs under its span."""
        if self.span is None:
            return None
        environment = contextvars.copy_context()
        environment.run(attach, set_span_in_context(self.span.span))
        return environment

    def _context(self) -> Context:
        call, host = self.call, self.host
        origin = call.origin
        if self.watched:
            self.notes = self.make_notes()
        self.context = Context(
            call_id=call.options.call_id,
            function=self.served.name,
            namespace=origin.namespace,
            principal=origin.principal,
            run_id=origin.run_id,
            step=origin.step,
            timeout=self.deadline - host.now(),
            make_log=self._log,
            reports=self.notes,
            calls=host.calls,
            artifacts=host.artifacts,
            secrets=call.options.secrets,
            mandate=origin.mandate,
            loop=host.loop,
        )
        return self.context

    def _log(self) -> Log:
        origin = self.call.origin
        facts = {"call_id": self.call.options.call_id, "run_id": origin.run_id, "step": origin.step}
        bound = {key: value for key, value in facts.items() if value}
        return self.host.log.bind({"function": self.served.name}, bound, self.call.options.secrets)

    # ------------------------------------------------------------------------------------------------------- what it says

    def tell(self, event: session_pb2.SessionEvent) -> None:
        """Tells an event, while anybody waits for the call."""
        if self.watched and not self.answered:
            self.exchange.tell(event)

    def tell_item(self, value: value_pb2.Value) -> None:
        """Tells an item, after the notes that came before it."""
        if self.notes is not None:
            self.notes.tell()
        if not self.answered:
            self.exchange.tell(session_pb2.SessionEvent(item=value))

    # ----------------------------------------------------------------------------------------------------------- its end

    def cancelled(self, gone: bool) -> None:  # noqa: FBT001  # as the exchange calls it
        """Ends the call, because its caller asked for that or went away. An effect whose caller went away runs on."""
        if not (gone and self.served.effect):
            self.end(ParadeError(Reason.CANCELLED, "the call was cancelled"))
            return
        self.exchange = self._joined.pop(0) if self._joined else Nobody()
        self.credited()

    def expired(self) -> None:
        """Ends the call at its deadline; where it was told to end before, its time for that is over."""
        if self.cancelling is not None:
            self.stopped(call_pb2.CANCELLATION_COULD_NOT_STOP)
            return
        name = self.served.function.name
        self.end(ParadeError(Reason.DEADLINE_EXCEEDED, f"{name} was given {self.limit:.3g} s and has not ended"))

    def end(self, why: ParadeError) -> None:
        """Has the call end before its time."""
        if self.answered or self.cancelling is not None:
            return
        self.cancelling = why
        self.host.deadlines.remove(self.deadline, self)
        self.tell(session_pb2.SessionEvent(cancellation=call_pb2.CANCELLATION_ACKNOWLEDGED))
        if self._aside is not None:
            self._aside.cancel()
            self._aside = None
            self.stopped()
            self.left()
            return
        if self.context is not None:
            self.context.cancelled.set()
            self.context.end_calls(self.own_task())
        self.stop()

    def own_task(self) -> "asyncio.Task[None] | None":
        """Returns the task that the function runs in, if any."""
        return None

    def await_end(self) -> None:
        """Gives the function a moment to end by itself, then says that it could not be stopped."""
        self.deadline = self.host.now() + GRACE
        self.host.deadlines.add(self.deadline, self)

    def stopped(self, state: "call_pb2.Cancellation.ValueType" = call_pb2.CANCELLATION_STOPPED) -> None:
        """Answers a call that was to end before its time."""
        if self.cancelling is not None and not self.answered:
            self.cancelling.metadata["cancellation"] = call_pb2.Cancellation.Name(state).removeprefix("CANCELLATION_")
            self._answer(_Result(error=to_record(self.cancelling)), self.cancelling)

    def returned(self, value: Any) -> None:
        """Answers with what the function returned."""
        try:
            data = self.served.encode(value)
        except Exception as error:  # noqa: BLE001  # a type of the author's own may raise anything when it is written
            self.raised(error)
            return
        self.succeed(data)

    def raised(self, error: BaseException) -> None:
        """Answers with what the function raised."""
        self.fail(failure_of(error))

    def succeed(self, data: bytes | None) -> None:
        """Answers with a result as JSON; None where a streaming function has ended well."""
        if self.answered:
            return
        if self.cancelling is not None:
            self.stopped()
        elif data is None:
            self._answer(_Result(), None)
        elif len(data) <= MAX_INLINE_BYTES or len(data) <= self.inline_bytes:
            self._answer(inline(data), None)
        elif self.host.artifacts is not None:
            self._aside = self.host.loop.create_task(self._store(stored(self.host.artifacts, data, self.served.function.name)))
        else:
            try:
                self.served.function.check_result_size(data)
                self._answer(inline(data), None)
            except ParadeError as error:
                self.fail(error)

    async def _store(self, content: Any) -> None:
        try:
            value = await content
            self._answer(_Result(result=value), None)
        except ParadeError as error:
            self.fail(error)
        self._aside = None
        self.left()

    def fail(self, error: ParadeError, *, told: bool = False) -> None:
        """Answers with a failure.

        Args:
            error: The failure.
            told: Whether it stands in the log already.
        """
        if self.answered:
            return
        if self.cancelling is not None:
            self.stopped()
            return
        error = redacted_error(error, self.call.options.secrets)
        self._answer(_Result(error=to_record(error)), error, told=told)

    def _answer(self, result: session_pb2.SessionResult, error: ParadeError | None, *, told: bool = False) -> None:
        host, served = self.host, self.served
        if self.notes is not None:
            self.notes.tell()
        self.answered = True
        now = host.now()
        began = self.began or now
        result.queued_us = int((began - self.arrived) * 1e6)
        result.executing_us = int((now - began) * 1e6)
        host.deadlines.remove(self.deadline, self)
        host.observer.end(served.name, self.call, now - began, error, self.span, told=told)
        if served.effect and self.began:
            host.kept.put(self.call_id, result)
        if self._joined:
            for exchange in self._joined:
                answer = _Result()
                answer.CopyFrom(result)
                exchange.answer(answer)
        self.exchange.answer(result)

    def left(self) -> None:
        """Gives the call's place back: its function has ended."""
        if self._aside is not None:
            return  # its result is not stored yet
        host = self.host
        host.running.discard(self)
        if self.context is not None:
            self.context.end_calls(self.own_task())
        if self.served.effect and host.effects.get(self.call_id) is self:
            del host.effects[self.call_id]
        host.capacity.give_back()

    # ------------------------------------------------------------------------------------------------- others who wait for it

    def join(self, exchange: Exchange) -> None:
        """Answers one more; items that were told already are not told again."""
        if isinstance(self.exchange, Nobody) and exchange.window > 0:
            self.exchange = exchange
            exchange.cancelled = self.cancelled
            exchange.credited = self.credited
            return
        joined = self._joined = self._joined or []
        joined.append(exchange)

        def cancelled(gone: bool) -> None:  # noqa: FBT001  # as the exchange calls it
            if exchange is self.exchange or not gone:
                self.cancelled(gone)
            elif exchange in joined:
                joined.remove(exchange)

        exchange.cancelled = cancelled
