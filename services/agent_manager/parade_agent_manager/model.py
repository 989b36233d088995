"""Agents and their instances: what is known of them, their states, and the moves between the states."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

AgentKey = tuple[str, str]
"""An agent's namespace and name."""


class AgentState(StrEnum):
    """Whether an agent takes calls."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class InstanceState(StrEnum):
    """Where an instance stands in its life."""

    JOINING = "JOINING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    DRAINING = "DRAINING"
    GONE = "GONE"
    LOST = "LOST"


MOVES: Mapping[InstanceState, frozenset[InstanceState]] = {
    InstanceState.JOINING: frozenset(
        {InstanceState.READY, InstanceState.DEGRADED, InstanceState.DRAINING, InstanceState.GONE, InstanceState.LOST}
    ),
    InstanceState.READY: frozenset({InstanceState.DEGRADED, InstanceState.DRAINING, InstanceState.GONE, InstanceState.LOST}),
    InstanceState.DEGRADED: frozenset({InstanceState.READY, InstanceState.DRAINING, InstanceState.GONE, InstanceState.LOST}),
    InstanceState.DRAINING: frozenset({InstanceState.GONE, InstanceState.LOST}),
    InstanceState.LOST: frozenset({InstanceState.READY, InstanceState.DEGRADED, InstanceState.DRAINING, InstanceState.GONE}),
    InstanceState.GONE: frozenset(),
}
"""The states that each state can be left for."""

LEASED = frozenset({InstanceState.JOINING, InstanceState.READY, InstanceState.DEGRADED, InstanceState.DRAINING})
"""The states of an instance that counts as alive: its lease has not ended."""
CALLABLE = frozenset({InstanceState.READY, InstanceState.DEGRADED})
"""The states in which an instance takes new calls."""


class Effect(StrEnum):
    """What calling a function twice does."""

    PURE = "PURE"
    IDEMPOTENT = "IDEMPOTENT"
    EFFECT = "EFFECT"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When the dispatcher makes a call again, as the contract says it; 0 stands for what is not given."""

    max_attempts: int
    initial_backoff: float
    """Seconds."""
    max_backoff: float
    """Seconds."""
    multiplier: float


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an agent serves."""

    name: str
    description: str
    arguments_schema: bytes
    """JSON Schema of the arguments, as it was sent."""
    result_schema: bytes
    """JSON Schema of the result, as it was sent."""
    effect: Effect
    timeout: float
    """Seconds that it may run."""
    streaming: bool
    retry: RetryPolicy | None = None
    durable: bool = False
    """Whether it is a workflow in code."""

    @property
    def size(self) -> int:
        """About how many bytes it takes in a message."""
        return len(self.arguments_schema) + len(self.result_schema) + len(self.description)


@dataclass(frozen=True, slots=True)
class Registration:
    """What an instance says of itself when it registers."""

    address: str
    functions: tuple[Function, ...]
    version: str
    labels: Mapping[str, str]
    max_concurrency: int
    pid: int
    host: str


@dataclass(frozen=True, slots=True)
class Load:
    """What an instance carries."""

    in_flight: int = 0
    completed: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What an instance says with one heartbeat."""

    load: Load = field(default_factory=Load)
    degraded: bool = False
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of an agent."""

    id: str
    namespace: str
    agent: str
    server_name: str
    """The DNS name in its certificate."""
    registration: Registration
    state: InstanceState
    registered: datetime
    changed: datetime
    """When it came into its state."""
    draining: bool = False
    """Whether it was told to drain, or drains by itself. It stays so, also over a time of being LOST."""
    heartbeat: datetime | None = None
    """When its last heartbeat came."""
    load: Load = field(default_factory=Load)

    @property
    def agent_key(self) -> AgentKey:
        """The agent that it is a copy of."""
        return self.namespace, self.agent


@dataclass(frozen=True, slots=True)
class Agent:
    """A name behind which instances serve functions."""

    namespace: str
    name: str
    state: AgentState
    functions: tuple[Function, ...]
    """Those of its newest instance; they stay when it leaves."""

    @property
    def key(self) -> AgentKey:
        """Its namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Roster:
    """An agent with its instances, without those GONE."""

    agent: Agent
    instances: tuple[Instance, ...]

    @property
    def size(self) -> int:
        """About how many bytes it takes in a message."""
        described = [self.agent.functions, *(instance.registration.functions for instance in self.instances)]
        return sum(function.size for functions in described for function in functions)


@dataclass(frozen=True, slots=True)
class KnownFunction:
    """A function of a namespace, and how many instances can take a call to it."""

    agent: str
    function: Function
    ready_instances: int

    @property
    def full_name(self) -> str:
        """Its name in the namespace: "agent.function"."""
        return f"{self.agent}.{self.function.name}"


def state_after(instance: Instance, heartbeat: Heartbeat) -> InstanceState:
    """Returns the state of an instance after a heartbeat. Once it drains it goes on draining."""
    if instance.draining or heartbeat.draining:
        return InstanceState.DRAINING
    return InstanceState.DEGRADED if heartbeat.degraded else InstanceState.READY


def moved(instance: Instance, state: InstanceState, now: datetime) -> Instance:
    """Returns an instance in another state, or as it is where it is in that state.

    Raises:
        RuntimeError: The move does not exist; whoever asked for it has a fault.
    """
    if instance.state is state:
        return instance
    if state not in MOVES[instance.state]:
        raise RuntimeError(f"an instance cannot go from {instance.state} to {state}")
    return replace(instance, state=state, changed=now)
