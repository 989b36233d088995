"""Takes certificates and identities back: what is revoked, by whom it may be, and who hears of it.

Memory is what readers see. A revocation is in the store before anybody hears of it, so that none is lost by a restart.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from parade.wire import revocations as wire
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import Identity, Kind
from parade.wire.log import Log
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.certificate import Certificate, CertificateState, KnownCertificate, Revocation, state_of
from parade_agent_manager.credential_store import CredentialStore
from parade_chassis import paging
from parade_chassis.clock import Clock

MAX_REASON = 200


class Revoker:
    """Every revocation, and what may be revoked by whom."""

    def __init__(
        self,
        *,
        store: CredentialStore,
        feed: AccessFeed,
        own: wire.Revocations,
        dismiss: Callable[[str], Awaitable[None]],
        disown: Callable[[str], Awaitable[None]],
        clock: Clock,
        log: Log,
        domain: str,
        retention: timedelta,
    ) -> None:
        """Takes its collaborators; `load` comes first.

        Args:
            store: Where revocations are kept.
            feed: How the other services hear of them.
            own: What this process itself refuses.
            dismiss: Takes the instance with an id out of its agent.
            disown: Takes back what somebody has let in who is not to be believed any more.
            clock: The time.
            log: Where it says what it did.
            domain: The trust domain.
            retention: How long the revocation of an identity is kept: for longer than a join token lets an instance come back.
        """
        self._store = store
        self._feed = feed
        self._own = own
        self._dismiss = dismiss
        self._disown = disown
        self._clock = clock
        self._log = log
        self._domain = domain
        self._retention = retention
        self._order = asyncio.Lock()
        self._working: set[asyncio.Task[Revocation]] = set()
        self._known: dict[str, Revocation] = {}
        self._of_services: list[Revocation] = []
        """Those that agents must know: nobody but services calls an agent. It only grows, so that a reader's place in it is a number."""
        feed.draw(self._known.values)

    async def load(self) -> None:
        """Takes up what the store has; an instance that a process which ended too soon left in its agent is taken out."""
        for revocation in await self._store.revocations():
            await self._take_up(revocation)

    def revoked(self, *subjects: str) -> Revocation | None:
        """Returns what is revoked of some serial numbers and SPIFFE ids; None where nothing is."""
        return next((self._known[subject] for subject in subjects if subject in self._known), None)

    async def revoke_serial(self, serial: str, scope: str, reason: str, by: str, shown: str = "") -> Revocation:
        """Revokes a certificate. Where it was revoked before, that stands, and for as long as this one would.

        Args:
            serial: Its serial number.
            scope: The namespace that it must be of; empty for any, and for certificates that others have issued.
            reason: Why.
            by: Who asks.
            shown: The serial number of the certificate that they show.

        Raises:
            ParadeError: INVALID_ARGUMENTS; NOT_FOUND; FAILED_PRECONDITION where it is the caller's own.
        """
        _require_reason(reason)
        number = serial.strip().lower().replace(":", "").lstrip("0")
        if not 0 < len(number) <= 40 or not all(digit in "0123456789abcdef" for digit in number):
            raise invalid([Violation("serial", "is no serial number in hexadecimal digits")])
        if number == shown:
            raise _own(by)
        certificate = await self._store.certificate(number)
        if scope and (certificate is None or certificate.namespace != scope):
            text = f"no certificate {number} was issued in namespace {scope}; one that others have issued is revoked by its identity"
            raise ParadeError(Reason.NOT_FOUND, text)
        if certificate is None:
            return await self._revoke(number, "", self._clock.now() + self._retention, reason, by)
        revocation = await self._revoke(number, certificate.namespace, certificate.expires, reason, by)
        if not certificate.superseded_by:
            await self._dismiss_holder(certificate.spiffe_id)
        return revocation

    async def revoke_identity(self, spiffe_id: str, scope: str, reason: str, by: str) -> Revocation:
        """Revokes an identity with all its certificates. Where it was revoked before, that stands, and for as long as this one would.

        Args:
            spiffe_id: The identity.
            scope: The namespace that it must be in; empty for any, and for services.
            reason: Why.
            by: Who asks.

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED; FAILED_PRECONDITION where it is the caller's own.
        """
        _require_reason(reason)
        identity = Identity.parse(spiffe_id)
        if identity is None or identity.domain != self._domain:
            example = f"spiffe://{self._domain}/ns/default/client/developer"
            raise invalid([Violation("spiffe_id", f"is no identity of this mesh, as {example} is")])
        if scope and scope != identity.namespace:
            raise ParadeError(Reason.PERMISSION_DENIED, f"{spiffe_id} is not in namespace {scope}")
        if spiffe_id == by:
            raise _own(by)
        return await self.lock(identity, reason, by)

    async def lock(self, identity: Identity, reason: str, by: str) -> Revocation:
        """Revokes an identity with all its certificates, whoever asks."""
        # To its end, though who asks goes away meanwhile: a thief would, whose own request is what gives them away.
        working = asyncio.create_task(self._lock(identity, reason, by))
        self._working.add(working)
        working.add_done_callback(self._working.discard)
        return await asyncio.shield(working)

    def of_services(self, known: int) -> tuple[list[Revocation], int]:
        """Returns what is revoked of those who may call agents.

        Args:
            known: How many the reader has been told, as this returned it last; 0 at first.

        Returns:
            Those that it has not been told yet, and how many it has been told with them.
        """
        count = len(self._of_services)
        return (self._of_services[known:] if known != count else []), count

    async def certificates(
        self, scope: str, spiffe_id: str, state: CertificateState | None, size: int, token: str
    ) -> tuple[list[KnownCertificate], str]:
        """Returns a page of certificates by serial number, and the token of the next.

        Args:
            scope: The namespace; empty for all.
            spiffe_id: Of which identity; empty for all.
            state: In which state; None for any.
            size: How many; 0 for a usual number.
            token: Where to go on.

        Raises:
            ParadeError: INVALID_ARGUMENTS where size or token are not usable.
        """
        listed = f"certificates of {scope}/{spiffe_id}/{state}"
        count, after, now = paging.size_of(size), paging.last_of(listed, token), self._clock.now()
        found = await self._store.certificates(scope, spiffe_id, state, now, after, count + 1)
        page, following = paging.page_of(found, count, listed, lambda one: one.serial, lambda one: len(one.chain))
        return [self._as_it_stands(certificate, now) for certificate in page], following

    async def forget_expired(self) -> None:
        """Drops the certificates that have ended, and the revocations that need not be known any more."""
        now = self._clock.now()
        await self._store.remove_certificates(now)
        for subject in [subject for subject, revocation in self._known.items() if revocation.expires <= now]:
            del self._known[subject]

    async def _lock(self, identity: Identity, reason: str, by: str) -> Revocation:
        now = self._clock.now()
        # An agent's is kept for longer than its certificates last: runs that it has started ask after it for as long as they go on.
        end = now + self._retention
        if identity.kind is Kind.AGENT and (last := await self._store.latest_end(identity.uri)) is not None:
            end = max(last, end)
        return await self._revoke(identity.uri, identity.namespace, end, reason, by)

    async def _revoke(self, subject: str, namespace: str, end: datetime, reason: str, by: str) -> Revocation:
        async with self._order:
            now, known = self._clock.now(), self._known.get(subject)
            if known is None or known.expires <= now:
                known = await self._store.add_revocation(Revocation(subject, namespace, now, end, reason, by))
                self._log.warning("access revoked", subject=subject, namespace=namespace, reason=reason, principal=by)
            elif known.expires < end:
                # What was issued since then outlives the earlier one.
                known = await self._store.add_revocation(replace(known, expires=end))
            # Where it is known too: an attempt before may have been cut short here.
            await self._take_up(known)
            return known

    async def _take_up(self, revocation: Revocation) -> None:
        if self._known.get(revocation.subject) != revocation:
            self._known[revocation.subject] = revocation
            if not revocation.namespace:
                self._of_services.append(revocation)
            self._feed.tell(revocation)
        try:
            if revocation.of_identity:
                await self._dismiss_holder(revocation.subject)
                await self._disown(revocation.subject)
        finally:
            # Last: it ends what the revoked have under way here, and that may be the request that waits for this.
            self._own.add(as_refused(revocation), self._clock.now().timestamp())

    async def _dismiss_holder(self, spiffe_id: str) -> None:
        identity = Identity.parse(spiffe_id)
        if identity is not None and identity.kind is Kind.AGENT:
            await self._dismiss(identity.instance)

    def _as_it_stands(self, certificate: Certificate, now: datetime) -> KnownCertificate:
        revocation = self.revoked(certificate.serial, certificate.spiffe_id)
        return KnownCertificate(certificate, state_of(certificate, revocation, now), revocation)


def as_refused(revocation: Revocation) -> wire.Revocation:
    """Returns a revocation as those who refuse keep it."""
    serial, spiffe_id = ("", revocation.subject) if revocation.of_identity else (revocation.subject, "")
    return wire.Revocation(revocation.expires.timestamp(), revocation.reason, serial, spiffe_id)


def _own(principal: str) -> ParadeError:
    return ParadeError(Reason.FAILED_PRECONDITION, f"{principal} cannot revoke itself: nobody may be left to let it in again")


def _require_reason(reason: str) -> None:
    if len(reason) > MAX_REASON:
        raise invalid([Violation("reason", f"is longer than {MAX_REASON} characters")])
