"""How much of its share a new instance has: it grows over its first seconds, beside instances that are there already."""

from parade_dispatcher.member import Member
from parade_dispatcher.ports import Later, Now

DURATION = 10.0
"""Seconds until a new instance has its whole share."""
LEAST = 0.05
"""The share that it starts with."""
_PERIOD = 0.25
"""Seconds between two rises."""


class SlowStart:
    """Raises the weights of the new instances of one agent. Where all are new their weights are alike, and nothing is held back."""

    def __init__(self, now: Now, later: Later) -> None:
        """Starts without a new instance."""
        self._now = now
        self._later = later
        self._members: set[Member] = set()

    def begin(self, member: Member) -> None:
        """Lets an instance begin with the least share."""
        member.since = self._now()
        member.weight = LEAST
        if not self._members:
            self._later(_PERIOD, self._rise)
        self._members.add(member)

    def _rise(self) -> None:
        now = self._now()
        for member in list(self._members):
            member.weight = max(LEAST, min(1.0, (now - member.since) / DURATION))
            if member.weight == 1.0 or not member.callable:
                self._members.discard(member)
                member.weight = 1.0
        if self._members:
            self._later(_PERIOD, self._rise)
