"""Who is asking, and for whom: the facts of the request that is being served."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import NAME, Identity, Kind
from parade.wire.metadata import NAMESPACE, PRINCIPAL, ROLE
from parade.wire.peer import NOBODY, Peer
from parade.wire.peers import Peers
from parade.wire.roles import EVERYWHERE, Role
from parade_chassis.grants import Grants, lacking

OUTSIDERS = frozenset({Kind.CLIENT, Kind.GATEWAY})
"""The kinds of caller behind which somebody outside the mesh stands."""
DELEGATES = frozenset({Kind.GATEWAY, Kind.SCHEDULER, Kind.DISPATCHER})
"""The services that are believed when they say for whom they act."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The facts of one request."""

    method: str
    """The RPC's full name, `/package.Service/Method`."""
    caller: Identity
    """Who is at the other end of the connection, as its certificate proves."""
    namespace: str
    """The namespace that the request acts in; empty for a service that acts for itself."""
    principal: str
    """Whom the request is for: a SPIFFE id, or the subject of an API key or a person that the gateway acts for."""
    role: Role = field(default=Role.NONE, compare=False)  # a session stays the same one's when that one's role changes
    """What a client, or whom the gateway acts for, may do in the namespace; NONE for everybody else, who is let in by kind alone."""
    peer: Peer = field(default=NOBODY, compare=False)  # a session stays the same one's over the renewal of its certificate
    """The caller, with the certificate that proves it."""


_CURRENT: ContextVar[RequestContext] = ContextVar("parade_request")


def current() -> RequestContext:
    """Returns the facts of the request being served by this task."""
    return _CURRENT.get()


def current_or_none() -> RequestContext | None:
    """Returns the facts of the request being served by this task; None before they are known."""
    return _CURRENT.get(None)


def enter(context: RequestContext) -> None:
    """Makes `context` the current one for this task."""
    _CURRENT.set(context)


def required_namespace() -> str:
    """Returns the namespace that the request acts in.

    Raises:
        ParadeError: INVALID_ARGUMENTS where a service has not said for which namespace it asks.
    """
    namespace = current().namespace
    if not namespace:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"{current().caller.name} must say for which namespace it asks, in `{NAMESPACE}`")
    return namespace


def seen_namespace(grants: Grants) -> str:
    """Returns the namespace whose things who asks may see; `EVERYWHERE` where it is admin of all of them.

    Raises:
        ParadeError: INVALID_ARGUMENTS where a service has not said for which namespace it asks.
    """
    namespace, request = required_namespace(), current()
    rules_all = request.caller.kind in OUTSIDERS and grants.role_of(request.principal, EVERYWHERE) is Role.ADMIN
    return EVERYWHERE if rules_all else namespace


def minds_its_own() -> bool:
    """Tells whether who asks may lay hands on nothing but what it has begun itself: somebody outside the mesh who is no operator."""
    request = current()
    return request.caller.kind in OUTSIDERS and request.role < Role.OPERATOR


def require_own(principal: str, what: str) -> None:
    """Holds that somebody may lay hands on what was begun.

    Args:
        principal: Who has begun it.
        what: What it is, for example `run r-1`.

    Raises:
        ParadeError: PERMISSION_DENIED where somebody else has, and who asks is no operator.
    """
    request = current()
    if minds_its_own() and request.principal != principal:
        purpose = f"for {what}, which {principal} has started"
        raise lacking(request.principal, request.namespace, request.role, Role.OPERATOR, purpose)


def of_request(
    method: str, authentication: Mapping[str, Iterable[bytes]], metadata: Mapping[str, str | bytes], peers: Peers
) -> RequestContext:
    """Reads the facts of a request.

    Args:
        method: The RPC's full name.
        authentication: gRPC's `auth_context`: what the TLS handshake proved.
        metadata: The request's metadata; namespace and principal are taken from it only where the caller is a service that may delegate.
        peers: Tells who shows which certificate.

    Raises:
        ParadeError: UNAUTHENTICATED where the certificate is not believed; INVALID_ARGUMENTS where a service names no namespace in what
            should be one's name.
    """
    peer = peers.of(authentication)
    caller = peer.identity
    if caller.kind in DELEGATES:
        role = Role.labelled(_text(metadata.get(ROLE))) if caller.kind is Kind.GATEWAY else Role.NONE
        namespace = _text(metadata.get(NAMESPACE))
        if namespace and not NAME.fullmatch(namespace):
            raise invalid([not_a_namespace(NAMESPACE, namespace)])
        return RequestContext(method, caller, namespace, _text(metadata.get(PRINCIPAL)) or peer.spiffe_id, role, peer)
    return RequestContext(method, caller, caller.namespace, peer.spiffe_id, peer=peer)


def not_a_namespace(field: str, said: str) -> Violation:
    """Makes the fault for a text that is not the name of a namespace, though who says it is believed."""
    return Violation(field, f'must be a namespace, a lower-case letter and then lower-case letters, digits or "-", not {said[:80]!r}')


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""
