"""The third concern: a failure leaves as one typed status; what nobody foresaw leaves masked, under an id that stands in the log."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_status import rpc_status

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.status import to_status


class ErrorsConcern:
    """Encodes what a handler raises."""

    def __init__(self, log: Log) -> None:
        """Takes the log for what nobody foresaw."""
        self._log = log

    @asynccontextmanager
    async def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        """Turns an exception into the RPC's status."""
        try:
            yield
        except (grpc.aio.AbortError, asyncio.CancelledError, GeneratorExit):
            raise
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except Exception as error:  # noqa: BLE001  # the one place where nothing may pass: its text could hold secrets
            incident = secrets.token_hex(4)
            self._log.error("request failed unexpectedly", method=method, incident=incident, exception=error)
            masked = ParadeError(Reason.INTERNAL, f"an unexpected fault; the log has it as incident {incident}")
            await context.abort_with_status(rpc_status.to_status(to_status(masked)))
