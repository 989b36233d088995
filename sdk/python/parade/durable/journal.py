"""What the scheduler tells a durable function at each turn: its arguments, and what became of everything that it has asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from parade.durable.ask import Ask, Kind
from parade.wire.errors import ParadeError, Reason, Violation

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One thing that the function has asked for, and what became of it."""

    kind: str
    name: str
    digest: str
    ended: int
    """When it ended, in microseconds since 1970; later than everything that ended before it in this run. 0 while it has not."""
    open: bool
    """Whether something may still come of it."""
    output: Any
    failure: Mapping[str, Any] | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Recorded":
        """Reads an entry of the journal."""
        return cls(
            entry["kind"],
            entry["name"],
            entry["digest"],
            entry.get("ended", 0),
            entry["state"] == "OPEN",
            entry.get("output"),
            entry.get("failure"),
        )

    def is_of(self, ask: Ask) -> bool:
        """Tells whether it is what the function asks for now."""
        return self.kind == ask.kind and self.name == ask.name and self.digest == ask.digest

    def __str__(self) -> str:
        """Returns it in words."""
        try:
            return str(Ask(0, Kind(self.kind), self.name, self.digest, {}))
        except ValueError:
            return f"{self.kind} `{self.name}`"

    def error(self) -> ParadeError:
        """Returns why it failed."""
        failure = self.failure or {}
        return ParadeError(
            Reason.named(failure.get("reason", ""), Reason.INTERNAL),
            failure.get("message", ""),
            violations=[Violation(fault.get("field", ""), fault.get("description", "")) for fault in failure.get("violations", ())],
            metadata=failure.get("metadata", {}),
            retryable=failure.get("retryable"),
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """The arguments of a turn."""

    arguments: Any
    """The function's own."""
    journal: Sequence[Mapping[str, Any]]
    """What `Recorded` reads, in the order of asking; the first has the index 1."""
    digests: Sequence[str]
    """Those of the journal: a turn that goes on from the last one looks at little else of it."""
    seen: int
    """When the newest end came that earlier turns have seen, in microseconds since 1970; 0 where they have seen none."""
    time: int
    """When the run began, in microseconds since 1970."""

    @classmethod
    def read(cls, data: bytes) -> "Envelope":
        """Reads the arguments of a turn.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where they are something else.
        """
        try:
            given = orjson.loads(data)
            journal = given["journal"]
            return cls(given["arguments"], journal, [entry["digest"] for entry in journal], given.get("seen", 0), given["time"])
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            message = "these are no arguments of a turn; a workflow is started as a run, it cannot be called"
            raise ParadeError(Reason.INVALID_ARGUMENTS, message) from error


def time_of(micros: int) -> datetime:
    """Returns a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(time: datetime) -> int:
    """Returns a time in microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


TURN_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "asks": {"type": "array", "items": {"type": "object", "required": ["index", "kind", "name", "digest"]}},
        "cancels": {"type": "array", "items": {"type": "integer"}},
        "seen": {"type": "integer"},
    },
    "required": ["asks", "cancels", "seen"],
    "additionalProperties": False,
}
"""What a turn answers that does not end the function: what it asks for, which asks it gives up, and the newest end that it has seen."""


def arguments_schema(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a turn's arguments around that of the function's own."""
    definitions, schema = _apart(own)
    return {
        **definitions,
        "type": "object",
        "properties": {
            "arguments": schema,
            "journal": {"type": "array", "items": {"type": "object", "required": ["kind", "name", "digest", "state"]}},
            "seen": {"type": "integer"},
            "time": {"type": "integer"},
        },
        "required": ["arguments", "journal", "time"],
        "additionalProperties": False,
    }


def result_schema(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a turn's answer around that of the function's own result."""
    definitions, schema = _apart(own)
    result = {"type": "object", "properties": {"result": schema}, "required": ["result"], "additionalProperties": False}
    return {**definitions, "anyOf": [result, TURN_SCHEMA]}


def _apart(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes the definitions out of a schema, which refers to them from the root."""
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return definitions, {key: value for key, value in schema.items() if key != "$defs"}
