"""How a stranger with a join token becomes an instance with a certificate, and how an instance renews it.

Every certificate that leaves is in the store first. So an answer that was lost can be had again, the same one, and a certificate that is
used for a renewal though it has been renewed before is seen: then two hold it, and one of them has stolen it.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from parade.wire.ca import Issuer, fingerprint
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity
from parade.wire.join_token import join_token
from parade.wire.log import Log
from parade.wire.peer import Refusal, refused
from parade_agent_manager.certificate import Certificate
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.model import InstanceState
from parade_agent_manager.quotas import AgentLimits
from parade_agent_manager.registry import Registry
from parade_agent_manager.revoker import Revoker
from parade_agent_manager.tokens import JoinToken, hash_of, new_secret, require_grantable
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_chassis.quotas import Quotas

MAX_REQUEST_BYTES = 16 * 1024
REUSED = "a certificate that had been renewed was used to renew again, with another key: somebody has a copy of it"
"""Why an identity is locked."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A join token as it is shown, once."""

    secret: str
    expires: datetime

    def __repr__(self) -> str:
        """Returns a text without the secret."""
        return f"NewToken(expires={self.expires})"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new instance's identity and certificate."""

    identity: Identity
    certificate: Certificate


class Enrolment:
    """Gives out join tokens and certificates."""

    def __init__(
        self,
        *,
        store: CredentialStore,
        registry: Registry,
        revoker: Revoker,
        authority: Issuer,
        fingerprint: Callable[[], str],
        clock: Clock,
        ids: Ids,
        log: Log,
        domain: str,
        certificate_lifetime: timedelta,
        quotas: Quotas[AgentLimits],
        new_secret: Callable[[], str] = new_secret,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: Where tokens and certificates are kept.
            registry: Who is GONE.
            revoker: Who is revoked.
            authority: Who signs.
            fingerprint: Gives that of the root that whoever enrols is to trust.
            clock: The time.
            ids: Names for new instances.
            log: Where it says what it did.
            domain: The trust domain of the identities.
            certificate_lifetime: How long a certificate is good.
            quotas: How much each namespace may have.
            new_secret: Makes the secret of a token.
        """
        self._store = store
        self._registry = registry
        self._revoker = revoker
        self._authority = authority
        self._fingerprint = fingerprint
        self._clock = clock
        self._ids = ids
        self._log = log
        self._domain = domain
        self._lifetime = certificate_lifetime
        self._quotas = quotas
        self._new_secret = new_secret
        self._adopting = asyncio.Lock()

    async def create_token(self, namespace: str, agent: str, lifetime: float, principal: str) -> NewToken:
        """Makes a token for one instance of an agent.

        Args:
            namespace: The namespace that the instance will be in.
            agent: The agent that it will be a copy of.
            lifetime: Seconds that the token can be used.
            principal: Who asks.

        Raises:
            ParadeError: INVALID_ARGUMENTS; NO_CAPACITY where the namespace has as many as it may.
        """
        require_grantable(agent, lifetime)
        if await self._store.usable_tokens(namespace, self._clock.now()) >= self._quotas.of(namespace).join_tokens:
            raise self._quotas.exhausted(namespace, "join_tokens", "join tokens that can still be used", "use some")
        token, expires = join_token(self._new_secret(), self._fingerprint()), self._clock.now() + timedelta(seconds=lifetime)
        await self._store.add_token(JoinToken(hash_of(token), namespace, agent, expires))
        self._log.info("join token made", namespace=namespace, agent=agent, principal=principal, expires=expires.isoformat())
        return NewToken(token, expires)

    async def enrol(self, secret: str, request: bytes) -> Enrolled:
        """Exchanges a token and a signing request for a certificate. The same token and key again give the same certificate.

        Raises:
            ParadeError: UNAUTHENTICATED where the token is unknown, used or expired; INVALID_ARGUMENTS where the request is none.
        """
        hashed = hash_of(secret)
        token = await self._store.token(hashed) if hashed else None
        # Nothing is parsed or signed for a stranger.
        if token is None or self._clock.now() >= token.expires:
            raise self._refused(token)
        key = _key_of(request)
        if token.admits(key, self._clock.now()) and not token.instance:
            instance = self._ids.new("i")
            made = self._issued(Identity.agent(token.agent, instance, token.namespace, self._domain), request, key)
            # Of many that are made at once for one token the first is written, and none but what is written leaves.
            token = await self._store.use_token(hashed, instance, made, self._clock.now())
        if token is None or not token.instance or not token.admits(key, self._clock.now()) or self._has_left(token.instance):
            raise self._refused(token)
        identity = Identity.agent(token.agent, token.instance, token.namespace, self._domain)
        certificate = await self._store.certificate_of(identity.uri, key)
        if certificate is None or certificate.superseded_by or self._revoker.revoked(certificate.serial, identity.uri):
            raise self._refused(token)
        names = {"namespace": token.namespace, "agent": token.agent, "instance": token.instance}
        self._log.info("instance enrolled", serial=certificate.serial, **names)
        return Enrolled(identity, certificate)

    async def renew(self, identity: Identity, shown: bytes, request: bytes) -> Certificate:
        """Gives an instance another certificate for the same identity. The same key again gives the same certificate.

        Args:
            identity: Who asks.
            shown: The certificate that they show, PEM.
            request: A signing request with a key that has had no certificate.

        Raises:
            ParadeError: INVALID_ARGUMENTS where the request is none, or its key has been used before; FAILED_PRECONDITION where the
                instance is GONE; UNAUTHENTICATED where the certificate shown was renewed before with another key, which locks the identity.
        """
        key = _key_of(request)
        present = await self._present(identity, shown)
        if revocation := self._revoker.revoked(present.serial, identity.uri):
            raise refused(Refusal.REVOKED, f"it was revoked: {revocation.reason}")
        if self._has_left(identity.instance):
            raise ParadeError(Reason.FAILED_PRECONDITION, f"instance {identity.instance} has left; enrol again")
        known = await self._store.certificate_of(identity.uri, key)
        if known is None:
            made = self._issued(identity, request, key)
            if await self._store.supersede(present.serial, made):
                names = {"namespace": identity.namespace, "agent": identity.name, "instance": identity.instance}
                self._log.info("certificate renewed", serial=made.serial, **names)
                return made
            known = await self._store.certificate_of(identity.uri, key)
        present = await self._store.certificate(present.serial) or present
        if known is not None and known.serial == present.superseded_by and not known.superseded_by:
            return known  # the answer was lost
        if present.superseded_by:
            self._log.error("superseded certificate used again; its identity is locked", serial=present.serial, principal=identity.uri)
            await self._revoker.lock(identity, REUSED, identity.uri)
            raise refused(Refusal.REVOKED, REUSED)
        raise invalid([Violation("csr", "has a key that has a certificate already; make a fresh one")])

    async def forget_expired(self) -> None:
        """Removes the tokens that can no longer be used."""
        await self._store.remove_tokens(self._clock.now())

    async def _present(self, identity: Identity, shown: bytes) -> Certificate:
        """Returns the certificate that an instance shows, as it is kept.

        One that the store has lost, or that was issued before it kept them, is taken up: our authority has signed it.
        """
        parsed = x509.load_pem_x509_certificate(shown)
        serial = f"{parsed.serial_number:x}"
        kept = await self._store.certificate(serial)
        if kept is not None:
            return kept
        key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        async with self._adopting:  # two who find it missing do not both write it
            kept = await self._store.certificate(serial)
            if kept is None:
                kept = Certificate(
                    serial, identity.uri, identity.namespace, hashlib.sha256(key).hexdigest(), shown.decode(),
                    parsed.not_valid_before_utc, parsed.not_valid_after_utc,
                )  # fmt: skip
                await self._store.add_certificate(kept)
        return kept

    def _issued(self, identity: Identity, request: bytes, key: str) -> Certificate:
        now = self._clock.now()
        issued = self._authority.issue(request, identity, self._lifetime, now)
        serial = f"{x509.load_pem_x509_certificate(issued.chain).serial_number:x}"
        return Certificate(serial, identity.uri, identity.namespace, key, issued.chain.decode(), now, issued.expires)

    def _has_left(self, instance: str) -> bool:
        known = self._registry.instance(instance)
        return known is not None and known.state is InstanceState.GONE

    def _refused(self, token: JoinToken | None) -> ParadeError:
        # To the outside all refusals are one; whoever runs the mesh wants to know which it was.
        if token is not None:
            self._log.warning("join token refused", namespace=token.namespace, agent=token.agent, instance=token.instance)
        return ParadeError(Reason.UNAUTHENTICATED, "the join token is unknown, used or expired; ask for another one")


def _key_of(request: bytes) -> str:
    if len(request) > MAX_REQUEST_BYTES:
        raise invalid([Violation("csr", f"is larger than {MAX_REQUEST_BYTES // 1024} KiB")])
    return fingerprint(request)
