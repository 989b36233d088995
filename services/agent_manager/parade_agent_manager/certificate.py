"""The certificates that were issued, what of them is revoked, and the states that follow; pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CertificateState(StrEnum):
    """Whether a certificate is believed."""

    ACTIVE = "ACTIVE"
    SUPERSEDED = "SUPERSEDED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was issued to an instance."""

    serial: str
    """Lower hexadecimal digits without leading zeros."""
    spiffe_id: str
    namespace: str
    key_fingerprint: str
    """SHA-256 of its public key."""
    chain: str
    """The certificate itself, PEM."""
    issued: datetime
    expires: datetime
    superseded_by: str = ""
    """The serial number of the one that has taken its place; empty where none has."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is not believed any more, and why."""

    subject: str
    """A certificate's serial number, or a SPIFFE id: that identity with all its certificates."""
    namespace: str
    """The namespace of who is revoked; empty for a service."""
    revoked: datetime
    expires: datetime
    """Until when it must be known: every certificate that it concerns has ended by then."""
    reason: str
    by: str
    """The SPIFFE id of who revoked it."""

    @property
    def of_identity(self) -> bool:
        """Whether it is about an identity, and not about one certificate."""
        return self.subject.startswith("spiffe://")


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """A certificate as it stands."""

    certificate: Certificate
    state: CertificateState
    revocation: Revocation | None


def state_of(certificate: Certificate, revocation: Revocation | None, now: datetime) -> CertificateState:
    """Returns whether a certificate is believed."""
    if revocation is not None:
        return CertificateState.REVOKED
    if now >= certificate.expires:
        return CertificateState.EXPIRED
    return CertificateState.SUPERSEDED if certificate.superseded_by else CertificateState.ACTIVE
