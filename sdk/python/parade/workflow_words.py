"""The words of a workflow written in Python that have words of their own: each is a small mapping of the document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from parade.workflow_expression import Expression, document

When = Literal["success", "failure", "always"]
CatchUp = Literal["none", "last", "all"]


class Added(Protocol):
    """A step that has been added to a workflow."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed task is tried again."""

    attempts: int
    """How many attempts in all."""
    delay: str = "1s"
    """The pause before the second one."""
    factor: float = 2.0
    """By how much each pause is longer than the last."""
    max_delay: str = "1m"
    """The longest pause."""
    jitter: float = 0.25
    """By what part of itself each pause may be longer by chance."""
    on: Sequence[str] = ()
    """The only failures after which it is tried again, reasons such as `AGENT_ERROR` or types of exceptions; any where empty."""
    never: Sequence[str] = ()
    """Failures after which it is not tried again."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them, without those that say what holds anyway."""
        words = {
            "delay": (self.delay, "1s"),
            "factor": (self.factor, 2.0),
            "max-delay": (self.max_delay, "1m"),
            "jitter": (self.jitter, 0.25),
            "on": (list(self.on), []),
            "never": (list(self.never), []),
        }
        return {"attempts": self.attempts, **{word: value for word, (value, otherwise) in words.items() if value != otherwise}}


@dataclass(frozen=True, slots=True)
class Loop:
    """How often a step is repeated, one turn after the other."""

    until: Expression | str
    """The turn after which this holds is the last: an expression (CEL) over `output` and `index` of the turn."""
    limit: int
    """How many turns there may be; a step that is not done then has failed."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them."""
        return {"until": str(self.until), "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Compensation:
    """What undoes a step where the run then fails or is cancelled: a function, or a workflow with `run`."""

    call: str = ""
    """The function that it calls, `agent.function`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments, with expressions anywhere in them; `parade.OUTPUT` is what the step gave."""
    run: str = ""
    """The workflow that it runs instead."""
    retry: Retry | None = None
    timeout: str | None = None
    """The longest one attempt may take."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them."""
        words = {
            "call": self.call,
            "run": self.run,
            "with": document(self.arguments),
            "retry": self.retry and self.retry.to_document(),
            "timeout": self.timeout,
        }
        return {word: value for word, value in words.items() if value}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times at which runs start."""

    cron: str
    """Minute, hour, day of the month, month and day of the week, as cron has them."""
    time_zone: str = "UTC"
    """Where it is that time, an IANA name."""
    catch_up: CatchUp = "last"
    """Which of the times that passed while no scheduler ran still start a run."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """The inputs of the runs."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them, without those that say what holds anyway."""
        words = {
            "time-zone": (self.time_zone, "UTC"),
            "catch-up": (self.catch_up, "last"),
            "inputs": (document(self.inputs), {}),
        }
        return {"cron": self.cron, **{word: value for word, (value, otherwise) in words.items() if value != otherwise}}


@dataclass(frozen=True, slots=True)
class Trigger:
    """Events that start runs."""

    type: str
    """Their type."""
    inputs: Mapping[str, Any] | Expression = field(default_factory=dict)
    """The inputs of the run, or one expression that gives them; `parade.EVENT` is what the event says."""
    condition: Expression | str | None = None
    """What must hold of the event: an expression (CEL) over `event`."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them."""
        words = {"type": self.type, "if": document(self.condition), "with": document(self.inputs)}
        return {word: value for word, value in words.items() if value}


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The group of runs of which so many go on at once; further ones wait."""

    group: Expression | str
    """Its name, which may hold expressions over `parade.INPUTS`."""
    limit: int = 1
    """How many runs go on at once."""
    cancel_in_progress: bool = False
    """Whether a new run cancels the oldest instead of waiting for it."""

    def to_document(self) -> dict[str, Any]:
        """Returns the words as the document has them, without those that say what holds anyway."""
        words = {"limit": (self.limit, 1), "cancel-in-progress": (self.cancel_in_progress, False)}
        return {"group": str(self.group), **{word: value for word, (value, otherwise) in words.items() if value != otherwise}}


class Conditions(TypedDict, total=False):
    """When a step is done and how often: words that all steps but races have."""

    description: str
    """What it does, for people."""
    needs: Sequence[Added]
    """Steps that must have succeeded first, besides those that its expressions speak of."""
    condition: Expression | str | None
    """When it is done: an expression (CEL); it is skipped where that is false."""
    when: When
    """Whether it is done after needed steps that succeeded ("success", where not given), after a "failure", or "always"."""
    for_each: Expression | Sequence[Any] | None
    """A list; the step has one task for each of its items."""
    max_parallel: int | None
    """How many of these tasks are under way at once."""
    loop: Loop
    """Until when it is repeated."""
    timeout: str | None
    """The longest one attempt may take, or what it waits for, for example `30s`."""
    compensate: Compensation
    """What undoes it."""
