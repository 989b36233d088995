"""Who was refused at the gateway, on the way into the agent_manager's audit log: the gateway has none of its own."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from parade.v1 import refusal_pb2 as pb
from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade_chassis.audit import Record
from parade_chassis.audit_decisions import Decisions
from parade_chassis.clock import Clock
from parade_chassis.context import RequestContext
from parade_gateway.caller import Caller

INTERVAL: Final = 10.0
"""Seconds between two reports. Whoever reaches the port causes refusals, and what is reported is kept for good: so it is little."""

Report = Callable[[pb.ReportRefusalsRequest], Awaitable[Any]]
"""Reports to the agent_manager."""


class Refused:
    """Counts refusals, and reports them now and then. It never waits for the agent_manager, and keeps what that does not take."""

    def __init__(self, report: Report, own: Identity, clock: Clock, log: Log) -> None:
        """Takes the way to the agent_manager, who this gateway is, the time and the log."""
        self._report = report
        self._own = own
        self._decisions = Decisions(clock, log, INTERVAL)

    def note(self, action: str, caller: Caller | None, error: ParadeError) -> None:
        """Notes that somebody was refused. Errors that are no refusals are left alone.

        Args:
            action: What they asked for, `GET /v1/agents`.
            caller: Who it was; None where what they showed was not believed, or nothing.
            error: What they were told.
        """
        request = None if caller is None else RequestContext(action, self._own, caller.namespace, caller.principal)
        self._decisions.denied(action, request, error)

    async def keep(self) -> None:
        """Reports until it is cancelled."""
        await self._decisions.keep(self._write)

    async def end(self) -> None:
        """Reports what there is, as the last act; what the agent_manager does not take is lost."""
        await self._decisions.end(self._write)

    async def _write(self, records: Sequence[Record]) -> None:
        request = pb.ReportRefusalsRequest()
        for record in records:
            if not record.action:  # what there was beside those that stand there
                request.left_out += record.facts["left_out"]
                continue
            refusal = request.refusals.add(action=record.action, subject=record.subject, namespace=record.namespace)
            refusal.count, refusal.reason, refusal.message = (record.facts[name] for name in ("count", "reason", "message"))
            refusal.time.FromDatetime(record.time)
        await self._report(request)
