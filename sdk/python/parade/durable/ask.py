"""What a durable function asks the scheduler for, and how it is told from another ask."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from parade.wire.errors import Violation, invalid

DIGEST_BYTES = 8


class Kind(StrEnum):
    """What is asked for: the names of `parade.v1.StepKind` without their prefix."""

    CALL = "CALL"
    RUN = "RUN"
    APPROVAL = "APPROVAL"
    SIGNAL = "SIGNAL"
    TIMER = "TIMER"


_WORDS = {Kind.CALL: "a call of", Kind.RUN: "a run of", Kind.SIGNAL: "the signal", Kind.APPROVAL: "an approval", Kind.TIMER: "a timer"}
_NAMED = {
    Kind.CALL: ("function", 'the full name of a function, such as "agent.function"'),
    Kind.RUN: ("workflow", 'the name of a workflow, or the full name of a durable function, such as "agent.function"'),
    Kind.SIGNAL: ("name", "the name of a signal"),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a durable function asks for."""

    index: int
    """Its place in the order of asking, counted from 1."""
    kind: Kind
    name: str
    """The function, the workflow or the signal; empty for the others."""
    digest: str
    """Of what it is given: the same for equal arguments."""
    words: Mapping[str, Any]
    """How it is to be done: `arguments`, `timeout`, `retry`, `seconds`, `message`, `approvers`; those that were given, as JSON."""

    @classmethod
    def of(cls, index: int, kind: Kind, name: object, words: Mapping[str, Any]) -> "Ask":
        """Makes an ask. How long it may take and how often it is tried may change with the code; what it is given may not.

        Raises:
            ParadeError: INVALID_ARGUMENTS, where the name is no text, but the function itself, for example.
        """
        if not isinstance(name, str):
            field, what = _NAMED[kind]
            raise invalid([Violation(field, f"is {name!r}; it must be {what}")])
        canonical = orjson.dumps(words.get("arguments"), option=orjson.OPT_SORT_KEYS)
        return cls(index, kind, name, hashlib.blake2b(canonical, digest_size=DIGEST_BYTES).hexdigest(), words)

    def __str__(self) -> str:
        """Returns it in words."""
        return f"{_WORDS[self.kind]} `{self.name}`" if self.name else _WORDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Returns what the scheduler is told."""
        return {"index": self.index, "kind": self.kind.value, "name": self.name, "digest": self.digest, **self.words}
