"""One HTTP request from its arrival to its answer: endpoint, caller, handler, and what is recorded of it. The work is the handlers'."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import SpanKind
from starlette.types import Receive, Scope, Send

from parade.wire.call_span import CallSpan
from parade.wire.errors import ParadeError, Reason
from parade_chassis.grants import lacking
from parade_chassis.lifecycle import Process
from parade_gateway.answer import Answer
from parade_gateway.caller import Caller
from parade_gateway.callers import Callers, Shown, shown_by
from parade_gateway.config import Config
from parade_gateway.connection import CONNECTION
from parade_gateway.endpoints import Endpoint, Endpoints
from parade_gateway.errors import HttpError
from parade_gateway.quotas import Requests
from parade_gateway.refused import Refused
from parade_gateway.request import Request

MAX_REQUESTS = 1024
"""Requests at once, streams among them; the rest are refused with NO_CAPACITY."""

_REFUSALS = frozenset({Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED})
REVOCATION_CHECK: Final = 4.0
"""Seconds between two looks at who still has requests under way. With what is remembered of a key it stays below 10."""


@dataclass(slots=True)
class _Open:
    shown: Shown
    endpoint: Endpoint
    began: float
    refusal: ParadeError | None = None
    """Why it is ended, where it is."""


class Api:
    """The RPCs over HTTP."""

    def __init__(self, process: Process[Config], endpoints: Endpoints, callers: Callers, refused: Refused) -> None:
        """Takes what the steps need.

        Args:
            process: For its telemetry and log.
            endpoints: Who answers what.
            callers: Who may come in.
            refused: Where it is noted who may not.
        """
        self._telemetry = process.telemetry
        self._log = process.log
        self._clock = process.clock
        self._endpoints = endpoints
        self._callers = callers
        self._refused = refused
        self._open: dict[asyncio.Task[Any], _Open] = {}
        """The requests under way that were let in."""
        self._under_way = 0
        self._requests = Requests(process.config.limits())
        self._durations = process.telemetry.tally(
            ("http.request.method", "http.route", "http.response.status_code"), {"http.server.duration": "How long requests took"}
        )

    async def __call__(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Answers one request, under a span where one is recorded: it continues the caller's trace."""
        started = time.perf_counter()
        verb = scope["method"]
        refusal = None
        try:
            endpoint = self._endpoints.find(verb, scope["raw_path"].decode("latin-1"))
        except HttpError as error:
            endpoint, refusal = Endpoint.nothing(verb), error
        span = self._telemetry.begin_call(endpoint.name, SpanKind.SERVER, headers.get("traceparent", ""), endpoint.attributes)
        answer = Answer(send, scope[CONNECTION], span.traceparent if span is not None else "")
        self._under_way += 1
        try:
            shown, caller = await self._admitted(headers, endpoint, refusal)
            if span is not None:
                span.describe({"parade.namespace": caller.namespace})
            if self._under_way > MAX_REQUESTS:
                raise ParadeError(Reason.NO_CAPACITY, "too many requests are under way; try again", metadata={"retry_after": "1s"})
            with self._requests.one(caller.namespace):
                await self._handled(shown, endpoint, Request(scope, headers, receive, endpoint.fields, caller, span), answer)
        except ParadeError as error:
            await answer.fail(error)
        except Exception as error:  # noqa: BLE001 - nobody foresaw it: it is logged here and leaves masked
            incident = secrets.token_hex(4)
            self._log.error("request failed unexpectedly", method=verb, path=scope["path"], incident=incident, exception=error)
            await answer.fail(ParadeError(Reason.INTERNAL, f"an unexpected fault; the log has it as incident {incident}"))
        finally:
            self._under_way -= 1
            self._record(endpoint, headers, answer, span, time.perf_counter() - started)

    async def end_revoked(self) -> None:
        """Ends the requests under way of those who may not make them any more, until it is cancelled."""
        while True:
            await self._clock.sleep(REVOCATION_CHECK)
            await self._end_revoked()

    async def _end_revoked(self) -> None:
        long_ago = self._clock.monotonic() - REVOCATION_CHECK
        for task, request in [(task, request) for task, request in self._open.items() if request.began < long_ago]:
            try:
                demand_role(self._callers.known(request.shown) or await self._callers.caller(request.shown), request.endpoint)
            except ParadeError as error:
                # Where nobody can say at the moment, nobody could have been kept out either.
                if error.reason in _REFUSALS and self._open.get(task) is request:
                    self._refused.note(request.endpoint.name, None, error)
                    request.refusal = error
                    task.cancel()

    async def _admitted(self, headers: Mapping[str, str], endpoint: Endpoint, refusal: HttpError | None) -> tuple[Shown, Caller]:
        """Returns what a request shows and who makes it, where they may.

        Args:
            headers: What came with it.
            endpoint: Where it ends.
            refusal: What speaks against it, whoever makes it.

        Raises:
            ParadeError: Why it goes no further.
        """
        caller = None
        try:
            shown = shown_by(headers)
            caller = self._callers.known(shown) or await self._callers.caller(shown)
            if refusal is not None:
                raise refusal
            demand_role(caller, endpoint)
        except ParadeError as error:
            self._refused.note(endpoint.name, caller, error)
            raise
        return shown, caller

    async def _handled(self, shown: Shown, endpoint: Endpoint, request: Request, answer: Answer) -> None:
        """Has a request answered; it ends where who makes it may not make it any more."""
        task: Any = asyncio.current_task()
        mine = self._open[task] = _Open(shown, endpoint, self._clock.monotonic())
        try:
            await endpoint.handler(request, answer)
        except asyncio.CancelledError:
            if mine.refusal is None or task.uncancel():
                raise
            raise mine.refusal from None
        finally:
            del self._open[task]

    def _record(self, endpoint: Endpoint, headers: Mapping[str, str], answer: Answer, span: CallSpan | None, seconds: float) -> None:
        verb, route, status, error = endpoint.verb, endpoint.template, answer.status, answer.error
        self._durations.record((verb, route, str(status)), seconds)
        if span is not None:
            span.describe({"http.response.status_code": status})
        milliseconds = round(seconds * 1000, 1)
        if error is None or status < 500:
            if span is not None:
                span.end()
            self._log.debug("request answered", method=verb, route=route, status=status, milliseconds=milliseconds)
            return
        reason = error.reason.value
        if span is not None:
            span.end(reason, error.message)
        else:
            parent = headers.get("traceparent", "")
            self._telemetry.failed_call(endpoint.name, SpanKind.SERVER, seconds, reason, error.message, parent, endpoint.attributes)
        self._log.error("request answered", method=verb, route=route, status=status, milliseconds=milliseconds, reason=reason)


def demand_role(caller: Caller, endpoint: Endpoint) -> None:
    """Lets a request through to its endpoint.

    Raises:
        ParadeError: PERMISSION_DENIED where who asks has too little of a role.
    """
    if caller.role < endpoint.role:
        raise lacking(caller.principal, caller.namespace, caller.role, endpoint.role, endpoint.purpose)
