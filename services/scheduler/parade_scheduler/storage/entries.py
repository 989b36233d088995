"""A run as a log of entries: what one commit does to one run becomes one entry, and the entries in their order are the run. Pure.

An entry's facts hold its events and the new forms of the steps and tasks that changed, of which the newest form of each counts. JSON values
stand out of line, one after the other, and the facts refer to them by place; so facts are read without them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from parade_scheduler.document import Document
from parade_scheduler.model import EventType, Run, RunEvent, Step, Task
from parade_scheduler.storage.records import Codec, Documents, Find, time_of

_STEPS: Final = Codec(Step)
_STEPS_WITHOUT_ITEMS: Final = Codec(Step, leave_out=("items",))
_TASKS: Final = Codec(Task)
_EVENTS: Final = Codec(RunEvent)
_EVENTS_WITHOUT_OUTPUT: Final = Codec(RunEvent, leave_out=("output",))


@dataclass(slots=True)
class Change:
    """What one commit does to one run; steps and tasks in their newest form."""

    run: Run
    number: int
    """Of its entry, counted from 1 within the run without gaps."""
    is_new: bool = False
    """Whether the run has no row yet."""
    row_changed: bool = False
    """Whether the run's row must be written: for anything but `last_sequence`, which its entries say."""
    steps: dict[str, Step] = field(default_factory=dict)
    tasks: dict[tuple[str, int], Task] = field(default_factory=dict)
    """By step and index."""
    events: list[RunEvent] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)
    """Steps whose `items` are written now. Other forms are written without, and the items stay as they were: rewriting a long list with
    every task that ends would cost its square."""
    wake: datetime | None = None
    """When a parked run is to be taken up; None where only something from outside wakes it."""
    parked: bool = False
    """Whether the run leaves memory after this."""
    commands: list[str] = field(default_factory=list)
    """The ids of the commands that this settles."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A run as it stands in the store."""

    run: Run
    steps: list[Step]
    """In the order of the definition."""
    tasks: list[Task]
    """By step and index."""
    entries: int
    """How many there are: the number of the newest."""
    parked: bool
    wake: datetime | None
    time: datetime | None
    """When its newest event was."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log."""

    number: int
    last_sequence: int
    facts: str
    documents: bytes


def entry_of(change: Change) -> Entry:
    """Writes what a change did."""
    documents = Documents()
    facts: dict[str, Any] = {}
    if change.events:
        facts["events"] = [_event_facts(event, documents) for event in change.events]
    if change.steps:
        facts["steps"] = [_step_facts(step, documents, with_items=step.id in change.begun) for step in change.steps.values()]
    if change.tasks:
        facts["tasks"] = [_TASKS.write(task, documents) for task in change.tasks.values()]
    if documents.data:
        facts["sizes"] = [len(data) for data in documents.data]
    return Entry(change.number, change.run.last_sequence, orjson.dumps(facts).decode(), b"".join(documents.data))


class Fold:
    """Puts a run together from its entries, which it is given in their order."""

    def __init__(self) -> None:
        """Starts before the first entry."""
        self.number = 0
        self.last_sequence = 0
        self.time: datetime | None = None
        """When the newest event was."""
        self._steps: dict[str, tuple[dict[str, Any], Find]] = {}
        self._items: dict[str, Document] = {}
        self._tasks: dict[tuple[str, int], tuple[dict[str, Any], Find]] = {}

    def add(self, entry: Entry) -> None:
        """Takes the next entry.

        Raises:
            ValueError: It is not the next: the log has a gap.
        """
        if entry.number != self.number + 1:
            raise ValueError(f"entry {self.number + 1} is missing; the next there is has the number {entry.number}")
        self.number, self.last_sequence = entry.number, entry.last_sequence
        facts = orjson.loads(entry.facts)
        find = _finder(facts, entry.documents)
        if "events" in facts:
            self.time = time_of(facts["events"][-1]["time"])
        for step in facts.get("steps", ()):
            self._steps[step["id"]] = step, find
            if "items" in step:
                self._items[step["id"]] = find(step["items"])
        for task in facts.get("tasks", ()):
            self._tasks[task["step"], task.get("index", 0)] = task, find

    def steps(self) -> list[Step]:
        """Returns the steps in the order of the definition."""
        steps = [_STEPS_WITHOUT_ITEMS.read(facts, find, items=self._items.get(id)) for id, (facts, find) in self._steps.items()]
        return sorted(steps, key=lambda step: step.position)

    def tasks(self) -> list[Task]:
        """Returns the tasks by step and index."""
        return [_TASKS.read(*self._tasks[key]) for key in sorted(self._tasks)]


def events_of(facts: str, documents: bytes) -> list[RunEvent]:
    """Reads the events of an entry; that of a run's success comes without the outputs, which the run's row keeps."""
    decoded = orjson.loads(facts)
    find = _finder(decoded, documents)
    return [_EVENTS.read(event, find) for event in decoded.get("events", ())]


def _step_facts(step: Step, documents: Documents, *, with_items: bool) -> dict[str, Any]:
    return (_STEPS if with_items else _STEPS_WITHOUT_ITEMS).write(step, documents)


def _event_facts(event: RunEvent, documents: Documents) -> dict[str, Any]:
    # What a run gave stands in its row.
    return (_EVENTS_WITHOUT_OUTPUT if event.type is EventType.RUN_SUCCEEDED else _EVENTS).write(event, documents)


def _finder(facts: dict[str, Any], documents: bytes) -> Find:
    """Returns what finds an entry's documents; each is made once, where it is asked for."""
    sizes: list[int] = facts.get("sizes", [])
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    made: dict[int, Document] = {}

    def find(place: int) -> Document:
        if place not in made:
            made[place] = Document(documents[starts[place] : starts[place] + sizes[place]])
        return made[place]

    return find
