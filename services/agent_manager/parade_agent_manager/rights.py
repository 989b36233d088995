"""Who may do what: API keys and grants of roles, and what follows from them. Pure: it reads no clock and writes nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from parade.wire.roles import EVERYWHERE, KEY_PREFIX, Role


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of an API key."""

    id: str
    digest: str
    """The SHA-256 of the whole key, in lower hexadecimal."""
    name: str
    namespace: str
    role: Role
    """What it may do at most; what it may do is `Rights.role_of`."""
    created_by: str
    """The subject that made it."""
    created: datetime
    expires: datetime
    revoked: datetime | None = None

    @property
    def subject(self) -> str:
        """Whom its holder is known as."""
        return KEY_PREFIX + self.id

    def is_live(self, now: datetime) -> bool:
        """Tells whether it opens anything."""
        return self.revoked is None and now < self.expires


@dataclass(frozen=True, slots=True)
class Grant:
    """What a subject may do in a namespace."""

    subject: str
    namespace: str
    """`EVERYWHERE` for all of them."""
    role: Role
    granted_by: str
    """The subject that granted it."""
    granted: datetime

    @property
    def place(self) -> tuple[str, str]:
        """What there is one grant for."""
        return self.subject, self.namespace


class Rights:
    """Every key and every grant."""

    def __init__(self, keys: Iterable[ApiKey] = (), grants: Iterable[Grant] = ()) -> None:
        """Takes what there is."""
        self._keys = {key.id: key for key in keys}
        self._grants = {grant.place: grant for grant in grants}

    def role_of(self, subject: str, namespace: str, now: datetime) -> Role:
        """Returns what a subject may do in a namespace.

        A key may do what its maker may and no more, whether that is a person, a program, or another key: so the least of all of them is
        looked for. Nobody can make a key that is its own maker, for the maker is there before.
        """
        least = Role.ADMIN
        while subject.startswith(KEY_PREFIX):
            key = self._keys.get(subject.removeprefix(KEY_PREFIX))
            if key is None or key.namespace != namespace or not key.is_live(now):
                return Role.NONE
            least = min(least, key.role)
            subject = key.created_by
        return min(least, max(self._granted(subject, namespace), self._granted(subject, EVERYWHERE)))

    def key(self, id: str) -> ApiKey | None:
        """Returns a key, where there is one."""
        return self._keys.get(id)

    def keys(self, namespace: str) -> list[ApiKey]:
        """Returns the keys of a namespace by id."""
        return sorted((key for key in self._keys.values() if key.namespace == namespace), key=lambda key: key.id)

    def living(self, now: datetime) -> Iterator[ApiKey]:
        """Yields the keys that open something at a time, as long as who made them may."""
        return (key for key in self._keys.values() if key.is_live(now))

    def over(self, now: datetime) -> Iterator[ApiKey]:
        """Yields the keys that were revoked, or have expired, by a time."""
        for key in self._keys.values():
            if key.expires <= now or (key.revoked is not None and key.revoked <= now):
                yield key

    def put_key(self, key: ApiKey) -> None:
        """Takes up a key as it is now."""
        self._keys[key.id] = key

    def remove_key(self, id: str) -> None:
        """Forgets a key."""
        self._keys.pop(id, None)

    def grant(self, subject: str, namespace: str) -> Grant | None:
        """Returns a grant, where there is one for exactly this namespace."""
        return self._grants.get((subject, namespace))

    def grants(self, namespace: str = EVERYWHERE) -> list[Grant]:
        """Returns the grants that hold in a namespace, by subject; all there are for `EVERYWHERE`."""
        places = (namespace, EVERYWHERE)
        found = (grant for grant in self._grants.values() if namespace == EVERYWHERE or grant.namespace in places)
        return sorted(found, key=lambda grant: grant.place)

    def put_grant(self, grant: Grant) -> None:
        """Takes up a grant, in place of the one that the subject had there."""
        self._grants[grant.place] = grant

    def remove_grant(self, grant: Grant) -> None:
        """Forgets a grant."""
        self._grants.pop(grant.place, None)

    def _granted(self, subject: str, namespace: str) -> Role:
        grant = self._grants.get((subject, namespace))
        return Role.NONE if grant is None else grant.role
