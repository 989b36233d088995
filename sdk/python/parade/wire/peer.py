"""Who is at the other end of a connection: the rules by which a certificate is believed. It knows one certificate at a time (see `peers`).

TLS has checked the signatures, up to a root of the trust bundle, before anything here is asked. It lets in what has no place in a mesh: a
certificate below an authority that is no root, one that names two holders or none, one for another purpose, one with a key too short.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from parade.wire import x509
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import ANONYMOUS, Identity

CERTIFICATE: Final = "certificate"
"""The key in an error's metadata under which stands why a certificate was refused: a value of `Refusal`."""


class Refusal(StrEnum):
    """Why a certificate is refused, for programs; the error's message says it to people."""

    UNREADABLE = "unreadable"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    AUTHORITY = "authority"
    CA = "ca"
    PURPOSE = "purpose"
    KEY = "key"
    IDENTITY = "identity"
    DOMAIN = "domain"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as a certificate proves."""

    identity: Identity
    spiffe_id: str
    """The identity's SPIFFE id; empty for who has shown no certificate."""
    serial: str
    """The certificate's serial number, in lower hexadecimal without leading zeros; empty for who has shown none."""
    not_after: float
    """When the certificate ends, in seconds since 1970."""
    fingerprint: bytes
    """The SHA-256 of the certificate in DER."""
    authority: x509.Name
    """Who signed it."""


NOBODY: Final = Peer(ANONYMOUS, "", "", float("inf"), b"", x509.Name(b"", b""))
"""Who has shown no certificate."""


def believed(pem: bytes, domain: str, roots: frozenset[x509.Name], now: float) -> Peer:
    """Returns who holds a certificate, where every rule but that of revocation lets it be believed.

    Args:
        pem: The certificate, in PEM.
        domain: The trust domain; names of another are nobody here.
        roots: The authorities of the trust bundle. That TLS found a way to one of them is not enough: the way may lead over another.
        now: The time, in seconds since 1970.

    Raises:
        ParadeError: UNAUTHENTICATED, with the rule that speaks against it.
    """
    try:
        (encoded,) = x509.encodings(pem)
        certificate = x509.read(encoded)
    except ValueError as error:
        raise refused(Refusal.UNREADABLE, "it cannot be read") from error
    check_time(certificate.not_after, now)
    if now < certificate.not_before:
        raise refused(Refusal.NOT_YET_VALID, "its time has not begun; look at the clocks of both machines")
    check_authority(certificate.issuer, roots)
    if certificate.is_authority:
        raise refused(Refusal.CA, "it is an authority's; an authority signs, and calls nobody")
    if x509.CLIENT_AUTHENTICATION not in certificate.purposes:
        raise refused(Refusal.PURPOSE, "it is not for client authentication")
    if certificate.weakness:
        raise refused(Refusal.KEY, certificate.weakness)
    if len(certificate.uris) != 1:
        raise refused(Refusal.IDENTITY, f"it holds {len(certificate.uris)} URIs; one is taken, the SPIFFE id")
    identity = Identity.parse(certificate.uris[0])
    if identity is None:
        raise refused(Refusal.IDENTITY, "its URI is no SPIFFE id of a mesh")
    if identity.domain != domain:
        raise refused(Refusal.DOMAIN, f"it is of the trust domain {identity.domain}; this is {domain}")
    return Peer(identity, identity.uri, certificate.serial, certificate.not_after, certificate.fingerprint, certificate.issuer)


def authorities(trust_bundle: bytes) -> frozenset[x509.Name]:
    """Returns the authorities of a trust bundle, in PEM. One without a key identifier is left out: what it signs names no key either.

    Raises:
        ValueError: None is left.
    """
    found = set[x509.Name]()
    for encoded in x509.encodings(trust_bundle):
        with suppress(ValueError):  # a bundle may hold roots that are older than extensions
            found.add(x509.read(encoded).subject)
    named = frozenset(name for name in found if name.key_identifier)
    if not named:
        raise ValueError("the trust bundle holds no root with a subject key identifier")
    return named


def check_time(not_after: float, now: float) -> None:
    """Lets a certificate pass whose time is not over; raises UNAUTHENTICATED otherwise."""
    if now >= not_after:
        raise refused(Refusal.EXPIRED, "it has expired; show a newer one")


def check_authority(authority: x509.Name, roots: frozenset[x509.Name]) -> None:
    """Lets a certificate pass that a root has signed; raises UNAUTHENTICATED otherwise."""
    if authority not in roots:
        raise refused(Refusal.AUTHORITY, "it is not signed by a root of this mesh's trust bundle itself")


def refused(why: Refusal, text: str) -> ParadeError:
    """Makes the error for a certificate that is not believed.

    Args:
        why: The rule that speaks against it.
        text: What is wrong with it.
    """
    return ParadeError(Reason.UNAUTHENTICATED, f"the certificate shown is refused: {text}", metadata={CERTIFICATE: why})
