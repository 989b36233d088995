"""Attempts under way: each is a call of a function, and its outcome is reported exactly once unless the process ends first.

Nothing here waits for an attempt: it has neither task nor future, and what becomes of its call is told by callbacks.
"""

import asyncio
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.calls.places import Places
from parade_scheduler.decider import CancelTask, Dispatch, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.document import Document
from parade_scheduler.leading.timers import Report
from parade_scheduler.model import Failure, Progress, Run
from parade_scheduler.ports import Call, Caller
from parade_scheduler.rights import Rights

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two progress notes of a task that are passed on; those between them are dropped."""

_Key = tuple[str, int, int]
"""Step, task and attempt."""


class Dispatches:
    """All attempts under way, as many at once as the bound allows; the rest wait for their turn (see `Places`)."""

    def __init__(self, caller: Caller, report: Report, clock: Clock, log: Log, max_calls: int, rights: Rights) -> None:
        """Takes what it works with.

        Args:
            caller: Calls functions.
            report: Is told the outcomes.
            clock: Measures the time between progress notes, and how long attempts wait.
            log: Is told what nobody foresaw.
            max_calls: How many calls may run at once.
            rights: For whom attempts may be handed out: asked for each of them.
        """
        self._caller = caller
        self._report = report
        self._clock = clock
        self._log = log
        self._rights = rights
        rights.subscribe(self._judge)
        self._places: Places[_Attempt] = Places(max_calls)
        self._attempts: dict[str, dict[_Key, _Attempt]] = {}
        """By run."""
        self._unjudged: dict[_Attempt, None] = {}
        """Those that came before anybody had said who may do what."""
        self._filling = False
        """Whether those that wait are about to be looked at."""
        self._draining = False
        self._drained: asyncio.Future[None] | None = None
        self._left = False

    def start(self, run: Run, dispatch: Dispatch) -> None:
        """Hands out an attempt. One that is under way already goes on, and its outcome is that of both."""
        if self._draining:
            self._report(run.id, _refused(dispatch))
            return
        key = (dispatch.step, dispatch.task, dispatch.attempt)
        attempts = self._attempts.get(run.id)
        if attempts is None:
            attempts = self._attempts[run.id] = {}
        elif key in attempts:
            attempts[key].wanted = True
            return
        attempt = attempts[key] = _Attempt(self, run, dispatch)
        if self._rights.known:
            self._enter(attempt)
            return
        if not self._unjudged:
            self._log.info("steps wait until the agent_manager has said who may do what")
        self._unjudged[attempt] = None

    def cancel(self, run: str, cancel: CancelTask) -> None:
        """Cancels an attempt; that it has ended is reported as every outcome is."""
        attempt = self._attempts.get(run, {}).get((cancel.step, cancel.task, cancel.attempt))
        if attempt is None:
            return
        if attempt.call is not None:
            attempt.call.cancel()
        self.ended(attempt, TaskCancelled(cancel.step, cancel.task, cancel.attempt))

    def leave(self, run: str) -> None:
        """Reports nothing more of a run that another process leads now, and leaves its calls to that one, which asks after them."""
        for attempt in list(self._attempts.get(run, {}).values()):
            attempt.wanted = False
            if not attempt.placed:
                self._withdraw(attempt)
                self._forget(attempt)

    async def drain(self, seconds: float) -> None:
        """Hands out nothing more and lets what runs end; what has not ended by then is left to the next process, which asks after it."""
        self._draining = True
        for attempt in [*self._unjudged, *self._places.refuse()]:
            self._forget(attempt)
            self.report(attempt, _refused(attempt.dispatch))
        self._unjudged.clear()
        if self._attempts:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=seconds)
        if not self._attempts:
            return
        # First, for a call that is cancelled while its session lasts is cancelled at its instance too.
        self._left = True
        await self._caller.leave()
        for attempt in [attempt for attempts in self._attempts.values() for attempt in attempts.values()]:
            if attempt.call is not None:
                attempt.call.cancel()
        self._attempts.clear()

    def report(self, attempt: "_Attempt", occurrence: TaskSucceeded | TaskFailed | TaskCancelled | TaskProgressed) -> None:
        """Reports what became of an attempt, unless it is left to others."""
        if attempt.wanted and not self._left:
            self._report(attempt.run.id, occurrence)

    def ended(self, attempt: "_Attempt", outcome: TaskSucceeded | TaskFailed | TaskCancelled) -> None:
        """Reports the outcome of an attempt and gives its place to the next."""
        if attempt.placed:
            self._places.leave(attempt)
        else:
            self._withdraw(attempt)
        self._forget(attempt)
        self.report(attempt, outcome)
        if self._places.waiting and not self._filling:
            # Not at once, for where many are cancelled those that wait are not to begin before their own cancellation comes.
            self._filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    def failed(self, attempt: "_Attempt", error: Exception) -> None:
        """Reports why an attempt failed."""
        run, dispatch = attempt.run, attempt.dispatch
        if isinstance(error, ParadeError):
            failure = Failure.of(error)
        else:
            # A fault of ours in one call does not end all runs: the log has it, and this run fails.
            self._log.error("call failed unexpectedly", function=dispatch.function, run=run.id, exception=error)
            failure = Failure(Reason.INTERNAL, f"the call of `{dispatch.function}` failed unexpectedly; the scheduler's log says how")
        self.ended(attempt, TaskFailed(dispatch.step, dispatch.task, dispatch.attempt, failure, attempt.instance_id))

    def progressed(self, attempt: "_Attempt", progress: Progress) -> None:
        """Reports how far an attempt is, where that was not done just now."""
        now = self._clock.monotonic()
        if now - attempt.passed_on >= PROGRESS_INTERVAL:
            attempt.passed_on = now
            dispatch = attempt.dispatch
            self.report(attempt, TaskProgressed(dispatch.step, dispatch.task, dispatch.attempt, progress))

    def _judge(self) -> None:
        """Lets those go on that came before it was known who may do what."""
        while self._unjudged and self._rights.known:
            attempt = next(iter(self._unjudged))
            del self._unjudged[attempt]
            self._enter(attempt)

    def _enter(self, attempt: "_Attempt") -> None:
        """Lets an attempt begin, or wait for its turn."""
        if self._places.enter(attempt, self._clock.monotonic()):
            self._begin(attempt)

    def _withdraw(self, attempt: "_Attempt") -> None:
        """Lets an attempt wait no longer that has not begun."""
        self._unjudged.pop(attempt, None)
        self._places.withdraw(attempt)

    def _begin(self, attempt: "_Attempt") -> None:
        attempt.placed = True
        try:
            self._rights.go_on(attempt.run)
            attempt.call = self._caller.call(attempt.run, attempt.dispatch, attempt)
        except Exception as error:  # noqa: BLE001  # see `failed`
            self.failed(attempt, error)

    def _fill(self) -> None:
        """Lets those begin for whom there is a place."""
        self._filling = False
        while self._places.waiting and (attempt := self._places.next(self._clock.monotonic())) is not None:
            self._begin(attempt)

    def _forget(self, attempt: "_Attempt") -> None:
        attempt.call = None  # the two let go of each other, and are freed at once, not when garbage is next collected
        attempts = self._attempts[attempt.run.id]
        del attempts[attempt.dispatch.step, attempt.dispatch.task, attempt.dispatch.attempt]
        if attempts:
            return
        del self._attempts[attempt.run.id]
        if self._drained is not None and not self._attempts and not self._drained.done():
            self._drained.set_result(None)


class _Attempt:
    """One attempt, and what its call says."""

    __slots__ = ("_dispatches", "call", "dispatch", "instance_id", "namespace", "passed_on", "placed", "priority", "run", "wanted")

    def __init__(self, dispatches: Dispatches, run: Run, dispatch: Dispatch) -> None:
        self._dispatches = dispatches
        self.run = run
        self.dispatch = dispatch
        self.namespace = run.namespace
        self.priority = run.priority
        self.call: Call | None = None
        """None before it is sent."""
        self.placed = False
        """Whether it has its place; until then it waits for one."""
        self.instance_id = ""
        self.passed_on = -PROGRESS_INTERVAL
        """When its last progress was passed on."""
        self.wanted = True
        """Whether its outcome is to be reported."""

    def assigned(self, instance_id: str) -> None:
        """Notes which instance has it."""
        self.instance_id = instance_id

    def progressed(self, progress: Progress) -> None:
        """Passes on how far it is."""
        self._dispatches.progressed(self, progress)

    def succeeded(self, output: Document) -> None:
        """Ends it with its result."""
        dispatch = self.dispatch
        self._dispatches.ended(self, TaskSucceeded(dispatch.step, dispatch.task, dispatch.attempt, output, self.instance_id))

    def failed(self, error: Exception) -> None:
        """Ends it with why there is no result."""
        self._dispatches.failed(self, error)


def _refused(dispatch: Dispatch) -> TaskFailed:
    failure = Failure(Reason.UNAVAILABLE, "the scheduler is stopping", metadata={NOT_SENT: "true"}, retryable=True)
    return TaskFailed(dispatch.step, dispatch.task, dispatch.attempt, failure)
