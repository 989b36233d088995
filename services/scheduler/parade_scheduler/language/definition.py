"""A workflow that has been read and found right: what the decider works from. It cannot change."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import orjson

from parade_scheduler.backoff import Backoff
from parade_scheduler.expression import Expression
from parade_scheduler.language.inputs import Inputs
from parade_scheduler.language.template import Template
from parade_scheduler.model import Kind

PATIENCE: Final = 600.0
"""Seconds for which a step that has no `timeout` is tried again while the mesh cannot get its calls to an answer."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a step's function is tried again after it failed."""

    attempts: int = 1
    """How often it is tried in all; 1 is once."""
    backoff: Backoff = field(default_factory=lambda: Backoff(delay=1.0))
    on: frozenset[str] = frozenset()
    """The failures after which it is tried again: reasons (`AGENT_ERROR`) and types of exceptions (`TimeoutError`); any where empty."""
    never: frozenset[str] = frozenset()
    """Failures after which it is not, whatever else is said."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval asks."""

    approvers: tuple[str, ...] = ()
    """Who may resolve it: SPIFFE ids, in which a `*` stands for any text without `/`; anybody who may call but agents where empty."""
    message: Template = field(default_factory=lambda: Template(""))
    """What they are told."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Which signal is waited for."""

    name: str
    schema: Mapping[str, Any] | None = None
    """The JSON Schema that its value must fit; another is refused to its sender."""


@dataclass(frozen=True, slots=True)
class Timer:
    """When a timer rings: after a while or at a time."""

    duration: Template | None = None
    """A duration, `5m`, or a number of seconds."""
    until: Template | None = None
    """A time as RFC 3339 writes it. One that has passed rings at once."""


@dataclass(frozen=True, slots=True)
class Event:
    """Which event is waited for, or starts runs."""

    type: str
    condition: Expression | None = None
    """What must hold of it, with `event` as its value."""


Wait = Approval | Signal | Timer | Event


@dataclass(frozen=True, slots=True)
class Loop:
    """How often a step is repeated, one turn after the other."""

    until: Expression
    """The turn after which this is true is the last; it sees `output` and `index` of that turn."""
    limit: int
    """How many turns there may be; a step that is not done after the last has failed."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When runs start by themselves."""

    cron: str
    """Five fields, as cron has them."""
    time_zone: str = "UTC"
    """An IANA name."""
    catch_up: str = "last"
    """What becomes of times that passed while nobody led: `none` of them, the `last`, or `all` (at most 100)."""
    inputs: Template = field(default_factory=lambda: Template({}))


@dataclass(frozen=True, slots=True)
class Trigger:
    """Which events start runs."""

    event: Event
    inputs: Template = field(default_factory=lambda: Template({}))
    """It sees `event`."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many runs of a group may go on at once."""

    group: Template
    """Its name; it sees `inputs`."""
    limit: int = 1
    cancel_in_progress: bool = False
    """Whether a new run cancels the oldest of the group instead of waiting for it."""


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step of a workflow."""

    id: str
    call_line: int
    """The line of its `call` or `run`, or of what it does instead, counted from 1."""
    call: str
    """The function's full name, `agent.function`, or the workflow's name for a RUN; empty for other kinds."""
    arguments: Template
    kind: Kind = Kind.CALL
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
    """The longest one attempt may take, or what it waits for may take to come, in seconds, with all waiting for a free instance."""
    patience: float = PATIENCE
    """How long it is tried again while the mesh cannot get its calls to an answer, in seconds, where it has no timeout."""
    wait: Wait | None = None
    """What it waits for, where it is an APPROVAL, a SIGNAL, a TIMER or an EVENT."""
    race: tuple[str, ...] = ()
    """The steps that race, for a RACE. It needs them, and their failure or cancellation fails neither it nor the run unless all fail."""
    loop: Loop | None = None
    compensation: "StepDefinition | None" = None
    """What undoes the step once it has succeeded, with the id `<step>.compensate`: a CALL or a RUN, which sees `output` of the step."""


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
    schedules: tuple[Schedule, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    concurrency: Concurrency | None = None
    manual: bool = True
    """Whether a run may be started by hand."""
    priority: int = 0
    env: Mapping[str, Template] = field(default_factory=dict)
    """Values that expressions see as `env.<name>`; they see `inputs` and `secrets`. Not kept on record: computed where they are used."""
    secrets: frozenset[str] = frozenset()
    """The names of the secrets that it refers to."""
    durable: bool = False
    """Whether it is a durable function: it has one step, `main`, whose first task is the code and whose others are what that asks for."""

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

    @cached_property
    def raced_by(self) -> Mapping[str, tuple[str, ...]]:
        """For each step that races, the races that it is in."""
        result: dict[str, list[str]] = {}
        for race in self.steps.values():
            for racer in race.race:
                result.setdefault(racer, []).append(race.id)
        return {step: tuple(races) for step, races in result.items()}

    @cached_property
    def compensations(self) -> Mapping[str, StepDefinition]:
        """What undoes steps, by its own id."""
        found = (step.compensation for step in self.steps.values())
        return {compensation.id: compensation for compensation in found if compensation is not None}

    @cached_property
    def in_order(self) -> Sequence[str]:
        """The steps, each after those that it needs."""
        missing = {step.id: len(step.needs) for step in self.steps.values()}
        order = [step for step, count in missing.items() if count == 0]
        for step in order:
            for follower in self.needed_by[step]:
                missing[follower] -= 1
                if missing[follower] == 0:
                    order.append(follower)
        return order

    @property
    def functions(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The functions that it calls, each with the path and the line of every step or compensation that calls it."""
        return self._named(Kind.CALL, "call")

    @property
    def workflows(self) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The workflows that it runs, each with the path and the line of every step or compensation that runs it."""
        return self._named(Kind.RUN, "run")

    def _named(self, kind: Kind, word: str) -> dict[str, list[tuple[str, int]]]:
        result: dict[str, list[tuple[str, int]]] = {}
        for step in self.steps.values():
            for part in (step, step.compensation):
                # A step whose `call` is at fault has none.
                if part is not None and part.kind is kind and part.call:
                    result.setdefault(part.call, []).append((f"steps.{part.id}.{word}", part.call_line))
        return result


def canonical(document: Any) -> bytes:
    """Returns a document as JSON with its keys in order."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
