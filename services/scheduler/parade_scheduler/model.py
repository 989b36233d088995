"""What a run is made of: runs, steps, tasks, their states and the allowed moves, and the events that tell of them. It decides nothing.

Every class here is one row of the store. Runs, steps, tasks and events are made by the thousand a second, and freezing them would make that
four times as dear: nobody changes one that another may have seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from parade.wire.errors import ParadeError, Reason, Violation
from parade_scheduler.document import Document


class RunState(StrEnum):
    """Where a run stands: the names of `parade.v1.RunState` without their prefix."""

    QUEUED = "QUEUED"
    """It waits until its concurrency group lets it begin."""
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    """Nothing more begins; what was handed out comes to its end."""
    CANCELLING = "CANCELLING"
    COMPENSATING = "COMPENSATING"
    """Its steps have ended, not all well, and what succeeded is undone in reverse order."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Kind(StrEnum):
    """What a step or a task does: the names of `parade.v1.StepKind` without their prefix."""

    CALL = "CALL"
    """It calls a function."""
    RUN = "RUN"
    """It starts a run of another workflow, and ends with it."""
    APPROVAL = "APPROVAL"
    """It waits until somebody approves or rejects."""
    SIGNAL = "SIGNAL"
    """It waits until the run is sent a signal of its name."""
    TIMER = "TIMER"
    """It waits until a time has come."""
    EVENT = "EVENT"
    """It waits for an event that is published in its namespace."""
    RACE = "RACE"
    """It ends with the first of some steps that succeeds, and cancels the others. It has no tasks."""


class StepState(StrEnum):
    """Where a step stands: the names of `parade.v1.StepState` without their prefix."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class TaskState(StrEnum):
    """Where a task stands. A task that was not handed out yet has no row."""

    RUNNING = "RUNNING"
    """An attempt is handed out."""
    WAITING = "WAITING"
    """It waits for something from outside, or for `due`."""
    RETRYING = "RETRYING"
    """It is handed out again at `retry_time`."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class EventType(StrEnum):
    """What happened: the names of `parade.v1.RunEventType` without their prefix."""

    RUN_STARTED = "RUN_STARTED"
    STEP_STARTED = "STEP_STARTED"
    TASK_STARTED = "TASK_STARTED"
    TASK_PROGRESS = "TASK_PROGRESS"
    TASK_WAITING = "TASK_WAITING"
    TASK_SUCCEEDED = "TASK_SUCCEEDED"
    TASK_RETRYING = "TASK_RETRYING"
    TASK_FAILED = "TASK_FAILED"
    TASK_CANCELLED = "TASK_CANCELLED"
    STEP_SUCCEEDED = "STEP_SUCCEEDED"
    STEP_FAILED = "STEP_FAILED"
    STEP_SKIPPED = "STEP_SKIPPED"
    STEP_CANCELLED = "STEP_CANCELLED"
    SIGNAL_RECEIVED = "SIGNAL_RECEIVED"
    RUN_QUEUED = "RUN_QUEUED"
    RUN_PAUSED = "RUN_PAUSED"
    RUN_RESUMED = "RUN_RESUMED"
    RUN_CANCELLING = "RUN_CANCELLING"
    RUN_COMPENSATING = "RUN_COMPENSATING"
    RUN_SUCCEEDED = "RUN_SUCCEEDED"
    RUN_FAILED = "RUN_FAILED"
    RUN_CANCELLED = "RUN_CANCELLED"


RUN_ENDED: Final = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
STEP_ENDED: Final = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})
TASK_ENDED: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})

RUN_MOVES: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.PAUSED, RunState.CANCELLING, RunState.COMPENSATING, RunState.SUCCEEDED, RunState.FAILED}),
    RunState.PAUSED: frozenset({RunState.RUNNING, RunState.CANCELLING}),
    RunState.CANCELLING: frozenset({RunState.COMPENSATING, RunState.CANCELLED, RunState.FAILED}),
    RunState.COMPENSATING: frozenset({RunState.CANCELLED, RunState.FAILED}),
}
"""From where a run may move to where. CANCELLING ends FAILED when it was the run's own timeout that asked."""

STEP_MOVES: Final[Mapping[StepState, frozenset[StepState]]] = {
    StepState.PENDING: frozenset({StepState.RUNNING, StepState.SKIPPED, StepState.FAILED, StepState.CANCELLED}),
    StepState.RUNNING: frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.CANCELLED}),
}
"""From where a step may move to where. PENDING fails at once where its condition or its list of items cannot be computed."""

TASK_MOVES: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.RUNNING: frozenset({TaskState.SUCCEEDED, TaskState.RETRYING, TaskState.WAITING, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.WAITING: frozenset({TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.RETRYING: frozenset({TaskState.RUNNING, TaskState.FAILED, TaskState.CANCELLED}),
}
"""From where a task may move to where."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """One version of a stored definition."""

    namespace: str
    name: str
    version: int
    """Counted from 1 within the name."""
    hash: str
    """The SHA-256 of the canonical definition, hexadecimal."""
    description: str
    source: str
    """The definition as it was put."""
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something failed, as it is kept on record. The fields are those of `ParadeError`."""

    reason: Reason
    message: str
    violations: tuple[Violation, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retryable: bool = False

    @classmethod
    def of(cls, error: ParadeError, context: str = "") -> "Failure":
        """Records an error; `context` says in its message where it arose."""
        message = f"{context}: {error.message}" if context else error.message
        return cls(error.reason, message, error.violations, error.metadata, error.retryable)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a function has come."""

    fraction: float
    """From 0 to 1; negative where it is not known."""
    message: str
    """What is being done now."""


@dataclass(slots=True)
class Task:
    """One piece of a step's work: the only one, that for an item of its for-each, a turn of its loop, or what a durable function asked for.

    Signals that the run was sent and that nothing has taken yet are tasks of the step `""`, WAITING, in the order of their arrival.
    """

    step: str
    index: int
    """Which task of the step, counted from 0."""
    state: TaskState
    attempt: int
    """Which attempt is handed out, or was last, counted from 1. An outcome of another attempt is not accepted."""
    started: datetime
    """When the current try began: the first attempt since the function itself last failed. Its timeout counts from here."""
    failures: int = 0
    """How often the function itself has failed."""
    outages: int = 0
    """How often in a row the mesh could not get the call to an answer."""
    outage_started: datetime | None = None
    """When that began."""
    uncertain: bool = False
    """Whether an attempt may have reached the function without its outcome having come back."""
    retry_time: datetime | None = None
    """When it is handed out again, in RETRYING."""
    instance_id: str = ""
    """The instance that answered last."""
    output: Document | None = None
    failure: Failure | None = None
    kind: Kind = Kind.CALL
    due: datetime | None = None
    """When a timer is to ring, or what else it waits for is given up, in WAITING."""
    name: str = ""
    """What a durable function asked for, or the name of a signal: the function, the workflow, the signal, the type of event."""
    arguments: Document | None = None
    """What a durable function gave it, or whom an APPROVAL asks and what they are told; None where the step's definition says it."""
    child: str = ""
    """The run that it has started, for a RUN."""
    by: str = ""
    """Who approved, rejected or signalled: a SPIFFE id."""
    request_id: str = ""
    """What the sender of the signal named the request, so that a retry of it is known; empty where not named."""
    ended: datetime | None = None
    """Of what a durable function asked for, when it ended: later than all that ended before it in the run, for in this order the function
    hears of it. Of the function's own task, that of the newest end that it has heard of."""


@dataclass(slots=True)
class Step:
    """One step of a run."""

    id: str
    position: int
    """Its place in the definition, counted from 0."""
    call: str
    """The function that it calls, `agent.function`, or the workflow that it runs; empty for other kinds."""
    state: StepState = StepState.PENDING
    tasks: int = 0
    """How many tasks it has; 0 before it starts."""
    tasks_succeeded: int = 0
    tasks_failed: int = 0
    attempts: int = 0
    """How many attempts its tasks have taken together."""
    items: Document | None = None
    """The items of its for-each, kept because computing them again could give another order."""
    output: Document | None = None
    failure: Failure | None = None
    """Why it failed; set while its other tasks are still being cancelled."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    kind: Kind = Kind.CALL
    end_sequence: int = 0
    """The sequence number of the event that tells of its end, where it can be undone: several steps may end at the same time. 0 where it
    was taken over from another run, which alone may undo it."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that started a run."""

    run: str
    step: str
    task: int
    attempt: int


@dataclass(slots=True)
class Run:
    """One run of a workflow."""

    id: str
    namespace: str
    workflow: str
    version: int
    inputs: Document
    create_time: datetime
    state: RunState = RunState.RUNNING
    labels: Mapping[str, str] = field(default_factory=dict)
    principal: str = ""
    """Who started it: a SPIFFE id."""
    request_id: str = ""
    """What its starter named the request, empty where not named."""
    trace_parent: str = ""
    """The W3C `traceparent` of the trace that it belongs to."""
    deadline: datetime | None = None
    """When its timeout passes, where it has one."""
    outputs: Document | None = None
    failure: Failure | None = None
    """Why it failed, or will be FAILED once all has ended: the failure of its first failed step, or its timeout."""
    end_time: datetime | None = None
    last_sequence: int = 0
    """The sequence number of its newest event."""
    priority: int = 0
    """From -100 to 100: of what waits for a place in its namespace, the highest goes first."""
    parent: Parent | None = None
    """The task whose outcome is this run's, where another run has started it."""
    group: str = ""
    """Its concurrency group, where its workflow has one: of such runs of a namespace so many may go on at once as the workflow says."""
    origin: str = ""
    """The run that it repeats or branched off from."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen in this run."""
        return self.state in RUN_ENDED


@dataclass(slots=True)
class RunEvent:
    """One entry of a run's history."""

    sequence: int
    """Its place, counted from 1 without gaps."""
    time: datetime
    type: EventType
    step: str = ""
    """The step; empty for the run itself."""
    task: int = 0
    attempt: int = 0
    """The attempt, counted from 1; 0 where it does not apply."""
    tasks: int = 0
    """How many tasks the step has, for STEP_STARTED."""
    instance_id: str = ""
    progress: Progress | None = None
    output: Document | None = None
    """The result. Not stored with the event: it is that of the task, the step or the run, which do not change it any more."""
    failure: Failure | None = None
    retry_time: datetime | None = None
    """When the next attempt starts, for TASK_RETRYING; when a timer rings or a wait is given up, for TASK_WAITING."""
    message: str = ""
    """Why, for STEP_SKIPPED and RUN_CANCELLING; the note of who approved, rejected or paused; the name of a signal, or of what a durable
    function asks for."""
    by: str = ""
    """Who did it, where somebody did: a SPIFFE id."""
    child: str = ""
    """The run that a task has started, for TASK_STARTED."""
