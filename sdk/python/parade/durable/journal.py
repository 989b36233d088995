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
    output: Any
    failure: Mapping[str, Any] | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> "Recorded":
        """Reads an entry of the journal."""
        return cls(
            entry.get("kind", ""),
            entry.get("name", ""),
            entry.get("digest", ""),
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


Entry = Mapping[str, Any]
"""What `Recorded` reads."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The arguments of a turn: the whole journal, or only what is new in it for who has taken the last turn."""

    arguments: Any
    """The function's own; None where only what is new is told."""
    journal: Sequence[Entry]
    """In the order of asking, the first with the index 1; empty where only what is new is told."""
    digests: Sequence[str] | None
    """Those of the journal; None where only what is new is told."""
    news: Mapping[int, Entry]
    """What has ended that earlier turns have not heard of, by index, where only what is new is told."""
    count: int
    """How much the function has asked for."""
    digest: str
    """Of all its digests, where only what is new is told."""
    seen: int
    """When the newest end came that earlier turns have heard of, in microseconds since 1970; 0 where they have heard of none."""
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
            seen, time = given.get("seen", 0), given["time"]
            if "news" in given:
                news = {entry["index"]: entry for entry in given["news"]}
                return cls(None, (), None, news, given["known"]["count"], given["known"]["digest"], seen, time)
            journal = given["journal"]
            return cls(given["arguments"], journal, [entry["digest"] for entry in journal], {}, len(journal), "", seen, time)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            message = "these are no arguments of a turn; a workflow is started as a run, it cannot be called"
            raise ParadeError(Reason.INVALID_ARGUMENTS, message) from error

    def ends_after(self, seen: int) -> list[tuple[int, int, Entry]]:
        """Returns what has ended after a time, in that order: when, its index, its entry."""
        entries = self.news.items() if self.digests is None else enumerate(self.journal, 1)
        return sorted([(entry["ended"], index, entry) for index, entry in entries if entry.get("ended", 0) > seen], key=lambda end: end[0])

    def is_open(self, index: int) -> bool:
        """Tells whether something may still come of what was asked for."""
        if index > self.count:
            return True
        return index not in self.news if self.digests is None else bool(self.journal[index - 1]["state"] == "OPEN")


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
"""What a turn answers that does not end the function: what it asks for, which asks it gives up, and the newest end that it has heard of."""
AGAIN_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"again": {"const": True}},
    "required": ["again"],
    "additionalProperties": False,
}
"""What a turn answers that was told only what is new, where the function does not stand where that follows."""
AGAIN = b'{"again":true}'


def arguments_schema(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a turn's arguments around that of the function's own."""
    definitions, schema = _apart(own)
    return {
        **definitions,
        "type": "object",
        "properties": {
            "arguments": schema,
            "journal": {"type": "array", "items": {"type": "object", "required": ["kind", "name", "digest", "state"]}},
            "news": {"type": "array", "items": {"type": "object", "required": ["index", "state", "ended"]}},
            "known": {"type": "object", "required": ["count", "digest"]},
            "seen": {"type": "integer"},
            "time": {"type": "integer"},
        },
        "oneOf": [{"required": ["arguments", "journal", "time"]}, {"required": ["news", "known", "time"]}],
        "additionalProperties": False,
    }


def result_schema(own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a turn's answer around that of the function's own result."""
    definitions, schema = _apart(own)
    result = {"type": "object", "properties": {"result": schema}, "required": ["result"], "additionalProperties": False}
    return {**definitions, "anyOf": [result, TURN_SCHEMA, AGAIN_SCHEMA]}


def _apart(schema: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes the definitions out of a schema, which refers to them from the root."""
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return definitions, {key: value for key, value in schema.items() if key != "$defs"}
