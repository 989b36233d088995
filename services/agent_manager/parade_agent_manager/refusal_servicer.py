"""What the gateway reports of those whom it has refused, into the audit log: decode, one call."""

from datetime import UTC
from typing import Any, Final

import grpc

from parade.v1 import refusal_pb2 as pb
from parade.v1 import refusal_pb2_grpc
from parade.wire.audit import Kind
from parade.wire.errors import Violation, invalid
from parade_chassis.audit import Record
from parade_chassis.audit_decisions import DENIED, MAX_MESSAGE, Write
from parade_chassis.clock import Clock
from parade_chassis.context import current

MOST: Final = 100
"""Refusals of one report."""


class RefusalServicer(refusal_pb2_grpc.RefusalServiceServicer):
    """What `refusal.proto` says."""

    def __init__(self, write: Write, clock: Clock) -> None:
        """Takes what writes into the audit log, and the time."""
        self._write = write
        self._clock = clock

    async def ReportRefusals(
        self, request: pb.ReportRefusalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReportRefusalsResponse:
        """See the contract."""
        if len(request.refusals) > MOST:
            raise invalid([Violation("refusals", f"are {len(request.refusals)}; at most {MOST} are taken")])
        faults = [
            Violation(f"refusals[{place}]", "is no refusal: it has a reason for which one is refused, and is one at least")
            for place, refusal in enumerate(request.refusals)
            if refusal.reason not in DENIED or refusal.count < 1
        ]
        if faults:
            raise invalid(faults)
        records = [self._record(refusal) for refusal in request.refusals]
        if request.left_out > 0:
            facts = {"left_out": request.left_out}
            records.append(Record(Kind.DENY, current().method, current().principal, "", "", self._clock.now(), facts))
        await self._write(records)
        return pb.ReportRefusalsResponse()

    def _record(self, refusal: pb.Refusal) -> Record:
        facts = {
            "count": refusal.count,
            "caller": current().principal,
            "reason": refusal.reason,
            "message": refusal.message[:MAX_MESSAGE],
            "time": refusal.time.ToDatetime(UTC).isoformat(),
        }
        return Record(Kind.DENY, refusal.action, refusal.subject, refusal.namespace, "", self._clock.now(), facts)
