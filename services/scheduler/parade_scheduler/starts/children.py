"""The runs that tasks start: begun once each, cancelled with their tasks, and their ends told to the tasks that wait for them.

A child lies in the shard of its parent, so that one replica leads both. Nothing here is kept: a parent that is taken up again asks for its
children once more, and finds those that there are.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.backoff import Backoff
from parade_scheduler.decider import CancelChild, CancelRequested, Occurrence, StartChild, TaskCancelled, TaskFailed, TaskSucceeded
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.leading.happenings import ElsewhereError, Whole
from parade_scheduler.leading.journal import Journal
from parade_scheduler.model import Failure, Run, RunState
from parade_scheduler.refusal import PASSING
from parade_scheduler.storage.store import Store

MAX_DEPTH: Final = 8
"""How many runs may start each other in a row."""
PAUSE: Final = Backoff(delay=0.1, factor=2.0, max_delay=5.0)
"""The waits after a child could not be begun or cancelled for now."""


class Starts(Protocol):
    """Begins runs."""

    async def start_child(self, parent: Run, effect: StartChild) -> Whole | None:
        """Starts the run that a task asks for, or returns the one there is; None where another replica has its shard now.

        Raises:
            ParadeError: Why it cannot be started.
        """
        ...


class Children:
    """Carries out what tasks want of the runs that they start."""

    def __init__(self, journal: Journal, starts: Starts, store: Store, clock: Clock, log: Log) -> None:
        """Takes who leads runs, what begins them, where they are kept, the time and the log."""
        self._journal = journal
        self._starts = starts
        self._store = store
        self._clock = clock
        self._log = log
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False

    def start(self, parent: Run, effect: StartChild) -> None:
        """Starts a child, unless there is one already. Its parent hears of its end, or of why it has not begun."""
        if effect.run not in self._starting and not self._ending:
            task = self._starting[effect.run] = self._background(self._start(parent, effect))
            task.add_done_callback(lambda _: self._starting.pop(effect.run, None))

    def cancel(self, parent: Run, effect: CancelChild) -> None:
        """Cancels a child. Its parent hears of its end, also where it never began."""
        if not self._ending:
            self._background(self._cancel(parent, effect))

    def ended(self, child: Run) -> None:
        """Tells the task that waits for a run how it ended."""
        if child.parent is not None:
            self._journal.report(child.parent.run, _outcome(child))

    async def end(self) -> None:
        """Leaves what is under way, and what is still to come, to the next owner of the parents."""
        self._ending = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _start(self, parent: Run, effect: StartChild) -> None:
        failures = 0
        while True:
            try:
                whole = await self._started(parent, effect)
            except ParadeError as error:
                if error.reason not in PASSING:
                    self._journal.report(
                        parent.id, TaskFailed(effect.step, effect.task, effect.attempt, Failure.of(error, "cannot be run"))
                    )
                    return
                failures += 1
                self._log.warning("child cannot be started now", run=effect.run, parent=parent.id, error=str(error))
                await self._clock.sleep(PAUSE.seconds(failures, lambda: 0.0))
                continue
            except Exception as error:  # noqa: BLE001  # a fault of ours in one run must not end all others
                self._log.error("child could not be started", run=effect.run, parent=parent.id, exception=error)
                failure = Failure(Reason.INTERNAL, f"`{effect.workflow}` could not be run; the scheduler's log says why")
                self._journal.report(parent.id, TaskFailed(effect.step, effect.task, effect.attempt, failure))
                return
            if whole is not None and whole[0].ended:
                self.ended(whole[0])
            return

    async def _started(self, parent: Run, effect: StartChild) -> Whole | None:
        if self._journal.holds(effect.run):
            try:
                whole = await self._journal.request(effect.run, None, namespace=parent.namespace)
            except ElsewhereError:
                return None
            if whole is not None:
                return whole
            # Its beginning could not be stored, which shows only now.
        stored = await self._store.run(parent.namespace, effect.run)
        if stored is not None:
            return stored, []
        await self._check_depth(parent)
        return await self._starts.start_child(parent, effect)

    async def _check_depth(self, parent: Run) -> None:
        """Raises FAILED_PRECONDITION where a run is as deep as runs may be."""
        run: Run | None = parent
        for _ in range(MAX_DEPTH - 1):
            if run is None or run.parent is None:
                return
            run = await self._store.brief_run(parent.namespace, run.parent.run)
        if run is not None:
            message = f"runs start each other at most {MAX_DEPTH} deep; does one of these workflows run itself without end?"
            raise ParadeError(Reason.FAILED_PRECONDITION, message)

    async def _cancel(self, parent: Run, effect: CancelChild) -> None:
        starting = self._starting.get(effect.run)
        if starting is not None:
            starting.cancel()  # what it has handed to the journal already comes before what is asked now
        failures = 0
        while True:
            try:
                whole = await self._journal.request(effect.run, CancelRequested(effect.reason), namespace=parent.namespace)
            except ElsewhereError:
                return
            except ParadeError as error:
                failures += 1
                self._log.warning("child cannot be cancelled now", run=effect.run, parent=parent.id, error=str(error))
                await self._clock.sleep(PAUSE.seconds(failures, lambda: 0.0))
                continue
            if whole is None:
                self._journal.report(parent.id, TaskCancelled(effect.step, effect.task, effect.attempt))
            elif whole[0].ended:
                self.ended(whole[0])
            return

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  # a fault of ours in one run must not end all others
            self._log.error("child could not be looked after", exception=error)


def _outcome(child: Run) -> Occurrence:
    """Returns what a child's end is to the task that started it."""
    parent = child.parent
    assert parent is not None  # noqa: S101  # its caller has looked
    if child.state is RunState.SUCCEEDED:
        return TaskSucceeded(parent.step, parent.task, parent.attempt, child.outputs or Document(b"null"))
    if child.failure is None or child.state is RunState.CANCELLED:
        return TaskCancelled(parent.step, parent.task, parent.attempt)
    # That a call of the child's was not sent does not mean that the child has done nothing.
    facts = {name: value for name, value in child.failure.metadata.items() if name != NOT_SENT}
    message = f"the run `{child.id}` failed: {child.failure.message}"
    return TaskFailed(
        parent.step, parent.task, parent.attempt, replace(child.failure, message=message, metadata={**facts, "run": child.id})
    )
