"""Which client holds which role where, as the agent_manager has told it last. Looked up for every request of a client."""

import asyncio
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import EVERYWHERE, KEY_PREFIX, Role


@dataclass(frozen=True, slots=True)
class Granted:
    """What a subject may do in a namespace."""

    subject: str
    namespace: str
    """`EVERYWHERE` for all of them."""
    role: Role
    """NONE where a grant was taken away."""


class Grants:
    """The grants that a process knows. Until it has been told it knows nobody's role, and says so (see `known`)."""

    def __init__(self) -> None:
        """Knows of none."""
        self.told = asyncio.Event()
        """Set once a whole picture has come. Afterwards the last one stands, whoever is away."""
        self._roles: dict[str, dict[str, Role]] = {}
        """Roles by subject and namespace."""
        self._subscribers: dict[object, Callable[[], None]] = {}

    @property
    def known(self) -> bool:
        """Whether anybody's role is known."""
        return self.told.is_set()

    def role_of(self, subject: str, namespace: str) -> Role:
        """Returns what a subject may do in a namespace."""
        held = self._roles.get(subject)
        if held is None:
            return Role.NONE
        return max(held.get(namespace, Role.NONE), held.get(EVERYWHERE, Role.NONE))

    def replace(self, picture: Iterable[Granted]) -> None:
        """Puts a whole picture in place of what was known."""
        before, self._roles = self._roles, {}
        for granted in picture:
            self._put(granted)
        news = not self.known or before != self._roles
        self.told.set()
        if news:
            self._tell()

    def put(self, granted: Granted) -> None:
        """Takes up one change."""
        self._put(granted)
        self._tell()

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called after every change, in the thread that makes it; it must not raise.

        Returns:
            What ends the subscription.
        """
        key = object()
        self._subscribers[key] = changed

        def end() -> None:
            self._subscribers.pop(key, None)

        return end

    def _put(self, granted: Granted) -> None:
        if granted.role is not Role.NONE:
            self._roles.setdefault(granted.subject, {})[granted.namespace] = granted.role
            return
        held = self._roles.get(granted.subject, {})
        held.pop(granted.namespace, None)
        if not held:
            self._roles.pop(granted.subject, None)

    def _tell(self) -> None:
        for changed in list(self._subscribers.values()):
            changed()


def lacking(subject: str, namespace: str, held: Role, needed: Role, purpose: str) -> ParadeError:
    """Makes the error for who has too little of a role, with who can help.

    Args:
        subject: Who asks.
        namespace: Where.
        held: What it may do.
        needed: What it would have to be allowed.
        purpose: What for, as `to call GetRun`.
    """
    has = f"has only the role {held.label}" if held is not Role.NONE else "has no role"
    if subject.startswith(KEY_PREFIX):
        way = f"make another key: `parade key create NAME --role {needed.label}`"
    else:
        way = f"grant it: `parade role grant {shlex.quote(subject)} {needed.label}`"
    return ParadeError(
        Reason.PERMISSION_DENIED,
        f"{subject} {has} in namespace {namespace}, and needs {needed.label} {purpose}. An admin of the namespace can {way}",
        metadata={"role": needed.label, "held": held.label},
    )
