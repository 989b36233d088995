"""What the writer does at once: what happened to which runs, what the decider made of it, and what the store is to write. Pure."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Final

from parade_scheduler.decider import CancelTask, Decisions, Effect, Execution, Occurrence, TaskCancelled, TaskFailed, TaskSucceeded
from parade_scheduler.model import EventType, Run, Step
from parade_scheduler.storage.entries import Change

Whole = tuple[Run, list[Step]]
"""A run with its steps, in the order of the definition."""
Attempt = tuple[str, int, int]
"""Step, task and attempt."""

OUTCOMES: Final = (TaskSucceeded, TaskFailed, TaskCancelled)
"""What ends an attempt: exactly one of these comes of each."""


class ElsewhereError(Exception):
    """The run belongs to a shard that this replica does not have."""


@dataclass(slots=True, eq=False)
class Held:
    """A run in memory."""

    execution: Execution
    number: int = 0
    """How many entries its log has."""
    parked: bool = False
    """Whether the store says that the run is parked: what happens next has to say otherwise."""
    wake: datetime | None = None
    """When the store says that it wakes."""
    time: datetime | None = None
    """The newest time that was decided with; the decider's time does not run backwards within a run."""

    @property
    def whole(self) -> Whole:
        """The run as it stands."""
        return self.execution.run, list(self.execution.steps.values())


@dataclass(slots=True, eq=False)
class Happening:
    """One thing that happened to one run."""

    run: str
    occurrence: Occurrence | None
    """None for one who only wants to see the run as it is stored."""
    reply: "asyncio.Future[Whole | None] | None" = None
    """Who waits for the commit, and gets the run as it then stands; None where it does not exist, or where another has the request."""
    new: Execution | None = None
    """The run itself, where this begins it."""
    command: str = ""
    """The id of the command that this settles."""

    def answer(self, whole: Whole | None) -> None:
        """Answers who waits."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(whole)

    def refuse(self, error: Exception) -> None:
        """Tells who waits what went wrong."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)


@dataclass(slots=True, eq=False)
class Share:
    """What a batch does to one run."""

    held: Held
    is_new: bool = False
    happenings: list[Happening] = field(default_factory=list)
    decisions: list[Decisions] = field(default_factory=list)
    change: Change | None = None
    unwanted: list[CancelTask] = field(default_factory=list)
    """Attempts that are under way and that the run, taken up again, does not want."""
    leaves: bool = False
    """Whether the run leaves memory once this is stored."""

    def add(self, happening: Happening, before: Run, decisions: Decisions) -> None:
        """Adds what followed from something that happened."""
        self.decisions.append(decisions)
        after = self.held.execution.run
        if after is not before or decisions.steps or decisions.tasks or decisions.events:
            self._note(before, after, decisions)
        # One after which nothing followed writes no entry; who took it deletes it.
        if happening.command and self.change is not None:
            self.change.commands.append(happening.command)

    def effects(self) -> Iterator[Effect]:
        """Yields what is to be carried out once this is stored, in its order."""
        yield from self.unwanted
        for decisions in self.decisions:
            yield from decisions.effects

    def written(self) -> Change:
        """Returns what the store is to write of the run."""
        if self.change is None:
            held = self.held
            self.change = Change(held.execution.run, held.number + 1, is_new=self.is_new, row_changed=self.is_new or held.parked)
        return self.change

    def _note(self, before: Run, after: Run, decisions: Decisions) -> None:
        change = self.written()
        change.run = after
        if not change.row_changed and _row(after) != _row(before):
            change.row_changed = True
        for step in decisions.steps:
            change.steps[step.id] = step
        for task in decisions.tasks:
            change.tasks[task.step, task.index] = task
        for event in decisions.events:
            if event.type is EventType.STEP_STARTED:
                change.begun.add(event.step)
        change.events.extend(decisions.events)


@dataclass(slots=True, eq=False)
class Together:
    """What one transaction writes, and what is done once it is committed."""

    shares: dict[str, Share] = field(default_factory=dict)
    size: int = 0
    """How many happenings it has taken."""

    @property
    def changes(self) -> list[Change]:
        """What the store is to write."""
        return [share.change for share in self.shares.values() if share.change is not None]

    def share(self, held: Held, *, is_new: bool = False) -> Share:
        """Returns a run's share, which begins empty."""
        run = held.execution.run.id
        share = self.shares.get(run)
        if share is None:
            share = self.shares[run] = Share(held, is_new)
        return share

    def without(self, runs: Collection[str]) -> Iterator[Share]:
        """Takes runs out, and yields what there was of them."""
        for run in runs:
            share = self.shares.pop(run, None)
            if share is not None:
                yield share


# What a run's row has beside its inputs: all but the number of the newest event, which every entry has. What did not change is the same
# object, so that comparing is cheap.
_row: Final = attrgetter(*(one.name for one in fields(Run) if one.name != "last_sequence"))
