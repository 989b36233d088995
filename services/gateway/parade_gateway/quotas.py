"""What a namespace may have of the gateway, and how much of it is under way."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field

from parade_chassis.quotas import Limits, Quotas


class GatewayLimits(Limits):
    """The limits of a namespace."""

    requests: int = Field(default=512, ge=1)
    """REST requests under way, streams among them."""
    artifacts: int = Field(default=100_000, ge=1)
    """Artifacts that are kept."""
    artifact_bytes: int = Field(default=20 * 1024**3, ge=1)
    """Their bytes together, with those of uploads under way."""


class Requests:
    """The requests under way, by namespace."""

    def __init__(self, quotas: Quotas[GatewayLimits]) -> None:
        """Takes what each may have; there is none yet."""
        self._quotas = quotas
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def one(self, namespace: str) -> Iterator[None]:
        """Counts a request for the block.

        Raises:
            ParadeError: NO_CAPACITY where the namespace has as many as it may.
        """
        if self._under_way[namespace] >= self._quotas.of(namespace).requests:
            raise self._quotas.exhausted(namespace, "requests", "requests under way", "wait until some have ended", passing=True)
        self._under_way[namespace] += 1
        try:
            yield
        finally:
            self._under_way[namespace] -= 1
            if not self._under_way[namespace]:
                del self._under_way[namespace]
