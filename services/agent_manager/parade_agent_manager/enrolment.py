"""How a stranger with a join token becomes an instance with a certificate, and how an instance renews it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade_agent_manager.model import InstanceState
from parade_agent_manager.registry import Registry
from parade_agent_manager.store import Store
from parade_agent_manager.tokens import JoinToken, hash_of, new_secret, require_grantable
from parade_chassis.ca import CertificateAuthority, Issued, fingerprint
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids

MAX_REQUEST_BYTES = 16 * 1024


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
    issued: Issued


class Enrolment:
    """Gives out join tokens and certificates."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        authority: CertificateAuthority,
        clock: Clock,
        ids: Ids,
        log: Log,
        domain: str,
        certificate_lifetime: timedelta,
        new_secret: Callable[[], str] = new_secret,
    ) -> None:
        """Takes its collaborators.

        Args:
            store: Where tokens are kept.
            registry: Who is GONE.
            authority: Who signs.
            clock: The time.
            ids: Names for new instances.
            log: Where it says what it did.
            domain: The trust domain of the identities.
            certificate_lifetime: How long a certificate is good.
            new_secret: Makes the text of a token.
        """
        self._store = store
        self._registry = registry
        self._authority = authority
        self._clock = clock
        self._ids = ids
        self._log = log
        self._domain = domain
        self._lifetime = certificate_lifetime
        self._new_secret = new_secret

    async def create_token(self, namespace: str, agent: str, lifetime: float, principal: str) -> NewToken:
        """Makes a token for one instance of an agent.

        Args:
            namespace: The namespace that the instance will be in.
            agent: The agent that it will be a copy of.
            lifetime: Seconds that the token can be used.
            principal: Who asks.

        Raises:
            ParadeError: INVALID_ARGUMENTS.
        """
        require_grantable(agent, lifetime)
        secret, expires = self._new_secret(), self._clock.now() + timedelta(seconds=lifetime)
        await self._store.add_token(JoinToken(hash_of(secret), namespace, agent, expires))
        self._log.info("join token made", namespace=namespace, agent=agent, principal=principal, expires=expires.isoformat())
        return NewToken(secret, expires)

    async def enrol(self, secret: str, request: bytes) -> Enrolled:
        """Exchanges a token and a signing request for a certificate. The same token and key again give the same instance another one.

        Raises:
            ParadeError: UNAUTHENTICATED where the token is unknown, used or expired; INVALID_ARGUMENTS where the request is none.
        """
        hashed = hash_of(secret)
        token = await self._store.token(hashed) if hashed else None
        # Nothing is parsed or signed for a stranger.
        if token is None or self._clock.now() >= token.expires:
            raise self._refused(token)
        key = _fingerprint(request)
        if token.admits(key, self._clock.now()) and not token.instance:
            token = await self._store.use_token(hashed, key, self._ids.new("i"), self._clock.now())
        if token is None or not token.instance or not token.admits(key, self._clock.now()) or self._has_left(token.instance):
            raise self._refused(token)
        identity = Identity.agent(token.agent, token.instance, token.namespace, self._domain)
        issued = self._authority.issue(request, identity, self._lifetime, self._clock.now())
        self._log.info("instance enrolled", namespace=token.namespace, agent=token.agent, instance=token.instance)
        return Enrolled(identity, issued)

    def renew(self, identity: Identity, request: bytes) -> Issued:
        """Gives an instance another certificate for the same identity.

        Raises:
            ParadeError: INVALID_ARGUMENTS where the request is none; FAILED_PRECONDITION where the instance is GONE.
        """
        if self._has_left(identity.instance):
            raise ParadeError(Reason.FAILED_PRECONDITION, f"instance {identity.instance} has left; enrol again")
        _fingerprint(request)
        issued = self._authority.issue(request, identity, self._lifetime, self._clock.now())
        self._log.info("certificate renewed", namespace=identity.namespace, agent=identity.name, instance=identity.instance)
        return issued

    async def forget_expired(self) -> None:
        """Removes the tokens that can no longer be used."""
        await self._store.remove_tokens(self._clock.now())

    def _has_left(self, instance: str) -> bool:
        known = self._registry.instance(instance)
        return known is not None and known.state is InstanceState.GONE

    def _refused(self, token: JoinToken | None) -> ParadeError:
        # To the outside all refusals are one; whoever runs the mesh wants to know which it was.
        if token is not None:
            self._log.warning("join token refused", namespace=token.namespace, agent=token.agent, instance=token.instance)
        return ParadeError(Reason.UNAUTHENTICATED, "the join token is unknown, used or expired; ask for another one")


def _fingerprint(request: bytes) -> str:
    if len(request) > MAX_REQUEST_BYTES:
        raise invalid([Violation("csr", f"is larger than {MAX_REQUEST_BYTES // 1024} KiB")])
    return fingerprint(request)
