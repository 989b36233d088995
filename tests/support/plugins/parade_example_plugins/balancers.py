"""A way to choose among instances."""

from collections.abc import Sequence
from typing import Any


class FirstByName:
    """Fills one instance after the other, so that the last can be drained when there is little to do."""

    def choose(self, candidates: Sequence[Any], request: Any) -> Any:
        """Returns the first candidate by its name."""
        return min(candidates, key=lambda candidate: candidate.instance.id)
