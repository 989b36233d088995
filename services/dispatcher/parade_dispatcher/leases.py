"""Which dispatchers live, judged by their signs of life: who gives none for the length of a lease has ended.

The length is measured by the watcher's own clock, from when it first saw the last sign: the clocks of two machines are never compared.
"""

from collections.abc import Iterable
from typing import Final

from parade_dispatcher.changes import Sign
from parade_dispatcher.ports import Now

LEASE: Final = 5.0
"""Seconds without a sign after which a dispatcher counts as ended."""
BEAT_INTERVAL: Final = 1.0
"""Seconds between two signs of a dispatcher that owns something."""


class Leases:
    """What one dispatcher has seen of the others."""

    def __init__(self, now: Now) -> None:
        """Takes the time."""
        self._now = now
        self._seen: dict[str, tuple[int, float]] = {}

    def lives(self, id: str, beat: int | None) -> bool:
        """Returns whether a dispatcher lives, and remembers its sign.

        Args:
            id: Which one.
            beat: Its last sign; None where it has been struck off.
        """
        if beat is None:
            self._seen.pop(id, None)
            return False
        now = self._now()
        known = self._seen.get(id)
        if known is None or known[0] != beat:
            self._seen[id] = (beat, now)
            return True
        return now - known[1] < LEASE

    def ended(self, signs: Iterable[Sign]) -> list[Sign]:
        """Takes the signs of all dispatchers and returns those of the ones that have ended."""
        signs = list(signs)
        ended = [sign for sign in signs if not self.lives(sign.id, sign.beat)]
        present = {sign.id for sign in signs}
        self._seen = {id: seen for id, seen in self._seen.items() if id in present}
        return ended
