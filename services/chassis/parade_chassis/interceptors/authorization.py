"""The last concern: lets a request through only where the contract's allow list names its caller's kind."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from parade.v1 import access_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind
from parade_chassis.context import current

AllowList = Mapping[str, frozenset[Kind]]
"""The kinds of caller that each method admits, by its full name."""


def allow_list(services: Iterable[ServiceDescriptor], foreign: AllowList) -> AllowList:
    """Returns the allow list of a server.

    Args:
        services: The services that it serves. The rows of ours stand in the contract, as `(parade.v1.callers)`.
        foreign: The rows of methods whose contract is not ours, as health and OTLP.

    Raises:
        ValueError: A method has no row, a row admits nobody, or a row names no method.
    """
    rows: dict[str, frozenset[Kind]] = {}
    left = dict(foreign)
    for service in services:
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            listed = [_kind(number) for number in method.GetOptions().Extensions[access_pb2.callers]]
            rows[name] = frozenset(listed) or left.pop(name, frozenset())
    barred = sorted(name for name, kinds in rows.items() if not kinds)
    if barred:
        raise ValueError(f"no row in the allow list for {', '.join(barred)}")
    if left:
        raise ValueError(f"a row in the allow list, and no such method: {', '.join(sorted(left))}")
    return rows


class AuthorizationConcern:
    """Refuses who is not on the list."""

    def __init__(self, rows: AllowList) -> None:
        """Takes the allow list."""
        self._rows = rows

    def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any] | None = None) -> None:
        """Lets the request through, or raises UNAUTHENTICATED or PERMISSION_DENIED."""
        caller = current().caller
        if caller.kind not in self._rows[method]:
            if caller.kind is Kind.ANONYMOUS:
                raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh; an agent gets its own by enrolling")
            raise ParadeError(Reason.PERMISSION_DENIED, f"{caller.uri} may not call {method}")


def _kind(number: access_pb2.CallerKind.ValueType) -> Kind:
    return Kind(access_pb2.CallerKind.Name(number).removeprefix("CALLER_KIND_"))
