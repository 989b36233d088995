"""A process's log: a constant event and fields, as a line on standard error and as a record to the monitor, from any thread.

No secret that the process knows leaves it in a record, see `parade.wire.redaction`.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from opentelemetry import trace

from parade.wire.redaction import masked, redacted, rewritten

LEVELS = ("debug", "info", "warning", "error")


class Sink(Protocol):
    """Where records go beside standard error; `parade.wire.telemetry.Telemetry` is one."""

    def log(self, severity: str, event: str, fields: dict[str, Any]) -> None:
        """Takes one record."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One log record on its way to a line."""

    level: str
    event: str
    shown: Mapping[str, Any]
    """The fields that stand in a line for people."""
    bound: Mapping[str, Any]
    """The fields that such a line can do without."""
    exception: str
    """A traceback; empty where there is none."""


Layout = Callable[[Record], str]
"""Turns a record into what is written, line end included."""


def for_people(record: Record) -> str:
    """Lays a record out as a short line."""
    text = " ".join(f"{key}={value}" for key, value in record.shown.items())
    line = f"{datetime.now().astimezone():%H:%M:%S} {record.level:7} {record.event}  {text}".rstrip()
    return f"{line}\n{record.exception}"


def for_machines(record: Record) -> str:
    """Lays a record out as a line of JSON, with the trace that it belongs to."""
    span = trace.get_current_span().get_span_context()
    fields = {
        "timestamp": datetime.now(UTC),
        "level": record.level,
        "event": record.event,
        **record.bound,
        **record.shown,
        **({"trace_id": f"{span.trace_id:032x}"} if span.is_valid else {}),
        **({"exception": record.exception} if record.exception else {}),
    }
    return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z).decode() + "\n"


class RedactedFormatter(logging.Formatter):
    """Lays out what libraries log by `logging`, without the secrets that the process knows."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, with the traceback where there is one."""
        return redacted(super().format(record))


class Log:
    """Writes log records, each with the fields that this log is bound to."""

    def __init__(
        self,
        sink: Sink | None = None,
        *,
        level: str = "info",
        layout: Layout = for_people,
        bound: Mapping[str, Any] | None = None,
        shown: Mapping[str, Any] | None = None,
        secrets: Collection[str] = (),
    ) -> None:
        """Makes a log.

        Args:
            sink: Where records go beside standard error.
            level: The least grave record that is written.
            layout: How a line looks: `for_people` or `for_machines`.
            bound: Fields of every record; those that a line for people can do without.
            shown: Fields of every record that stand in the line too.
            secrets: What is taken out of every record, however short.
        """
        self._sink = sink
        self._level = level
        self._layout = layout
        self._bound = dict(bound or {})
        self._shown = dict(shown or {})
        self._secrets = secrets

    @property
    def level(self) -> str:
        """The least grave record that is written."""
        return self._level

    def bind(self, shown: Mapping[str, Any], bound: Mapping[str, Any], secrets: Collection[str] = ()) -> "Log":
        """Returns a log with more fields, in whose records these secrets are not."""
        return Log(
            self._sink,
            level=self._level,
            layout=self._layout,
            bound={**self._bound, **bound},
            shown={**self._shown, **shown},
            secrets=(*self._secrets, *secrets),
        )

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
        self._write("error", event, fields, "".join(traceback.format_exception(exception)) if exception is not None else "")

    def _write(self, level: str, event: str, fields: dict[str, Any], exception: str = "") -> None:
        if LEVELS.index(level) < LEVELS.index(self._level):
            return
        secrets = self._secrets

        def rewrite(text: str) -> str:
            return redacted(masked(text, secrets))

        shown = {key: rewritten(value, rewrite) for key, value in {**self._shown, **fields}.items()}
        bound = {key: rewritten(value, rewrite) for key, value in self._bound.items()}
        record = Record(level, rewrite(event), shown, bound, rewrite(exception))
        sys.stderr.write(self._layout(record))
        sys.stderr.flush()
        if self._sink is not None:
            traceback = {"exception": record.exception} if record.exception else {}
            self._sink.log(level, record.event, {**record.bound, **record.shown, **traceback})
