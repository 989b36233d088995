"""Who is asking, and for whom: the facts of the request that is being served."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, Identity, Kind
from parade.wire.metadata import NAMESPACE, PRINCIPAL

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
    """The SPIFFE id that the request is for."""


def certificate_end(authentication: Mapping[str, Iterable[bytes]]) -> datetime:
    """Returns until when the caller's certificate is good. Reading it takes long: once for a stream, not once for each of its messages.

    Args:
        authentication: gRPC's `auth_context`.

    Raises:
        ParadeError: UNAUTHENTICATED where the caller has shown no certificate.
    """
    from cryptography import x509  # 8 MB, which a service without sessions can do without

    encoded = next(iter(authentication.get("x509_pem_cert", [])), b"")
    try:
        return x509.load_pem_x509_certificate(encoded).not_valid_after_utc
    except ValueError as error:
        raise ParadeError(Reason.UNAUTHENTICATED, "show a certificate of this mesh; an agent gets its own by enrolling") from error


_CURRENT: ContextVar[RequestContext] = ContextVar("parade_request")


def current() -> RequestContext:
    """Returns the facts of the request being served by this task."""
    return _CURRENT.get()


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


def of_request(
    method: str, authentication: Mapping[str, Iterable[bytes]], metadata: Mapping[str, str | bytes], domain: str
) -> RequestContext:
    """Reads the facts of a request.

    Args:
        method: The RPC's full name.
        authentication: gRPC's `auth_context`: what the TLS handshake proved.
        metadata: The request's metadata; namespace and principal are taken from it only where the caller is a service that may delegate.
        domain: The trust domain; names of another are nobody here.
    """
    caller = _caller(authentication, domain)
    if caller.kind in DELEGATES:
        return RequestContext(method, caller, _text(metadata.get(NAMESPACE)), _text(metadata.get(PRINCIPAL)) or caller.uri)
    return RequestContext(method, caller, caller.namespace, caller.uri)


def _caller(authentication: Mapping[str, Iterable[bytes]], domain: str) -> Identity:
    return _identity(tuple(authentication.get("x509_subject_alternative_name", ())), domain)


@lru_cache(maxsize=4096)  # a connection brings the same names with every request
def _identity(encoded: tuple[bytes, ...], domain: str) -> Identity:
    names = [name.decode("utf-8", "replace") for name in encoded]
    uris = [name for name in names if name.startswith("spiffe://")]
    identity = Identity.parse(uris[0]) if len(uris) == 1 else None  # a certificate with two ids is nobody's
    return identity if identity is not None and identity.domain == domain else ANONYMOUS


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else ""
