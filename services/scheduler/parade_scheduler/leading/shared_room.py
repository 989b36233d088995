"""Room that namespaces share, so that one which fills its part leaves some for every other. Pure.

A namespace may take as much as there is left: alone half of it all, two together a third each, and whoever comes next finds the last part.
Source: A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.
"""


class SharedRoom:
    """How much each namespace has taken."""

    __slots__ = ("_taken", "_total")

    def __init__(self) -> None:
        """Starts empty."""
        self._taken: dict[str, int] = {}
        self._total = 0

    def enter(self, namespace: str, size: int, others: int = 0) -> bool:
        """Takes a place for a namespace; returns whether it may.

        Args:
            namespace: Who takes it.
            size: How many places there are.
            others: How many are taken at least, whoever by.
        """
        own = self._taken.get(namespace, 0)
        if own >= size - max(self._total, others):
            return False
        self._taken[namespace] = own + 1
        self._total += 1
        return True

    def leave(self, namespace: str) -> None:
        """Gives a place back."""
        left = self._taken[namespace] - 1
        if left:
            self._taken[namespace] = left
        else:
            del self._taken[namespace]
        self._total -= 1
