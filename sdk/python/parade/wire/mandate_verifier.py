"""Believes mandates, or does not: what a service and an agent ask before they act on one. Those believed before are remembered.

A mandate is believed that a dispatcher of this mesh has signed whose certificate is good still, for who holds it, where they are.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from parade.wire.errors import ParadeError
from parade.wire.identity import Kind
from parade.wire.mandate import ALGORITHM, MAX_BYTES, TYPE, Mandate, Refusal, read, refused
from parade.wire.peer import Peer
from parade.wire.peers import Peers

SKEW: Final = 30.0
"""Seconds by which the clocks of two machines may differ."""
LOOK: Final = 1.0
"""Seconds between two looks at whether the certificate behind a mandate is believed still."""
MOST: Final = 4096
"""Mandates that are remembered. Only those that are believed are: nobody else decides what is kept here."""
MOST_SIGNERS: Final = 64

_is_compact = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}").fullmatch


@dataclass(frozen=True, slots=True)
class _Signer:
    """A dispatcher's certificate that has signed mandates."""

    peer: Peer
    key: Any
    """Its public key."""
    not_before: float


class _Known:
    """A mandate that is believed."""

    __slots__ = ("mandate", "signer", "since", "until")

    def __init__(self, mandate: Mandate, signer: _Signer, now: float) -> None:
        self.mandate = mandate
        self.signer = signer
        self.since = mandate.issued - SKEW
        self.until = now
        """When it is to be looked at again."""
        self.looked(now)

    def looked(self, now: float) -> None:
        """Takes down that it was looked at."""
        self.until = min(now + LOOK, self.mandate.expires + SKEW)


class Verifier:
    """Tells what a mandate says, and refuses one that is not to be believed."""

    def __init__(self, peers: Peers) -> None:
        """Takes what certificates are judged by."""
        self._peers = peers
        self._known: dict[bytes, _Known] = {}
        self._signers: dict[bytes, _Signer] = {}
        """Who has signed mandates that are believed, by the header of those."""
        peers.revocations.subscribe(self._known.clear)

    def verify(self, token: bytes, holder: str, namespace: str) -> Mandate:
        """Returns what a mandate says.

        Args:
            token: The mandate.
            holder: Who shows it, or is given it: what `parade.wire.mandate.holder_of` says.
            namespace: Where they are.

        Raises:
            ParadeError: PERMISSION_DENIED, with the rule that speaks against it.
        """
        now = self._peers.now
        known = self._known.get(token)
        if known is None:
            known = self._read(token, now)
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[token] = known
        elif not known.since <= now < known.until:  # clocks are set back too
            self._look_again(token, known, now)
        mandate = known.mandate
        if mandate.holder != holder:
            raise refused(Refusal.HOLDER, f"it is {mandate.holder}'s, and not {holder}'s")
        if mandate.namespace != namespace:
            raise refused(Refusal.NAMESPACE, f"it is for namespace {mandate.namespace}, and not for {namespace}")
        return mandate

    def _look_again(self, token: bytes, known: _Known, now: float) -> None:
        try:
            _check_times(known.mandate, now)
            self._check(known.signer.peer)
        except ParadeError:
            del self._known[token]
            raise
        known.looked(now)

    def _read(self, token: bytes, now: float) -> _Known:
        # Here, not above: a dispatcher that is shown no mandate does without the memory that it takes.
        from jwt.algorithms import ECAlgorithm

        if not token:
            raise refused(Refusal.MISSING, "there is none; a dispatcher gives one with every call")
        if len(token) > MAX_BYTES:
            raise refused(Refusal.MALFORMED, f"it has {len(token):,} bytes; {MAX_BYTES:,} are the most")
        if _is_compact(token) is None:
            raise refused(Refusal.MALFORMED, "it is no JSON Web Token with a signature of 64 bytes")
        header, payload, encoded = token.split(b".")
        try:
            known = self._signers.get(header)
            signer = self._signer(header) if known is None else known
            if known is not None:
                self._check(known.peer)
            signature = _decoded(encoded)
            if base64.urlsafe_b64encode(signature).rstrip(b"=") != encoded:
                raise ValueError("its signature is written in another way than it is made")
            if not ECAlgorithm(ECAlgorithm.SHA256).verify(token[: -len(encoded) - 1], signer.key, signature):
                raise refused(Refusal.SIGNATURE, "its signature is not that of the certificate in it")
            mandate = read(_decoded(payload), self._peers.domain)
        except ValueError as error:
            raise refused(Refusal.MALFORMED, str(error)) from error
        if mandate.issuer != signer.peer.spiffe_id:
            raise refused(Refusal.SIGNER, f"it says that {mandate.issuer} made it, and {signer.peer.spiffe_id} has signed it")
        if not signer.not_before - SKEW <= mandate.issued < signer.peer.not_after:
            raise refused(Refusal.SIGNER, "it was made when the certificate in it was not good")
        _check_times(mandate, now)
        if known is None:
            self._keep(header, signer)
        return _Known(mandate, signer, now)

    def _keep(self, header: bytes, signer: _Signer) -> None:
        if len(self._signers) >= MOST_SIGNERS:
            del self._signers[next(iter(self._signers))]
        self._signers[header] = signer

    def _signer(self, header: bytes) -> _Signer:
        """Returns who may have signed, by the certificate in a header, which is checked as a handshake would do it."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificates

        encoded = base64.b64decode(_certificate(orjson.loads(_decoded(header))), validate=True)
        pem = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % base64.b64encode(encoded)
        try:
            peer = self._peers.believed(pem)
        except ParadeError as error:
            raise _bad_certificate(error) from error
        if peer.identity.kind is not Kind.DISPATCHER:
            raise refused(Refusal.SIGNER, f"{peer.spiffe_id} has signed it, and only dispatchers make mandates")
        certificate = load_der_x509_certificate(encoded)
        for root in load_pem_x509_certificates(self._peers.trust_bundle):
            try:
                certificate.verify_directly_issued_by(root)
                break
            except (InvalidSignature, ValueError, TypeError):
                continue
        else:
            raise refused(Refusal.SIGNER, "the certificate in it is signed by no root of this mesh's trust bundle")
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise refused(Refusal.SIGNER, "the certificate in it has a key that is not of the curve P-256")
        return _Signer(peer, key, certificate.not_valid_before_utc.timestamp())

    def _check(self, peer: Peer) -> None:
        try:
            self._peers.check(peer)
        except ParadeError as error:
            raise _bad_certificate(error) from error


def _decoded(segment: bytes) -> bytes:
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _certificate(header: Any) -> str:
    """Returns the certificate that a header holds, in base64."""
    match header:
        case {"typ": str(kind), "alg": str(algorithm), "x5c": [str(text)]} if len(header) == 3:
            if kind != TYPE:
                raise ValueError(f"its type is {kind[:40]!r}; only {TYPE} is taken")
            if algorithm != ALGORITHM:
                raise ValueError(f"it is signed by {algorithm[:40]!r}; only {ALGORITHM} is taken")
            return text
    raise ValueError("its header holds typ, alg and one certificate as x5c, and nothing else")


def _check_times(mandate: Mandate, now: float) -> None:
    if mandate.issued > now + SKEW:
        raise refused(Refusal.NOT_YET_VALID, "its time has not begun; look at the clocks of both machines")
    if now >= mandate.expires + SKEW:
        raise refused(Refusal.EXPIRED, "its time is over; it lasts as long as the call that it came with, and five minutes at least")


def _bad_certificate(error: ParadeError) -> ParadeError:
    return refused(Refusal.SIGNER, f"of the dispatcher that made it, {error.message}")
