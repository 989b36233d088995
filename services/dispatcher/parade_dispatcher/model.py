"""What the dispatcher reasons about: agents, instances and functions as last heard of, calls, and what comes of them. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from parade.wire.identity import Identity

DEFAULT_FUNCTION_TIMEOUT = 60.0
"""Seconds that a function may run which does not say how long."""


class Effect(StrEnum):
    """What calling a function twice does: the names of `parade.v1.Effect`."""

    PURE = "PURE"
    IDEMPOTENT = "IDEMPOTENT"
    EFFECT = "EFFECT"

    @property
    def repeatable(self) -> bool:
        """Whether a call that may have run can be made again."""
        return self is not Effect.EFFECT


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an agent serves."""

    name: str
    """The name within its agent."""
    arguments_schema: bytes = b""
    """JSON Schema of the arguments; empty where anything goes."""
    result_schema: bytes = b""
    """JSON Schema of the result, or of one item; empty where anything goes."""
    effect: Effect = Effect.EFFECT
    timeout: float = DEFAULT_FUNCTION_TIMEOUT
    """The longest that it may run, in seconds."""
    streaming: bool = False
    """Whether it yields items instead of one result."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A name behind which instances serve functions."""

    namespace: str
    name: str
    paused: bool = False
    functions: Mapping[str, Function] = field(default_factory=dict)
    """What it is known for, by name."""


class InstanceState(StrEnum):
    """Where an instance stands in its life: the names of `parade.v1.InstanceState`."""

    JOINING = "JOINING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    DRAINING = "DRAINING"
    GONE = "GONE"
    LOST = "LOST"


CALLABLE = (InstanceState.READY, InstanceState.DEGRADED)
"""The states in which an instance takes calls, the better one first."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of an agent."""

    id: str
    namespace: str
    agent: str
    address: str
    """`host:port`."""
    server_name: str
    """The DNS name in its certificate."""
    state: InstanceState = InstanceState.READY
    max_concurrency: int = 1
    """How many calls it runs at once."""
    functions: Mapping[str, Function] = field(default_factory=dict)
    """What it serves, by name."""


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything there was when the watch began has been said."""


Change = Agent | Instance | Synced
"""One thing that the agent_manager says."""


@dataclass(frozen=True, slots=True)
class Step:
    """The step of a run that a call is made for."""

    run_id: str
    step: str
    redelivered: bool = False
    """Whether the call may have been sent before."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for."""

    agent: str
    function: str
    arguments: bytes
    """JSON, within the size that a value may have."""
    caller: Identity
    """Who is at the other end of the connection."""
    namespace: str
    principal: str
    """The SPIFFE id that the call is for."""
    timeout: float | None = None
    """Seconds that the caller waits at most; None where it does not say."""
    step: Step | None = None

    @property
    def full_name(self) -> str:
        """`agent.function`."""
        return f"{self.agent}.{self.function}"


@dataclass(frozen=True, slots=True)
class Call:
    """What an instance is asked to run."""

    id: str
    function: str
    arguments: bytes
    namespace: str
    principal: str
    run_id: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, and whose it is."""

    result: bytes
    call_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """The call is now with this instance."""

    call_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a call has come."""

    fraction: float
    """From 0 to 1; negative where it is not known."""
    message: str


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a streaming function."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a function that is not streaming."""

    value: bytes


Said = Progress | Item | Result
"""What an instance says while it runs a function."""
Event = Assigned | Said
"""What a caller is told of its call."""


class LostError(Exception):
    """An instance went away before it answered.

    Attributes:
        message: What was seen of it.
        sent: Whether the call may have reached it; False only where it is certain that it did not.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        """Takes what was seen."""
        super().__init__(message, sent)
        self.message = message
        self.sent = sent
