"""The last concern: lets a request through only where the contract's allow list names its caller's kind.

Behind clients and the gateway stand people and programs outside the mesh: they must have the role, too, that the contract demands.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from parade.v1 import access_pb2, session_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind
from parade.wire.role_numbers import role_of
from parade.wire.roles import Role
from parade_chassis.context import OUTSIDERS, RequestContext, current, enter
from parade_chassis.grants import Grants, lacking

AllowList = Mapping[str, frozenset[Kind]]
"""The kinds of caller that each method admits, by its full name."""
Needs = Mapping[tuple[str, Kind], Role]
"""The role that each method demands of a client, and of whom the gateway acts for; where none is demanded there is no entry."""


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


def needed_roles(services: Iterable[ServiceDescriptor]) -> Needs:
    """Returns the roles that the methods of a server demand, which stand in the contract as `(parade.v1.role)`.

    Args:
        services: The services that it serves. Those whose contract is not ours, as health and OTLP, demand none.

    Raises:
        ValueError: A method that outsiders may call says nothing of a role, or one that they may not says something.
    """
    needs: dict[tuple[str, Kind], Role] = {}
    for service in services:
        for method in service.methods:
            options = method.GetOptions()
            admits = {_kind(number) for number in options.Extensions[access_pb2.callers]} & OUTSIDERS
            number = options.Extensions[access_pb2.role]
            name = f"/{service.full_name}/{method.name}"
            if bool(admits) != bool(number):
                raise ValueError(f"{name} must name a role exactly where it admits clients or the gateway")
            if number == access_pb2.ROLE_NONE and Kind.CLIENT in admits:
                raise ValueError(f"{name} admits clients, and must name their role")
            if method.input_type is session_pb2.SessionFrame.DESCRIPTOR:
                admits -= {Kind.GATEWAY}  # whose session is for many, and says with each call what its caller may do
            if (role := role_of(number)) is not Role.NONE:
                needs |= dict.fromkeys(((name, kind) for kind in admits), role)
    return needs


class AuthorizationConcern:
    """Refuses who is not on the list, and who has too little of a role."""

    def __init__(self, rows: AllowList, needs: Needs, grants: Grants) -> None:
        """Takes the allow list, the roles that methods demand, and the roles that clients have."""
        self._rows = rows
        self._needs = needs
        self._grants = grants

    def __call__(self, method: str, context: grpc.aio.ServicerContext[Any, Any] | None = None) -> None:
        """Lets the request through, or raises UNAUTHENTICATED or PERMISSION_DENIED; UNAVAILABLE while nobody's role is known yet."""
        request = current()
        caller = request.caller
        if caller.kind not in self._rows[method]:
            if caller.kind is Kind.ANONYMOUS:
                raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh; an agent gets its own by enrolling")
            raise ParadeError(Reason.PERMISSION_DENIED, f"{caller.uri} may not call {method}")
        needed = self._needs.get((method, caller.kind))
        if needed is None:
            return
        if caller.kind is Kind.CLIENT:
            if not self._grants.known:
                raise ParadeError(Reason.UNAVAILABLE, "this service has not been told yet who may do what; try again")
            role = self._grants.role_of(request.principal, request.namespace)
            # Not by `dataclasses.replace`, which takes twice as long.
            request = RequestContext(request.method, caller, request.namespace, request.principal, role, request.peer)
            enter(request)
        _demand(method, needed, request, request.role)

    def still(self, method: str) -> Callable[[], None] | None:
        """Returns what raises once the current request's caller has too little of a role to go on; None where it needs none.

        Whom the gateway acts for the gateway itself looks after.
        """
        request = current()
        needed = self._needs.get((method, request.caller.kind))
        if needed is None or request.caller.kind is not Kind.CLIENT:
            return None
        return partial(self._demand_again, method, needed, request)

    def _demand_again(self, method: str, needed: Role, request: RequestContext) -> None:
        _demand(method, needed, request, self._grants.role_of(request.principal, request.namespace))


def _demand(method: str, needed: Role, request: RequestContext, held: Role) -> None:
    if held < needed:
        raise lacking(request.principal, request.namespace, held, needed, f"to call {method.rpartition('/')[2]}")


def _kind(number: access_pb2.CallerKind.ValueType) -> Kind:
    return Kind(access_pb2.CallerKind.Name(number).removeprefix("CALLER_KIND_"))
