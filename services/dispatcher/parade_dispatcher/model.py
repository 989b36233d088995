"""What the dispatcher reasons about: agents, instances and functions as last heard of, calls, and what comes of them. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from parade.wire.errors import ParadeError
from parade.wire.identity import Identity
from parade.wire.mandate import WHOLE, Scope

DEFAULT_FUNCTION_TIMEOUT = 60.0
"""Seconds that a function may run which does not say how long."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What names a value that does not travel itself: `parade.v1.ArtifactReference`."""

    digest: str
    """`sha256:` and 64 hexadecimal digits."""
    size: int
    """How many bytes it has."""
    media_type: str = ""


Content = bytes | Artifact
"""A value as it travels: JSON, or what names an artifact."""


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
class RetryPolicy:
    """When a call that failed is made again: `parade.v1.RetryPolicy`."""

    max_attempts: int = 3
    """How often an instance may be given the call."""
    initial_backoff: float = 0.1
    """Seconds before the second attempt."""
    max_backoff: float = 5.0
    """The longest pause, in seconds."""
    multiplier: float = 2.0
    """How much longer each pause is than the last."""


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
    retry: RetryPolicy | None = None
    """When an error of it that is marked retryable is answered by another attempt; never where not given."""
    durable: bool = False
    """Whether it is a workflow in code, which steps of runs alone may call."""


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
    labels: Mapping[str, str] = field(default_factory=dict)
    """What its author says of it; calls may ask for it."""
    functions: Mapping[str, Function] = field(default_factory=dict)
    """What it serves, by name."""


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything there was when the watch began has been said."""


Change = Agent | Instance | Synced
"""One thing that the agent_manager says."""


@dataclass(slots=True)
class Step:
    """The step of a run that a call is made for."""

    run_id: str
    step: str
    redelivered: bool = False
    """Whether the call may have been sent before."""


@dataclass(slots=True)
class Request:
    """What a caller asks for. One per call and never changed once the call has begun, except by an interceptor's `before`."""

    agent: str
    function: str
    """The name within the agent."""
    arguments: Content
    caller: Identity
    """Who is at the other end of the connection."""
    namespace: str
    principal: str
    """Whom the call is for: a SPIFFE id, or the subject of an API key or a person."""
    timeout: float | None = None
    """Seconds that the caller waits at most; None where it does not say."""
    step: Step | None = None
    window: int = 0
    """Bytes of items that the caller has room for at first; 0 where it wants no events."""
    traceparent: str = ""
    call_id: str = ""
    """The call's id, where its caller makes it."""
    idempotency_key: str = ""
    priority: int = 0
    """From -100 to 100; the higher goes first where calls must wait."""
    affinity_key: str = ""
    labels: Mapping[str, str] | None = None
    """Labels that the instance must carry."""
    parent_call_id: str = ""
    redelivered: bool = False
    """Whether the call may have been made before under the same id."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What stands in the arguments and is to stand in no error and no progress note."""
    functions: tuple[str, ...] = ()
    """What the caller lets be called on account of the call, until that is in `scope`; empty for everything."""
    mandate: bytes = field(default=b"", repr=False)
    """What an agent shows that calls for another, until it is believed: then who that is stands in `principal`."""
    scope: Scope = WHOLE
    """What may be called on account of the call, and the agents that it comes through."""
    run_id: str = ""
    """The run that the call belongs to without being a step's."""
    approval_wait: bool = True
    """Whether it waits where it needs somebody's approval and has none yet; else it fails at once."""

    @property
    def full_name(self) -> str:
        """`agent.function`."""
        return f"{self.agent}.{self.function}"


@dataclass(slots=True)
class Call:
    """What an instance is asked to run. The same object over all attempts, but for `attach`."""

    id: str
    function: str
    """The name within the agent."""
    arguments: Content
    namespace: str
    principal: str
    run_id: str = ""
    step: str = ""
    window: int = 0
    traceparent: str = ""
    attach: bool = False
    """Whether the function is not to be run, but what is known of the call with this id to be returned."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What the instance is to quote nowhere."""
    scope: Scope = WHOLE
    """How far the mandate reaches that goes with it."""


@dataclass(slots=True)
class Timing:
    """Where the time of a call went, in seconds."""

    queued: float = 0.0
    """From its arrival until an instance had it, and there until the function began."""
    transport: float = 0.0
    """Between dispatcher and instance, there and back. All the time that an instance had it where no answer came."""
    executing: float = 0.0
    """In the function."""


@dataclass(slots=True)
class Answer:
    """A result, and whose it is."""

    result: Content | None
    """None where a stream ended well."""
    call_id: str
    instance_id: str
    timing: Timing = field(default_factory=Timing)


Outcome = Answer | ParadeError
"""How a call ended."""


@dataclass(slots=True)
class Progress:
    """How far a call has come."""

    fraction: float
    """From 0 to 1; negative where it is not known."""
    message: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written of a call with effects before it leaves."""

    namespace: str
    key: str
    """The idempotency key, or the call's id where it has none. Unique within the namespace."""
    function: str
    """`agent.function`."""
    arguments_hash: str
    """SHA-256 of the arguments in hexadecimal digits, or the digest of the artifact; empty where the key alone says which call it is."""
    call_id: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """The entry is new and written."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The call has ended before, so."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The call has been written and has not ended as far as is known."""

    instance_id: str
    """The instance that had it last; empty where none is known."""
    call_id: str
    """The id it had there."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The key was used for another function or other arguments."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing could be written."""

    error: ParadeError


Verdict = Fresh | Receipt | Unfinished | Conflict | Failed
"""What is known of a call with effects before it is made."""
