"""When something is tried again."""

import re
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import Reason
from parade_scheduler.backoff import Backoff
from parade_scheduler.language.definition import Retry
from parade_scheduler.language.faults import Faults
from parade_scheduler.language.tree import Node
from parade_scheduler.language.vocabulary import RETRY
from parade_scheduler.language.vocabulary.names import FAILURE, MAX_ATTEMPTS, MAX_FACTOR, MIN_FACTOR
from parade_scheduler.language.words import Words

_LIKE_A_REASON: Final = re.compile(r"[A-Z]+(_[A-Z]+)+")
"""How reasons are written, and types of exceptions are not."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Reads `retry`."""

    faults: Faults
    words: Words

    def read(self, node: Node | None, path: str) -> Retry:
        """Returns how often and when is tried again; once in all where nothing is said."""
        if node is None:
            return Retry()
        found = self.words.known(node, path, node.line, RETRY)
        delay = self.words.duration(found.get("delay"), f"{path}.delay") or 1.0
        longest = self.words.duration(found.get("max-delay"), f"{path}.max-delay") or max(60.0, delay)
        if longest < delay:
            self.faults.add(f"{path}.max-delay", found["max-delay"].line, "`max-delay` is shorter than `delay`", "make it longer")
        factor = self.words.number(found.get("factor"), f"{path}.factor", 2.0, MIN_FACTOR, MAX_FACTOR)
        jitter = self.words.number(found.get("jitter"), f"{path}.jitter", 0.25, 0.0, 1.0)
        attempts = self.words.whole_number(found.get("attempts"), f"{path}.attempts", 1, MAX_ATTEMPTS)
        on = self._failures(found.get("on"), f"{path}.on")
        never = self._failures(found.get("never"), f"{path}.never")
        for failure in sorted(on & never):
            self.faults.add(f"{path}.never", found["never"].line, f"`{failure}` stands in `on` too", "leave it out of one of them")
        return Retry(attempts, Backoff(delay, factor, longest, jitter), on, never)

    def _failures(self, node: Node | None, path: str) -> frozenset[str]:
        names = self.words.names(node, path, FAILURE)
        for name in names:
            if node is not None and _LIKE_A_REASON.fullmatch(name) and name not in Reason.__members__:
                hint = self.faults.hint(name, Reason.__members__) or f"there are {', '.join(Reason.__members__)}"
                self.faults.add(path, node.line, f"there is no reason `{name}`", hint)
        return frozenset(names)
