"""A log that says nothing twice."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from parade.wire.log import Log


class ReplayLog(Log):
    """Passes records on, unless the function only does again what it has done before."""

    def __init__(self, log: Log, is_silent: Callable[[], bool]) -> None:
        """Takes where records go, and what tells when they do not."""
        super().__init__(level=log.level)
        self._log = log
        self._is_silent = is_silent

    def bind(self, shown: Mapping[str, Any], bound: Mapping[str, Any], secrets: Collection[str] = ()) -> Log:
        """Returns a log with more fields, in whose records these secrets are not."""
        return ReplayLog(self._log.bind(shown, bound, secrets), self._is_silent)

    def _write(self, level: str, event: str, fields: dict[str, Any], exception: str = "") -> None:
        if not self._is_silent():
            self._log._write(level, event, fields, exception)  # noqa: SLF001  # a log's own
