"""What is no longer believed though its time has not come: certificates by serial, and identities with all their certificates.

It knows no source: the agent_manager tells, and whoever follows it puts here what it says (see `replace` and `add`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Revocation:
    """One certificate, or one identity, that is not believed any more. Exactly one of `serial` and `spiffe_id` is given."""

    until: float
    """Seconds since 1970 from which it need not be known: every certificate that it concerns has ended by then."""
    reason: str
    """Why, for people; it stands in what the holder is told."""
    serial: str = ""
    """A certificate's serial number, in lower hexadecimal without leading zeros."""
    spiffe_id: str = ""
    """An identity, of which no certificate is believed."""

    def __post_init__(self) -> None:
        """Refuses what revokes nothing, or two things."""
        if bool(self.serial) == bool(self.spiffe_id):
            raise ValueError("a revocation names a serial or a SPIFFE id, and not both")


class Holder(Protocol):
    """Whose certificate is looked up: a `parade.wire.peer.Peer`."""

    @property
    def serial(self) -> str:
        """The certificate's serial number, in lower hexadecimal."""
        ...

    @property
    def spiffe_id(self) -> str:
        """Who holds it."""
        ...


class Revocations:
    """The revocations that a process knows. Looked up for every request and every frame, so that a look is two dictionaries' worth."""

    def __init__(self) -> None:
        """Knows of none."""
        self._serials: dict[str, Revocation] = {}
        self._identities: dict[str, Revocation] = {}
        self._subscribers: dict[object, Callable[[], None]] = {}

    def __len__(self) -> int:
        """Returns how many are known."""
        return len(self._serials) + len(self._identities)

    def reason(self, holder: Holder, now: float) -> str | None:
        """Returns why a certificate is not to be believed; None where nothing speaks against it.

        Args:
            holder: The certificate.
            now: The time, in seconds since 1970.
        """
        for found in (self._serials.get(holder.serial), self._identities.get(holder.spiffe_id)):
            if found is not None and now < found.until:
                return found.reason
        return None

    def replace(self, picture: Iterable[Revocation], now: float) -> None:
        """Puts a whole picture in place of what was known.

        Args:
            picture: Everything that is revoked.
            now: The time; what need not be known any more is left out.
        """
        before = (self._serials, self._identities)
        self._serials, self._identities = {}, {}
        for revocation in picture:
            self._put(revocation, now)
        if before != (self._serials, self._identities):
            self._tell()

    def add(self, revocation: Revocation, now: float) -> None:
        """Adds one, and forgets those that need not be known any more."""
        for known in (self._serials, self._identities):
            for key in [key for key, old in known.items() if old.until <= now]:
                del known[key]
        if self._put(revocation, now):
            self._tell()

    def of_identity(self, spiffe_id: str, now: float) -> Revocation | None:
        """Returns the revocation of an identity, whatever certificate it shows; None where nothing speaks against it."""
        found = self._identities.get(spiffe_id)
        return found if found is not None and now < found.until else None

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

    def _put(self, revocation: Revocation, now: float) -> bool:
        if revocation.until <= now:
            return False
        known, key = (self._serials, revocation.serial) if revocation.serial else (self._identities, revocation.spiffe_id)
        old = known.get(key)
        if old is not None and old.until >= revocation.until:
            return False
        known[key] = revocation
        return True

    def _tell(self) -> None:
        for changed in list(self._subscribers.values()):
            changed()
