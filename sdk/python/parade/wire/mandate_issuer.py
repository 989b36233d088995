"""Makes mandates, as a dispatcher does: signed with its certificate's key, with the certificate beside it, so that no keys are shared.

Nothing in a mandate changes from call to call, so one is made once a minute for all calls that are alike.
"""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from parade.wire import x509
from parade.wire.certificates import Certificates, CertificateSource
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import ALGORITHM, MAX_BYTES, TYPE, Mandate, Scope, agent_id, claims

SHORTEST: Final = 300.0
"""Seconds that a mandate is good at least."""
LONGEST: Final = 24 * 3600.0
"""Seconds that one is good at most."""
MINUTE: Final = 60
LOOK: Final = 0.1
"""Seconds between two looks at whether there is a newer certificate: a look may cost a file's status."""
MOST: Final = 4096
"""Mandates that are remembered."""

_Key = tuple[str, str, str, str, Scope, int]


class Issuer:
    """Makes mandates, and gives those again that it has made."""

    def __init__(self, certificates: CertificateSource, now: Callable[[], float] = time.time) -> None:
        """Takes what to sign with, which may become another, and the time in seconds since 1970."""
        self._certificates = certificates
        self._now = now
        self._made: dict[_Key, bytes] = {}
        self._newest: Certificates | None = None
        self._looked = 0.0
        self._jws: Any = None
        self._key: Any = None
        self._header: dict[str, Any] = {}
        self._identity = Identity.service("dispatcher")

    def mandate(self, subject: str, namespace: str, run: str, agent: str, scope: Scope, left: float) -> bytes:
        """Returns a mandate, for a call that is about to be given to an agent.

        Args:
            subject: For whom the call is made.
            namespace: Where.
            run: The run that the call belongs to; empty outside runs.
            agent: The agent's name.
            scope: How far its right is to reach.
            left: Seconds until the call must have ended. The mandate lasts as long, within bounds.

        Raises:
            ParadeError: FAILED_PRECONDITION, where it cannot be signed; INVALID_ARGUMENTS, where it would be too long.
        """
        if left < SHORTEST:
            left = SHORTEST
        elif left > LONGEST - MINUTE:
            left = LONGEST - MINUTE
        now = self._now()
        if not self._looked <= now < self._looked + LOOK:
            self._look(now)
        key = (subject, namespace, run, agent, scope, int((now + left) // MINUTE) + 1)
        return self._made.get(key) or self._make(key, int(now))

    def _make(self, key: _Key, now: int) -> bytes:
        subject, namespace, run, agent, scope, end = key
        if self._key is None:
            self._take()
        domain = self._identity.domain
        scope = scope._replace(transaction=scope.transaction or run or secrets.token_hex(8))
        holder = agent_id(domain, namespace, agent)
        mandate = Mandate(self._identity.uri, subject, namespace, holder, run, scope, now, end * MINUTE)
        made: bytes = self._jws.encode(claims(mandate, domain), self._key, ALGORITHM, headers=self._header).encode()
        if len(made) > MAX_BYTES:
            text = f"the mandate for {agent} has {len(made):,} bytes; {MAX_BYTES:,} are the most. Narrow the call to fewer functions"
            raise ParadeError(Reason.INVALID_ARGUMENTS, text)
        if len(self._made) >= MOST:
            del self._made[next(iter(self._made))]
        self._made[key] = made
        return made

    def _look(self, now: float) -> None:
        """Forgets what was made with a certificate that has been replaced: it may be about to end."""
        newest, self._looked = self._certificates.current(), now
        if newest is not self._newest:
            self._newest, self._key = newest, None
            self._made.clear()

    def _take(self) -> None:
        """Takes up the newest certificate and its key."""
        # Here, not above: an idle dispatcher does without the memory that they take.
        import jwt
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        newest = self._newest or self._certificates.current()
        key = load_pem_private_key(newest.private_key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            text = "the dispatcher's key is not of the curve P-256, with which mandates are signed; issue its certificate for such a key"
            raise ParadeError(Reason.FAILED_PRECONDITION, text)
        leaf = x509.encodings(newest.certificate_chain)[0]
        identity = Identity.parse("".join(x509.read(leaf).uris))
        if identity is None:
            raise ParadeError(Reason.FAILED_PRECONDITION, "the dispatcher's certificate holds no SPIFFE id; issue another")
        self._jws, self._key, self._identity = jwt.PyJWS(), key, identity
        self._header = {"typ": TYPE, "x5c": [base64.b64encode(leaf).decode()]}
