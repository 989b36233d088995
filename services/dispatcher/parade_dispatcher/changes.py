"""What is to be written down, one thing each, and what is read back. No I/O."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from parade.wire.errors import ParadeError
from parade_dispatcher.model import Content, Effect, Entry, Outcome, Progress, Request, Timing

Key = tuple[str, str]
"""A namespace, and what is unique in it: an idempotency key, or the id of a call."""


class CallState(StrEnum):
    """Where a started call stands: the names of `parade.v1.CallState`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


CALL_ENDED = frozenset({CallState.SUCCEEDED, CallState.FAILED, CallState.CANCELLED})
NOT_CANCELLED = "UNSPECIFIED"
"""How far the cancellation of a call has come that nobody has cancelled."""


@dataclass(slots=True)
class StartedCall:
    """A call that outlives its caller."""

    id: str
    request: Request
    effect: Effect
    create_time: datetime
    deadline: datetime
    owner: str = ""
    """The dispatcher that makes it."""
    state: CallState = CallState.QUEUED
    instance_id: str = ""
    attempts: int = 0
    progress: Progress | None = None
    item_count: int = 0
    cancel_requested: bool = False
    cancellation: str = NOT_CANCELLED
    """A name of `parade.v1.Cancellation` without its prefix."""
    result: Content | None = None
    error: ParadeError | None = None
    timing: Timing | None = None
    end_time: datetime | None = None

    @property
    def key(self) -> Key:
        """Names it among all calls."""
        return self.request.namespace, self.id

    @property
    def ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.state in CALL_ENDED


@dataclass(slots=True)
class Standing:
    """The little of a started call that those who wait for it ask for again and again."""

    state: CallState
    item_count: int
    owner: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.state in CALL_ENDED


@dataclass(slots=True)
class EffectRecord:
    """What is written of an effect."""

    entry: Entry
    owner: str
    """The dispatcher that makes the call."""
    beat: int | None
    """The owner's last sign of life; None where it has ended."""
    instance_id: str
    outcome: Outcome | None
    """None while the call is open."""


@dataclass(slots=True)
class BeginEffect:
    """A call with effects is going to be made. Gives None where its key is new, and what is written of that key where it is not."""

    entry: Entry
    time: datetime


@dataclass(slots=True)
class TakeEffect:
    """An open effect of an owner that has ended goes to this dispatcher. Gives what is then written of it; None where it was withdrawn."""

    entry: Entry
    owner_before: str


@dataclass(slots=True)
class AssignEffect:
    """An instance has the call."""

    entry: Entry
    instance_id: str


@dataclass(slots=True)
class EndEffect:
    """The call has ended. The first outcome stays, unless it was that nobody knew it."""

    entry: Entry
    outcome: Outcome
    time: datetime


@dataclass(slots=True)
class WithdrawEffect:
    """The function has not run."""

    entry: Entry


@dataclass(slots=True)
class AddCall:
    """A call is started. Gives None where its id is new, and the call that has this id where it is not."""

    call: StartedCall


@dataclass(slots=True)
class SaveCall:
    """A started call has come further. Gives whether this dispatcher still owns it; of another's call nothing is written."""

    call: StartedCall
    items: list[Content] = field(default_factory=list)
    """What follows the items that are stored."""
    first_position: int = 0
    """The position of the first of them."""


@dataclass(slots=True)
class RequestCancel:
    """A started call is to end. One that has ended stays as it is."""

    key: Key


@dataclass(slots=True)
class Beat:
    """This dispatcher lives."""


Change = BeginEffect | TakeEffect | AssignEffect | EndEffect | WithdrawEffect | AddCall | SaveCall | RequestCancel | Beat
Given = EffectRecord | StartedCall | bool | None
"""What a change gives once it is written."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A dispatcher's sign of life."""

    id: str
    name: str
    beat: int


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which started calls are wanted."""

    namespace: str
    agent: str = ""
    function: str = ""
    """The name within the agent; of any where empty."""
    states: frozenset[CallState] = frozenset()
    since: datetime | None = None
