"""Runs calls: within the instance's capacity and the call's deadline, as a coroutine or in a thread, under a span, to an end in any case.

It knows nothing of gRPC: a call comes in as data, a result leaves as JSON, a failure as `ParadeError`.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context as TraceContext
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from parade.cancellation import Cancellation
from parade.context import Calls, Context
from parade.function import Function
from parade.function_error import FunctionError
from parade.hosting.capacity import Capacity
from parade.hosting.failures import raised_by_function
from parade.hosting.reports import Reports, Write
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in."""

    call_id: str
    function: str
    """The function's name within the agent."""
    arguments: bytes
    """JSON."""
    namespace: str
    principal: str
    run_id: str
    step: str
    remaining: float | None
    """Seconds until the caller's deadline; None where there is none."""
    parent: TraceContext
    """The caller's span."""


class Executor:
    """Runs the calls of one instance, and owns them: none outlives it unseen."""

    def __init__(
        self, agent: str, functions: Mapping[str, Function], capacity: Capacity, telemetry: Telemetry, log: Log, calls: Calls | None
    ) -> None:
        """Makes an executor; one thread for each call that may run at once is started when it is first needed.

        Args:
            agent: The agent's name.
            functions: Its functions by name.
            capacity: How much may run.
            telemetry: Where spans and measurements go.
            log: The instance's log.
            calls: How functions call other functions.
        """
        self.capacity = capacity
        self._agent = agent
        self._functions = functions
        self._telemetry = telemetry
        self._log = log
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(capacity.maximum, thread_name_prefix="function")
        self._running: set[asyncio.Future[Any]] = set()
        self._duration = telemetry.meter.create_histogram("parade.function.duration", unit="ms", description="How long calls took")

    async def close(self) -> None:
        """Cancels what still runs. A thread cannot be stopped; it is left alone."""
        for work in self._running:
            work.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=1)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, call: Call, write: Write | None = None) -> bytes | None:
        """Runs a call and returns its result as JSON; None of a streaming function, whose items have been written.

        Args:
            call: The call.
            write: Where progress notes and items go; None where nobody reads them, and a streaming function is then refused.

        Raises:
            ParadeError: UNKNOWN_FUNCTION, INVALID_ARGUMENTS, NO_CAPACITY, DEADLINE_EXCEEDED, AGENT_ERROR.
        """
        with self._measured(call) as span:
            function = self._functions.get(call.function)
            if function is None:
                known = ", ".join(sorted(self._functions))
                raise ParadeError(Reason.UNKNOWN_FUNCTION, f"{self._agent} has no function {call.function!r}; it has {known}")
            if function.streaming and write is None:
                raise ParadeError(Reason.INVALID_ARGUMENTS, f"{function.name} streams its items; call it as a stream")
            span.set_attribute("parade.effect", function.effect)
            function.check_arguments_size(call.arguments)
            arguments = function.decode(call.arguments)
            if write is None:
                return await self._finished(function, arguments, call, None)
            async with Reports(write) as reports:
                result = await self._finished(function, arguments, call, reports)
                await reports.flush()
                return result

    async def _finished(self, function: Function, arguments: dict[str, Any], call: Call, reports: Reports | None) -> bytes | None:
        limit = function.timeout if call.remaining is None else min(function.timeout, call.remaining)
        cancelled = Cancellation()
        if function.signature.context:
            arguments[function.signature.context] = self._context(call, limit, cancelled, reports)
        work = self._start(function, arguments, cancelled, reports)
        try:
            done, _ = await asyncio.wait([work], timeout=limit)
        except asyncio.CancelledError:
            cancelled.set()
            work.cancel()
            raise
        if not done:
            cancelled.set()
            work.cancel()
            raise ParadeError(Reason.DEADLINE_EXCEEDED, f"{function.name} was given {limit:.3g} s and has not ended")
        result: bytes | None = work.result()
        return result

    def _start(
        self, function: Function, arguments: dict[str, Any], cancelled: Cancellation, reports: Reports | None
    ) -> asyncio.Future[bytes | None]:
        self.capacity.take()
        work: asyncio.Future[bytes | None]
        if function.threaded:
            in_thread = self._threads.submit(
                contextvars.copy_context().run, _thread_work(function, arguments, cancelled, reports, self._loop)
            )
            in_thread.add_done_callback(lambda _: self.capacity.give_back_from_thread())
            work = asyncio.wrap_future(in_thread)
        else:
            work = asyncio.create_task(_coroutine_work(function, arguments, reports), name=f"call {function.name}")
            work.add_done_callback(lambda _: self.capacity.give_back())
        self._running.add(work)
        work.add_done_callback(self._ended)
        return work

    def _ended(self, work: asyncio.Future[Any]) -> None:
        self._running.discard(work)
        if not work.cancelled():
            work.exception()  # looked at, also where nobody waits for it any more

    def _context(self, call: Call, limit: float, cancelled: Cancellation, reports: Reports | None) -> Context:
        name = f"{self._agent}.{call.function}"
        facts = {"call_id": call.call_id, "run_id": call.run_id, "step": call.step}
        return Context(
            call_id=call.call_id,
            function=name,
            namespace=call.namespace,
            principal=call.principal,
            run_id=call.run_id,
            step=call.step,
            timeout=limit,
            cancelled=cancelled,
            log=self._log.bind({"function": name}, {key: value for key, value in facts.items() if value}),
            reports=reports,
            calls=self._calls,
            loop=self._loop,
        )

    @contextmanager
    def _measured(self, call: Call) -> Iterator[Span]:
        """Opens the call's span under the caller's, and closes it with how the call ended."""
        name = f"{self._agent}.{call.function}"
        attributes = {"parade.function": name, "parade.call_id": call.call_id, "parade.principal": call.principal}
        optional = {"parade.run_id": call.run_id, "parade.step": call.step}
        started = time.perf_counter()
        outcome = "OK"
        with self._telemetry.tracer.start_as_current_span(
            name,
            context=call.parent,
            kind=SpanKind.SERVER,
            attributes={**attributes, **{key: value for key, value in optional.items() if value}},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except ParadeError as error:
                outcome = error.reason.value
                _record(span, error)
                self._tell(name, call, error)
                raise
            except asyncio.CancelledError:
                outcome = Reason.CANCELLED.value
                span.set_attribute("parade.reason", outcome)
                span.set_status(Status(StatusCode.ERROR, "cancelled"))
                raise
            finally:
                elapsed = (time.perf_counter() - started) * 1000
                self._duration.record(elapsed, {"parade.function": name, "parade.outcome": outcome})

    def _tell(self, name: str, call: Call, error: ParadeError) -> None:
        if error.reason is not Reason.AGENT_ERROR:
            return
        # What a function raises on purpose needs no traceback; what it returned has none worth reading.
        raised = error.__cause__ if "exception_type" in error.metadata and not isinstance(error.__cause__, FunctionError) else None
        log = self._log.bind({"function": name}, {"call_id": call.call_id, "run_id": call.run_id})
        log.error("function failed", exception=raised, error=error.message)


def _record(span: Span, error: ParadeError) -> None:
    span.set_attribute("parade.reason", error.reason.value)
    span.set_status(Status(StatusCode.ERROR, error.message))
    if error.reason is Reason.AGENT_ERROR and error.__cause__ is not None:
        span.record_exception(error.__cause__)


async def _coroutine_work(function: Function, arguments: dict[str, Any], reports: Reports | None) -> bytes | None:
    if reports is None or not function.streaming:
        with raised_by_function():
            value = await function.handler(**arguments)
        return function.encode(value)
    items = function.handler(**arguments)
    try:
        while True:
            with raised_by_function():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return None
            await reports.item(function.encode(item))
    finally:
        await items.aclose()


def _thread_work(
    function: Function,
    arguments: dict[str, Any],
    cancelled: Cancellation,
    reports: Reports | None,
    loop: asyncio.AbstractEventLoop,
) -> Callable[[], bytes | None]:
    def answer() -> bytes | None:
        with raised_by_function():
            value = function.handler(**arguments)
        return function.encode(value)

    def stream(send: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        items = function.handler(**arguments)
        try:
            while not cancelled:
                with raised_by_function():
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                asyncio.run_coroutine_threadsafe(send(function.encode(item)), loop).result()
        finally:
            items.close()

    if reports is None or not function.streaming:
        return answer
    return lambda: stream(reports.item)
