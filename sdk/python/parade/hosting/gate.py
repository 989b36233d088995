"""The door of an agent's server: who may come in, by the allow list of the contract, and how a failure leaves."""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_status import rpc_status

from parade.v1 import access_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity, Kind
from parade.wire.log import Log
from parade.wire.status import to_status


class Gate:
    """Lets a request in where its method admits its caller's kind, and encodes what its handler raises."""

    def __init__(self, service: ServiceDescriptor, domain: str, log: Log) -> None:
        """Reads the allow list of a service.

        Args:
            service: The service.
            domain: The trust domain; callers of another are nobody here.
            log: Where a fault of ours is written.

        Raises:
            ValueError: A method admits nobody.
        """
        self._admitted = {method.name: _callers(method.GetOptions().Extensions[access_pb2.callers]) for method in service.methods}
        barred = [name for name, kinds in self._admitted.items() if not kinds]
        if barred:
            raise ValueError(f"no row in the allow list for {', '.join(barred)}")
        self._domain = domain
        self._log = log

    @asynccontextmanager
    async def passing(self, method: str, context: Any) -> AsyncIterator[Identity]:
        """Runs a handler's block for a caller that may call `method`, and gives who that is.

        Every failure leaves as `google.rpc.Status`; one that nobody foresaw leaves masked, under an incident id that stands in the log.
        """
        try:
            yield self.entered(method, context)
        except ParadeError as error:
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001  # it is logged, and leaves masked
            incident = secrets.token_hex(4)
            self._log.error("request failed unexpectedly", exception=error, method=method, incident=incident)
            masked = ParadeError(Reason.INTERNAL, f"an unexpected fault; the agent's log has it as incident {incident}")
            await context.abort_with_status(rpc_status.to_status(to_status(masked)))

    def entered(self, method: str, context: Any) -> Identity:
        """Returns who calls.

        Raises:
            ParadeError: UNAUTHENTICATED or PERMISSION_DENIED, where they may not call `method`.
        """
        names = [name.decode("utf-8", "replace") for name in context.auth_context().get("x509_subject_alternative_name", [])]
        uris = [name for name in names if name.startswith("spiffe://")]
        caller = Identity.parse(uris[0]) if len(uris) == 1 else None  # a certificate with two ids is nobody's
        if caller is None or caller.domain != self._domain:
            raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh")
        if caller.kind not in self._admitted[method]:
            raise ParadeError(Reason.PERMISSION_DENIED, f"{caller.uri} may not call {method} of an agent; call it through the dispatcher")
        return caller


class Admission:
    """What a stream's caller showed when it opened it. Asked for every frame, so that nobody stays longer than their certificate."""

    def __init__(self, context: Any, now: Callable[[], float] = time.time) -> None:
        """Reads until when the caller's certificate is good.

        Args:
            context: gRPC's context of the stream.
            now: The time, in seconds since 1970.

        Raises:
            ParadeError: UNAUTHENTICATED, where the caller has shown none.
        """
        from cryptography import x509

        encoded = next(iter(context.auth_context().get("x509_pem_cert", [])), b"")
        try:
            self._end = x509.load_pem_x509_certificate(encoded).not_valid_after_utc.timestamp()
        except ValueError as error:
            raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh") from error
        self._now = now

    def __call__(self) -> None:
        """Lets the caller go on.

        Raises:
            ParadeError: UNAUTHENTICATED, where the certificate has ended.
        """
        if self._now() >= self._end:
            raise ParadeError(Reason.UNAUTHENTICATED, "the certificate has expired; open another session with a new one")


def _callers(numbers: Any) -> frozenset[Kind]:
    return frozenset(Kind(access_pb2.CallerKind.Name(number).removeprefix("CALLER_KIND_")) for number in numbers)
