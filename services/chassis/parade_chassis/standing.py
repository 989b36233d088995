"""What whom something is done for may do at this moment, whoever that is: a client, a person, an API key, an agent, a service.

A request proves who asks, and its role is looked up then. What goes on without a request asks here, again and again: steps of a run that
somebody started days ago, calls that an agent makes for somebody. A look is one dictionary's worth.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity, Kind
from parade.wire.revocations import Revocations
from parade.wire.roles import KEY_PREFIX, PERSON_PREFIX, Role
from parade_chassis.grants import Grants

MOST: Final = 8192
"""How many answers are remembered; beyond that all are looked for anew."""
_FOR_GOOD: Final = float("inf")


@dataclass(frozen=True, slots=True)
class LivingKey:
    """What services know of an API key. It opens nothing."""

    id: str
    namespace: str
    role: Role
    """What it may do at most; NONE where it was revoked."""
    created_by: str
    """The subject that made it: it may do no more than that one may."""
    expires: float
    """When it ends, in seconds since 1970."""

    @property
    def subject(self) -> str:
        """Whom its holder is known as."""
        return KEY_PREFIX + self.id


class Standing:
    """Tells what a principal may do, by what the agent_manager has said of grants, keys and revocations."""

    def __init__(self, grants: Grants, revocations: Revocations, domain: str, now: Callable[[], float]) -> None:
        """Knows of no key.

        Args:
            grants: The roles of clients and persons.
            revocations: The identities that are not believed any more.
            domain: The trust domain; nobody of another one stands here.
            now: The time, in seconds since 1970.
        """
        self.grants = grants
        self._revocations = revocations
        self._domain = domain
        self._now = now
        self._keys: dict[str, LivingKey] = {}
        self._answers: dict[tuple[str, str], tuple[Role, float]] = {}
        """What was found, and until when that is so whoever says nothing."""
        self._subscribers: dict[object, Callable[[], None]] = {}
        grants.subscribe(self._changed)
        revocations.subscribe(self._changed)

    @property
    def known(self) -> bool:
        """Whether the agent_manager has said anything yet. Until then nobody stands but agents and services."""
        return self.grants.known

    def of(self, principal: str, namespace: str) -> Role:
        """Returns what a principal may do in a namespace.

        A client and a person may do what they are granted, a key what it and its makers may, an agent what a developer may, and a service
        everything; a client, an agent and a service whose identity is revoked, nothing.

        Args:
            principal: A SPIFFE id, `key:<id>`, or `oidc:<issuer>#<subject>`.
            namespace: Where.
        """
        found = self._answers.get((principal, namespace))
        if found is None or (found[1] != _FOR_GOOD and self._now() >= found[1]):
            if len(self._answers) >= MOST:
                self._answers.clear()
            found = self._answers[principal, namespace] = self._found(principal, namespace)
        return found[0]

    def replace_keys(self, picture: Iterable[LivingKey]) -> None:
        """Puts a whole picture of the keys in place of what was known."""
        self._keys = {key.id: key for key in picture if key.role is not Role.NONE}
        self._changed()

    def put_key(self, key: LivingKey) -> None:
        """Takes up a key as it is now."""
        if key.role is Role.NONE:
            self._keys.pop(key.id, None)
        else:
            self._keys[key.id] = key
        self._changed()

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called after every change, in the thread that makes it; it must not raise. That time passes is no change.

        Returns:
            What ends the subscription.
        """
        subscription = object()
        self._subscribers[subscription] = changed

        def end() -> None:
            self._subscribers.pop(subscription, None)

        return end

    def _found(self, principal: str, namespace: str) -> tuple[Role, float]:
        if principal.startswith(KEY_PREFIX):
            return self._of_key(principal, namespace)
        if principal.startswith(PERSON_PREFIX):
            return self.grants.role_of(principal, namespace), _FOR_GOOD
        identity = Identity.parse(principal)
        if identity is None or identity.domain != self._domain or identity.namespace not in ("", namespace):
            return Role.NONE, _FOR_GOOD
        revocation = self._revocations.of_identity(principal, self._now())
        if revocation is not None:
            return Role.NONE, revocation.until
        match identity.kind:
            case Kind.CLIENT:
                return self.grants.role_of(principal, namespace), _FOR_GOOD
            case Kind.AGENT:
                return Role.DEVELOPER, _FOR_GOOD
        return Role.ADMIN, _FOR_GOOD

    def _of_key(self, subject: str, namespace: str) -> tuple[Role, float]:
        """Returns the least of what a key and those may who made it, one the other: as the agent_manager does, which lets it in by that."""
        least, until, now = Role.ADMIN, _FOR_GOOD, self._now()
        while subject.startswith(KEY_PREFIX):
            key = self._keys.get(subject.removeprefix(KEY_PREFIX))
            if key is None or key.namespace != namespace or now >= key.expires:
                return Role.NONE, _FOR_GOOD
            least, until, subject = min(least, key.role), min(until, key.expires), key.created_by
        return min(least, self.grants.role_of(subject, namespace)), until

    def _changed(self) -> None:
        self._answers.clear()
        for changed in list(self._subscribers.values()):
            changed()


def require(standing: Standing, principal: str, namespace: str, needed: Role, purpose: str) -> None:
    """Holds that a principal may still do something that it was the cause of.

    Args:
        standing: What principals may do.
        principal: Whom it is done for.
        namespace: Where.
        needed: The least role for it.
        purpose: What for, as `to go on with run r-1`.

    Raises:
        ParadeError: UNAVAILABLE where nobody has said yet who may do what; PERMISSION_DENIED where it may not, any more or ever.
    """
    if not standing.known:
        raise ParadeError(Reason.UNAVAILABLE, "this service has not been told yet who may do what; try again")
    held = standing.of(principal, namespace)
    if held < needed:
        raise ended(principal, namespace, held, needed, purpose)


def ended(principal: str, namespace: str, held: Role, needed: Role, purpose: str) -> ParadeError:
    """Makes the error for a principal whose right has ended, or never was: whose, and who can mend it."""
    why = f"has only the role {held.label}" if held is not Role.NONE else _over(principal)
    return ParadeError(
        Reason.PERMISSION_DENIED,
        f"{principal} {why}; {purpose} in namespace {namespace} takes the role {needed.label}",
        metadata={"principal": principal, "role": needed.label, "held": held.label},
    )


def _over(principal: str) -> str:
    if principal.startswith(KEY_PREFIX):
        return "was revoked or has expired, or who made it has no role any more"
    if principal.startswith(PERSON_PREFIX):
        return "has no role"
    return "has no role, or its identity was revoked"
