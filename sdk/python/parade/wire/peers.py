"""The peers of one process: whose certificate each connection shows, and whether it is believed still. A few microseconds for a request."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from parade.wire.certificates import Certificates, CertificateSource
from parade.wire.peer import NOBODY, Peer, Refusal, authorities, believed, check_authority, check_time, refused
from parade.wire.revocations import Revocations

MOST_PEERS: Final = 4096
"""Certificates that are kept as they were read: what a connection shows it shows with every request."""
ROOTS_LOOK: Final = 1.0
"""Seconds between two looks at whether the trust bundle is another: a look may cost a file's status."""


class Peers:
    """Tells who calls, and refuses who is not to be believed."""

    def __init__(
        self, domain: str, certificates: CertificateSource, revocations: Revocations, now: Callable[[], float] = time.time
    ) -> None:
        """Reads the roots.

        Args:
            domain: The trust domain.
            certificates: Where the trust bundle comes from; it may become another.
            revocations: What is revoked.
            now: The time, in seconds since 1970.

        Raises:
            ValueError: The trust bundle is not usable.
        """
        self.revocations = revocations
        self._domain = domain
        self._certificates = certificates
        self._now = now
        self._taken: Certificates = certificates.current()
        self._roots = authorities(self._taken.trust_bundle)
        self._look = now() + ROOTS_LOOK
        self._read = lru_cache(maxsize=MOST_PEERS)(self._believed)

    @property
    def domain(self) -> str:
        """The trust domain."""
        return self._domain

    @property
    def trust_bundle(self) -> bytes:
        """The roots that are trusted, in PEM."""
        return self._taken.trust_bundle

    @property
    def now(self) -> float:
        """The time, in seconds since 1970."""
        return self._now()

    def of(self, authentication: Mapping[str, Iterable[bytes]]) -> Peer:
        """Returns who is at the other end; `NOBODY` where no certificate was shown.

        Args:
            authentication: gRPC's `auth_context`: what the TLS handshake proved.

        Raises:
            ParadeError: UNAUTHENTICATED, where the certificate is not believed, or not any more.
        """
        for pem in authentication.get("x509_pem_cert", ()):
            peer = self._read(pem)
            self.check(peer)
            return peer
        return NOBODY

    def believed(self, pem: bytes) -> Peer:
        """Returns whose certificate came by another way than a handshake. Its signature is for who asks to check.

        Args:
            pem: The certificate, in PEM.

        Raises:
            ParadeError: UNAUTHENTICATED, where it is not believed.
        """
        peer = self._believed(pem)
        self.check(peer)
        return peer

    def check(self, peer: Peer) -> None:
        """Lets a peer go on. Asked for every request, and for every frame of a session.

        Raises:
            ParadeError: UNAUTHENTICATED, where its certificate has ended or was revoked, or its root has left the trust bundle.
        """
        if peer is NOBODY:
            return
        now = self._now()
        reason = self.revocations.reason(peer, now)
        if reason is not None:
            raise refused(Refusal.REVOKED, f"it was revoked: {reason}")
        check_time(peer.not_after, now)
        if now >= self._look:
            self._look_at_roots(now)
        check_authority(peer.authority, self._roots)

    def _believed(self, pem: bytes) -> Peer:
        now = self._now()
        self._look_at_roots(now)  # its root may be as new as it is
        return believed(pem, self._domain, self._roots, now)

    def _look_at_roots(self, now: float) -> None:
        self._look = now + ROOTS_LOOK
        newest = self._certificates.current()
        if newest is self._taken:
            return
        self._taken = newest
        try:
            self._roots = authorities(newest.trust_bundle)
        except ValueError:
            return  # TLS takes nobody in by such a bundle; who is in already is known by the one before
