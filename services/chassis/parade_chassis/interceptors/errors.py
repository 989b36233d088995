"""What a failure becomes: it leaves as one typed status; what nobody foresaw leaves masked, under an id that stands in the log."""

import secrets
from typing import Any

import grpc
from grpc_status import rpc_status

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.status import to_status
from parade_chassis.audit_decisions import Decisions
from parade_chassis.context import current_or_none


class ErrorsConcern:
    """Encodes what a handler raises."""

    def __init__(self, log: Log, decisions: Decisions | None = None) -> None:
        """Takes the log for what nobody foresaw, and what takes refusals down for the audit log, where the service has one."""
        self._log = log
        self._decisions = decisions

    async def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> None:
        """Turns an exception into the RPC's status. One that aborts the RPC by itself is left alone."""
        if isinstance(error, NotImplementedError) and context.code() == grpc.StatusCode.UNIMPLEMENTED:
            # What generated code says of a method of a contract that is not ours, as health's, which its servicer leaves out.
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served here")
        if not isinstance(error, grpc.aio.AbortError):
            await context.abort_with_status(rpc_status.to_status(to_status(self.typed(method, error))))

    def typed(self, method: str, error: Exception) -> ParadeError:
        """Returns an exception as whoever asked may see it. What nobody foresaw is logged."""
        if isinstance(error, ParadeError):
            if self._decisions is not None:
                self._decisions.denied(method, current_or_none(), error)
            return error
        incident = secrets.token_hex(4)
        self._log.error("request failed unexpectedly", method=method, incident=incident, exception=error)
        return ParadeError(Reason.INTERNAL, f"an unexpected fault; the log has it as incident {incident}")
