"""A workflow that has been read and found right: what the decider works from. It cannot change."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from parade_scheduler.backoff import Backoff
from parade_scheduler.expression import Expression
from parade_scheduler.language.inputs import Inputs
from parade_scheduler.language.template import Template


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a step's function is tried again after it failed."""

    attempts: int = 1
    """How often it is tried in all; 1 is once."""
    backoff: Backoff = field(default_factory=lambda: Backoff(delay=1.0))


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step of a workflow."""

    id: str
    call_line: int
    """The line of its `call`, counted from 1."""
    call: str
    """The function's full name, `agent.function`."""
    arguments: Template
    description: str = ""
    needs: tuple[str, ...] = ()
    condition: Expression | bool | None = None
    """Its `if`; None where it has none."""
    decides_alone: bool = False
    """Whether the condition is asked even where a needed step did not succeed: it is `true` or looks at what became of them."""
    items: Template | None = None
    """Its `for-each`; None where it is one task."""
    max_parallel: int = 1
    """How many of its tasks are under way at most."""
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    """The longest one attempt may take, in seconds, with all waiting for a free instance."""


@dataclass(frozen=True)
class Definition:
    """A workflow."""

    name: str
    description: str
    inputs: Inputs
    steps: Mapping[str, StepDefinition]
    """The steps by id, in the order of the document."""
    outputs: Template
    """What a run gives, an object."""
    timeout: float | None
    """The longest a run may take, in seconds."""
    canonical: bytes
    """The document as JSON with its keys in order and without comments: equal for definitions that mean the same."""

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of the canonical document, hexadecimal."""
        return hashlib.sha256(self.canonical).hexdigest()

    @cached_property
    def needed_by(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, the steps that need it."""
        result: dict[str, list[str]] = {step: [] for step in self.steps}
        for step in self.steps.values():
            for needed in step.needs:
                result[needed].append(step.id)
        return {step: tuple(needing) for step, needing in result.items()}

    @property
    def functions(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The functions that it calls, each with the path and the line of every step that calls it."""
        result: dict[str, list[tuple[str, int]]] = {}
        for step in self.steps.values():
            # A step whose `call` is at fault has none.
            if step.call:
                result.setdefault(step.call, []).append((f"steps.{step.id}.call", step.call_line))
        return result


def canonical(document: Any) -> bytes:
    """Returns a document as JSON with its keys in order."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
