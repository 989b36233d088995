"""Lets programs and people in: makes, lists and revokes API keys, grants roles and takes them away, and says who shows a key."""

import hmac
import re
from asyncio import Lock
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import NAME, Identity, Kind
from parade.wire.log import Log
from parade.wire.roles import EVERYWHERE, KEY_PREFIX, PERSON_PREFIX, Role
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.rights import ApiKey, Grant, Rights
from parade_agent_manager.rights_store import RightsStore
from parade_chassis import paging
from parade_chassis.api_key import mark_of, new_key
from parade_chassis.clock import Clock
from parade_chassis.grants import Granted, lacking
from parade_chassis.standing import LivingKey, Standing

DEFAULT_LIFETIME: Final = 90 * 86400.0
"""Seconds that a key is good where nobody says otherwise."""
MAX_LIFETIME: Final = 366 * 86400.0
MAX_KEYS: Final = 1000
"""Keys of a namespace."""
RETENTION: Final = timedelta(days=30)
"""How long a key that is over is kept, so that a list can say what became of it."""
MAX_NAME: Final = 80
KEY_BYTES: Final = 1024
GRANT_BYTES: Final = 1536
"""What one of a list takes in a message at most."""
MAX_PERSON: Final = 512
_PERSON = re.compile(rf"{PERSON_PREFIX}https?://[^\s#]+#\S+")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is shown, once."""

    secret: str
    key: ApiKey

    def __repr__(self) -> str:
        """Returns a text without the secret."""
        return f"NewKey(key={self.key.id})"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for something here."""

    subject: str
    namespace: str
    """Where it is; what it asks for is there unless it says otherwise."""


class Permissions:
    """The keys and the grants. Memory is the read side: one replica leads, and writes the store before it changes the memory."""

    def __init__(
        self,
        *,
        store: RightsStore,
        feed: AccessFeed,
        own: Standing,
        clock: Clock,
        log: Log,
        domain: str,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        """Takes its collaborators; `load` comes first.

        Args:
            store: Where keys and grants are kept.
            feed: How the other services hear of grants and keys.
            own: What this process itself judges by.
            clock: The time.
            log: Where it says what it did.
            domain: The trust domain of clients that roles are granted to.
            new_key: Makes the text of a key.
        """
        self._store = store
        self._feed = feed
        self._own = own
        self._clock = clock
        self._log = log
        self._domain = domain
        self._new_key = new_key
        self._rights = Rights()
        self._order = Lock()
        feed.draw(self._granted)
        feed.draw(self._living)

    async def load(self) -> None:
        """Reads what the store has."""
        self._rights = Rights(await self._store.keys(), await self._store.grants())
        await self._forget()
        self._own.replace_keys(self._living())
        self._own.grants.replace(self._granted())

    async def create_key(self, asker: Asker, name: str, role: Role, namespace: str, lifetime: float) -> NewKey:
        """Makes a key.

        Args:
            asker: Who asks.
            name: What it is for.
            role: What it may do at most.
            namespace: The namespace that it opens; the asker's where empty.
            lifetime: Seconds that it is good.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault; PERMISSION_DENIED; FAILED_PRECONDITION where there are too many.
        """
        where = namespace or asker.namespace
        faults = _name_faults(name) + _role_faults(role) + _namespace_faults(where, everywhere=False)
        if not 0 < lifetime <= MAX_LIFETIME:
            faults.append(Violation("ttl", "must be more than 0 and at most 366 days"))
        if faults:
            raise invalid(faults)
        async with self._order:
            self._require(asker, where, Role.ADMIN, "to make keys")
            await self._forget()
            if len(self._rights.keys(where)) >= MAX_KEYS:
                raise ParadeError(
                    Reason.FAILED_PRECONDITION, f"namespace {where} has {MAX_KEYS:,} keys; those that are over leave after 30 days"
                )
            secret = self._new_key()
            mark = mark_of(secret)
            if mark is None or self._rights.key(mark.id) is not None:
                raise ParadeError(Reason.UNAVAILABLE, "the key could not be made; try again")
            now = self._clock.now()
            expires = now + timedelta(seconds=lifetime)
            key = ApiKey(mark.id, mark.digest.hex(), name, where, role, asker.subject, now, expires)
            await self._put_key(key)
        self._log.info("key made", key=key.id, namespace=where, role=role.label, principal=asker.subject, expires=expires.isoformat())
        return NewKey(secret, key)

    async def revoke_key(self, asker: Asker, id: str) -> ApiKey:
        """Revokes a key for good.

        Raises:
            ParadeError: NOT_FOUND where there is none, or the asker is no admin of its namespace.
        """
        async with self._order:
            key = self._rights.key(id)
            # Who may not revoke it is not told either that it exists.
            if key is None or self._role(asker, key.namespace) < Role.ADMIN:
                raise ParadeError(Reason.NOT_FOUND, f"there is no key {id[:80]}")
            if key.revoked is not None:
                return key
            key = replace(key, revoked=self._clock.now())
            await self._put_key(key)
        self._log.info("key revoked", key=key.id, namespace=key.namespace, principal=asker.subject)
        return key

    async def disown(self, maker: str) -> None:
        """Revokes the keys that somebody has made who is not to be believed any more, and so those that were made with them."""
        async with self._order:
            now = self._clock.now()
            for key in [key for key in self._rights.living(now) if key.created_by == maker]:
                await self._put_key(replace(key, revoked=now))
                self._log.warning("key revoked with its maker", key=key.id, namespace=key.namespace, maker=maker)

    def keys(self, asker: Asker, namespace: str, size: int, token: str) -> tuple[list[ApiKey], str]:
        """Returns a page of the keys of a namespace, by id, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED.
        """
        where = self._readable(asker, namespace, everywhere=False)
        scope = f"keys of {where}"
        after = paging.last_of(scope, token)
        found = [key for key in self._rights.keys(where) if key.id > after]
        return paging.page_of(found, paging.size_of(size), scope, lambda key: key.id, lambda _: KEY_BYTES)

    def key(self, id: str) -> ApiKey | None:
        """Returns what is known of a key, whoever shows it; None where there is none."""
        return self._rights.key(id)

    def authenticate(self, id: str, digest: bytes) -> tuple[ApiKey, Role]:
        """Returns the key that somebody shows, and what it may do at the moment.

        Raises:
            ParadeError: UNAUTHENTICATED.
        """
        key = self._rights.key(id)
        # Compared in constant time. To the outside all refusals are one.
        if key is None or not hmac.compare_digest(bytes.fromhex(key.digest), digest) or not key.is_live(self._clock.now()):
            raise ParadeError(Reason.UNAUTHENTICATED, "this API key is not known, has expired or was revoked; ask an admin for another")
        return key, self.role_of_key(key)

    def role_of_key(self, key: ApiKey) -> Role:
        """Returns what a key may do at the moment."""
        return self._rights.role_of(key.subject, key.namespace, self._clock.now())

    async def grant(self, asker: Asker, subject: str, role: Role, namespace: str) -> Grant:
        """Grants a subject a role in a namespace, in place of the one it had there.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault; PERMISSION_DENIED.
        """
        where = namespace or asker.namespace
        if faults := self._subject_faults(subject, where) + _role_faults(role) + _namespace_faults(where, everywhere=True):
            raise invalid(faults)
        async with self._order:
            self._require(asker, where, Role.ADMIN, "to grant roles")
            grant = Grant(subject, where, role, asker.subject, self._clock.now())
            await self._put_grant(grant)
        return grant

    async def revoke(self, asker: Asker, subject: str, namespace: str) -> Grant:
        """Takes the role of a subject in a namespace away.

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED; NOT_FOUND.
        """
        where = namespace or asker.namespace
        if faults := _namespace_faults(where, everywhere=True):
            raise invalid(faults)
        async with self._order:
            self._require(asker, where, Role.ADMIN, "to take roles away")
            grant = self._rights.grant(subject, where)
            if grant is None:
                raise ParadeError(Reason.NOT_FOUND, f"{subject[:200]} has no role in namespace {where}")
            await self._store.remove_grant(grant)
            self._rights.remove_grant(grant)
            self._tell(Granted(subject, where, Role.NONE))
        self._log.info("role taken away", subject=subject, namespace=where, role=grant.role.label, principal=asker.subject)
        return grant

    def grants(self, asker: Asker, namespace: str, size: int, token: str) -> tuple[list[Grant], str]:
        """Returns a page of the grants that hold in a namespace, by subject, and the token of the next.

        Raises:
            ParadeError: INVALID_ARGUMENTS; PERMISSION_DENIED.
        """
        where = self._readable(asker, namespace, everywhere=True)
        scope = f"grants in {where}"
        after = paging.last_of(scope, token)
        found = [grant for grant in self._rights.grants(where) if _place(grant) > after]
        return paging.page_of(found, paging.size_of(size), scope, _place, lambda _: GRANT_BYTES)

    async def admit_first(self, admin: Identity) -> None:
        """Makes a client admin everywhere where nobody is: a new mesh needs somebody who can let others in, into new namespaces too."""
        async with self._order:
            if any(grant.role is Role.ADMIN and grant.namespace == EVERYWHERE for grant in self._rights.grants()):
                return
            own = Identity.service("agent_manager", self._domain).uri
            await self._put_grant(Grant(admin.uri, EVERYWHERE, Role.ADMIN, own, self._clock.now()))

    def is_admin(self, client: Identity) -> bool:
        """Tells whether a client is admin of its namespace, and believed."""
        return self._own.of(client.uri, client.namespace) is Role.ADMIN

    def opens(self, secret: str, until: datetime) -> bool:
        """Tells whether a text is a key that will still open something at a time."""
        mark = mark_of(secret)
        key = self._rights.key(mark.id) if mark is not None else None
        if mark is None or key is None or not hmac.compare_digest(bytes.fromhex(key.digest), mark.digest):
            return False
        return self._rights.role_of(key.subject, key.namespace, until) is not Role.NONE

    async def _forget(self) -> None:
        """Removes the keys that have been over for long."""
        over = [key.id for key in self._rights.over(self._clock.now() - RETENTION)]
        if over:
            await self._store.remove_keys(over)
        for id in over:
            self._rights.remove_key(id)

    async def _put_grant(self, grant: Grant) -> None:
        await self._store.put_grant(grant)
        self._rights.put_grant(grant)
        self._tell(Granted(grant.subject, grant.namespace, grant.role))
        self._log.info("role granted", subject=grant.subject, namespace=grant.namespace, role=grant.role.label, principal=grant.granted_by)

    async def _put_key(self, key: ApiKey) -> None:
        await self._store.put_key(key)
        self._rights.put_key(key)
        known = _known(key)
        self._own.put_key(known)
        self._feed.tell(known)

    def _granted(self) -> list[Granted]:
        return [Granted(grant.subject, grant.namespace, grant.role) for grant in self._rights.grants()]

    def _living(self) -> list[LivingKey]:
        return [_known(key) for key in self._rights.living(self._clock.now())]

    def _tell(self, change: Granted) -> None:
        self._own.grants.put(change)
        self._feed.tell(change)

    def _readable(self, asker: Asker, namespace: str, *, everywhere: bool) -> str:
        where = namespace or asker.namespace
        if faults := _namespace_faults(where, everywhere=everywhere):
            raise invalid(faults)
        self._require(asker, where, Role.ADMIN, "to see who may do what")
        return where

    def _require(self, asker: Asker, namespace: str, needed: Role, purpose: str) -> None:
        held = self._role(asker, namespace)
        if held < needed:
            raise lacking(asker.subject, namespace, held, needed, purpose)

    def _role(self, asker: Asker, namespace: str) -> Role:
        return self._rights.role_of(asker.subject, namespace, self._clock.now())

    def _subject_faults(self, subject: str, namespace: str) -> list[Violation]:
        if subject.startswith(KEY_PREFIX):
            return [Violation("subject", "is an API key, whose role is given when it is made; make another with `parade key create`")]
        if subject.startswith(PERSON_PREFIX):
            fits = len(subject) <= MAX_PERSON and subject.isprintable() and _PERSON.fullmatch(subject)
            return [] if fits else [Violation("subject", "is none of the form oidc:<issuer's URL>#<subject>, at most 512 characters")]
        client = Identity.parse(subject)
        if client is None or client.kind is not Kind.CLIENT or client.domain != self._domain:
            return [Violation("subject", f"is no client of this mesh, spiffe://{self._domain}/ns/<namespace>/client/<name>, and no person")]
        if namespace not in (client.namespace, EVERYWHERE):
            return [Violation("subject", f"is a client of namespace {client.namespace}, and acts in no other")]
        return []


def _place(grant: Grant) -> str:
    return f"{grant.subject} {grant.namespace}"


def _known(key: ApiKey) -> LivingKey:
    role = key.role if key.revoked is None else Role.NONE
    return LivingKey(key.id, key.namespace, role, key.created_by, key.expires.timestamp())


def _name_faults(name: str) -> list[Violation]:
    return [] if 0 < len(name) <= MAX_NAME and name.isprintable() else [Violation("name", f"must be 1 to {MAX_NAME} printable characters")]


def _role_faults(role: Role) -> list[Violation]:
    return [] if role is not Role.NONE else [Violation("role", "must be viewer, developer, operator or admin")]


def _namespace_faults(namespace: str, *, everywhere: bool) -> list[Violation]:
    if NAME.fullmatch(namespace) or (everywhere and namespace == EVERYWHERE):
        return []
    beside = ' or "*"' if everywhere else ""
    return [Violation("namespace", f'must be a lower-case letter and then lower-case letters, digits or "-", at most 40{beside}')]
