"""How much of the disk each namespace's artifacts take: measured once in a while, and counted in between.

Several gateways may share a folder: each knows what the others have stored since only when it measures again, so that a namespace can come
to have somewhat more than it may for that long.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import ParadeError
from parade_chassis.quotas import Quotas
from parade_gateway.quotas import GatewayLimits

FRESH: Final = 600.0
"""Seconds for which what was measured is counted on with."""
KEPT: Final = "wait until some have been kept for their time"

Measure = Callable[[str], tuple[int, int]]
"""Returns how many artifacts a namespace has, and their bytes."""


@dataclass(slots=True)
class _Used:
    artifacts: int
    stored: int
    """Bytes."""
    measured: float
    """When, by the monotonic clock."""


class Usage:
    """What namespaces take. Its methods may be called from any thread, and block while a namespace is measured."""

    def __init__(self, quotas: Quotas[GatewayLimits], measure: Measure, now: Callable[[], float] = time.monotonic) -> None:
        """Takes what each may have, what measures, and the clock."""
        self._quotas = quotas
        self._measure = measure
        self._now = now
        self._lock = threading.Lock()
        self._used: dict[str, _Used] = {}
        self._arriving: dict[str, int] = {}
        """The bytes of uploads under way, by the namespaces that have any."""

    def demand(self, namespace: str, size: int = 0) -> None:
        """Holds that one more artifact, of so many bytes where that is known, would fit.

        Raises:
            ParadeError: NO_CAPACITY where the namespace has as many artifacts or bytes as it may.
        """
        used, limits = self._of(namespace), self._quotas.of(namespace)
        if used.artifacts >= limits.artifacts:
            raise self._quotas.exhausted(namespace, "artifacts", "artifacts", KEPT)
        if used.stored + self._arriving.get(namespace, 0) + size > limits.artifact_bytes:
            raise self._full(namespace)

    def take(self, namespace: str, size: int) -> None:
        """Takes room for bytes that arrive.

        Raises:
            ParadeError: NO_CAPACITY where the namespace has as many bytes as it may; then nothing is taken.
        """
        used = self._of(namespace)
        with self._lock:
            arriving = self._arriving.get(namespace, 0) + size
            if used.stored + arriving > self._quotas.of(namespace).artifact_bytes:
                raise self._full(namespace)
            self._arriving[namespace] = arriving

    def give_back(self, namespace: str, size: int) -> None:
        """Gives room back that was taken for bytes which are an artifact now, or nothing."""
        with self._lock:
            left = self._arriving.get(namespace, 0) - size
            if left > 0:
                self._arriving[namespace] = left
            else:
                self._arriving.pop(namespace, None)

    def changed(self, namespace: str, artifacts: int, size: int) -> None:
        """Takes note of artifacts that came, or of fewer than none that went, and of their bytes."""
        with self._lock:
            if (used := self._used.get(namespace)) is not None:
                used.artifacts += artifacts
                used.stored += size

    def _of(self, namespace: str) -> _Used:
        used = self._used.get(namespace)
        if used is None or self._now() - used.measured > FRESH:
            artifacts, stored = self._measure(namespace)
            used = _Used(artifacts, stored, self._now())
            with self._lock:
                self._used[namespace] = used
        return used

    def _full(self, namespace: str) -> ParadeError:
        return self._quotas.exhausted(namespace, "artifact_bytes", "bytes of artifacts", KEPT)
