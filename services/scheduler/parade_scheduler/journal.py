"""The one writer of runs. It takes everything that has queued, decides on it in memory, and commits it all in one transaction.

Nothing leaves before its commit: replies, calls, timers and news to watchers are released afterwards. A commit that fails ends the
process, for then memory and store no longer agree; the next process takes the runs up from what is stored.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade_chassis.clock import Clock
from parade_scheduler.decider import Decider, Decisions, Execution, Occurrence
from parade_scheduler.model import Run
from parade_scheduler.store import Changes, Store

MAX_BATCH: Final = 1_000
"""How many occurrences one transaction takes at most, so that a commit stays short."""
MAX_WAITING: Final = 10_000
"""How many requests may wait for the writer; more are refused. What tasks report always finds place, for they are bounded themselves."""

Release = Callable[[Run, Decisions], None]
"""What is told, after the commit, of each run's decisions."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One thing that happened to one run."""

    run: str
    occurrence: Occurrence
    execution: Execution | None = None
    """The run itself, where the journal does not lead it yet."""
    is_new: bool = False
    """Whether the run has no rows yet."""
    reply: "asyncio.Future[Decisions] | None" = None
    """Who waits for the commit."""


class Journal:
    """Leads every run that has not ended."""

    def __init__(self, store: Store, decider: Decider, clock: Clock) -> None:
        """Takes where it writes, what decides, and the time."""
        self._store = store
        self._decider = decider
        self._clock = clock
        self._executions: dict[str, Execution] = {}
        self._entries: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def active(self) -> int:
        """How many runs it leads."""
        return len(self._executions)

    async def start(self, execution: Execution, occurrence: Occurrence) -> Decisions:
        """Begins a new run and returns what followed, once that is stored.

        Raises:
            ParadeError: NO_CAPACITY, where too much waits to be written.
        """
        return await self._commit(lambda reply: _Entry(execution.run.id, occurrence, execution, is_new=True, reply=reply))

    def adopt(self, execution: Execution, occurrence: Occurrence) -> None:
        """Takes up a run that is stored."""
        self._add(_Entry(execution.run.id, occurrence, execution))

    async def request(self, run: str, occurrence: Occurrence) -> None:
        """Lets something happen to a run and returns once what follows is stored. Nothing happens to a run that has ended.

        Raises:
            ParadeError: NO_CAPACITY, where too much waits to be written.
        """
        await self._commit(lambda reply: _Entry(run, occurrence, reply=reply))

    def report(self, run: str, occurrence: Occurrence) -> None:
        """Lets something happen to a run. Returns at once."""
        self._add(_Entry(run, occurrence))

    async def lead(self, release: Release) -> None:
        """Writes for as long as the process lives.

        Args:
            release: Is called after each commit, once for each run's decisions in their order. It must not wait.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._entries:
                entries = [self._entries.popleft() for _ in range(min(MAX_BATCH, len(self._entries)))]
                try:
                    await self._write(entries, release)
                except BaseException:
                    self._refuse([*entries, *self._entries])
                    raise
            self._idle.set()

    async def written(self) -> None:
        """Returns once nothing waits to be written."""
        await self._idle.wait()

    async def _commit(self, entry: Callable[["asyncio.Future[Decisions]"], _Entry]) -> Decisions:
        if len(self._entries) >= MAX_WAITING:
            raise ParadeError(Reason.NO_CAPACITY, "the scheduler has too much to write; try again in a moment")
        reply: asyncio.Future[Decisions] = asyncio.get_running_loop().create_future()
        self._add(entry(reply))
        return await reply

    def _add(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._idle.clear()
        self._wake.set()

    def _refuse(self, entries: list[_Entry]) -> None:
        """Tells everybody who waits that the process ends; whether their wish was stored is not known."""
        for entry in entries:
            if entry.reply is not None and not entry.reply.done():
                entry.reply.set_exception(ParadeError(Reason.UNAVAILABLE, "the scheduler has stopped; ask again"))

    async def _write(self, entries: list[_Entry], release: Release) -> None:
        changes = Changes()
        decided: list[tuple[_Entry, Run, Decisions]] = []
        now = self._clock.now()
        for entry in entries:
            if entry.execution is not None:
                self._executions[entry.run] = entry.execution
            execution = self._executions.get(entry.run)
            if execution is None:
                if entry.reply is not None and not entry.reply.done():
                    entry.reply.set_result(Decisions())
                continue
            decisions = self._decider.decide(execution, entry.occurrence, now)
            _add_changes(changes, execution.run, decisions, is_new=entry.is_new)
            decided.append((entry, execution.run, decisions))
            if execution.ended:
                del self._executions[entry.run]
        if changes.events or changes.runs or changes.new_runs or changes.tasks:
            await self._store.write(changes)
        for entry, run, decisions in decided:
            release(run, decisions)
            if entry.reply is not None and not entry.reply.done():
                entry.reply.set_result(decisions)


def _add_changes(changes: Changes, run: Run, decisions: Decisions, *, is_new: bool) -> None:
    if is_new or run.id in changes.new_runs:
        changes.new_runs[run.id] = run
    elif decisions.run is not None:
        changes.runs[run.id] = run
    for step in decisions.steps:
        changes.steps[run.id, step.id] = step
    for task in decisions.tasks:
        changes.tasks[run.id, task.step, task.index] = task
    changes.events.extend((run.id, event) for event in decisions.events)
