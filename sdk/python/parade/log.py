"""An agent's log: a constant event and fields, as a line for people on standard error and as a record to the monitor, from any thread."""

import sys
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

LEVELS = ("debug", "info", "warning", "error")


class Sink(Protocol):
    """Where records go beside the console; `parade.wire.telemetry.Telemetry` is one."""

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        """Takes one record."""
        ...


class Log:
    """Writes log records, each with the fields that this log is bound to."""

    def __init__(
        self,
        sink: Sink | None = None,
        *,
        level: str = "info",
        bound: Mapping[str, Any] | None = None,
        shown: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes a log.

        Args:
            sink: Where records go beside the console.
            level: The least grave record that is written.
            bound: Fields of every record; those that a line for people can do without.
            shown: Fields of every record that stand in the line too.
        """
        self._sink = sink
        self._level = level
        self._bound = dict(bound or {})
        self._shown = dict(shown or {})

    def bind(self, shown: Mapping[str, Any], bound: Mapping[str, Any]) -> "Log":
        """Returns a log with more fields."""
        return Log(self._sink, level=self._level, bound={**self._bound, **bound}, shown={**self._shown, **shown})

    def debug(self, event: str, /, **fields: Any) -> None:
        """Writes what only its author wants to know."""
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Writes what happened."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Writes what should not have happened and does no harm yet."""
        self._write("warning", event, fields)

    def error(self, event: str, /, *, exception: BaseException | None = None, **fields: Any) -> None:
        """Writes what failed, with the traceback of `exception` where one is given."""
        trace = "".join(traceback.format_exception(exception)) if exception is not None else ""
        self._write("error", event, fields, trace)

    def _write(self, level: str, event: str, fields: dict[str, Any], trace: str = "") -> None:
        if LEVELS.index(level) < LEVELS.index(self._level):
            return
        seen = {**self._shown, **fields}
        text = " ".join(f"{key}={value}" for key, value in seen.items())
        line = f"{datetime.now().astimezone():%H:%M:%S} {level:7} {event}  {text}".rstrip()
        sys.stderr.write(f"{line}\n{trace}")
        sys.stderr.flush()
        if self._sink is not None:
            self._sink.log(level, event, {**self._bound, **seen, **({"exception": trace} if trace else {})})
