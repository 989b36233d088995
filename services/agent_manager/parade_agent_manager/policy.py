"""Policies as they are kept: each version of each. Pure."""

from dataclasses import dataclass
from datetime import datetime

from parade_chassis.policies import PolicyText


@dataclass(frozen=True, slots=True)
class Policy:
    """A version of a policy."""

    namespace: str
    name: str
    version: int
    """Counted from 1, on over a deletion."""
    text: str
    """Its rules; empty where this version says that it was deleted."""
    rule_count: int
    author: str
    """The subject that stored it."""
    created: datetime

    @property
    def place(self) -> tuple[str, str]:
        """What there is one newest version for."""
        return self.namespace, self.name

    @property
    def holds(self) -> bool:
        """Whether there is something in it to decide by."""
        return bool(self.text)

    @property
    def size(self) -> int:
        """About how many bytes it takes in a message."""
        return len(self.text.encode()) + 1024

    def told(self) -> PolicyText:
        """Returns it as services are told."""
        return PolicyText(self.namespace, self.name, self.version, self.text)
