"""Attempts under way: each is a call of a function, and its outcome is reported exactly once unless the process ends first."""

import asyncio
from contextlib import aclosing
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_scheduler.decider import CancelTask, Dispatch, TaskCancelled, TaskFailed, TaskProgressed, TaskSucceeded
from parade_scheduler.decider.tasks import NOT_SENT
from parade_scheduler.model import Failure, Progress, Run
from parade_scheduler.ports import Assigned, Caller, Result
from parade_scheduler.timers import Report

PROGRESS_INTERVAL: Final = 1.0
"""Seconds between two progress notes of a task that are passed on; those between them are dropped."""

_Key = tuple[str, str, int, int]
"""Run, step, task and attempt."""


class Dispatches:
    """All attempts under way, as many at once as the bound allows; the rest wait for their turn."""

    def __init__(self, caller: Caller, report: Report, clock: Clock, log: Log, tasks: asyncio.TaskGroup, max_calls: int) -> None:
        """Takes what it works with.

        Args:
            caller: Calls functions.
            report: Is told the outcomes.
            clock: Measures the time between progress notes.
            log: Is told what nobody foresaw.
            tasks: The parent of every attempt.
            max_calls: How many calls may run at once.
        """
        self._caller = caller
        self._report = report
        self._clock = clock
        self._log = log
        self._tasks = tasks
        self._places = asyncio.Semaphore(max_calls)
        self._calls: dict[_Key, asyncio.Task[TaskSucceeded | TaskFailed]] = {}
        self._draining = False
        self._left = False

    def start(self, run: Run, dispatch: Dispatch) -> None:
        """Hands out an attempt."""
        if self._draining:
            failure = Failure(Reason.UNAVAILABLE, "the scheduler is stopping", metadata={NOT_SENT: "true"}, retryable=True)
            self._report(run.id, TaskFailed(dispatch.step, dispatch.task, dispatch.attempt, failure))
            return
        key = (run.id, dispatch.step, dispatch.task, dispatch.attempt)
        call = self._tasks.create_task(self._outcome(run, dispatch), name=f"call {dispatch.function}")
        self._calls[key] = call
        call.add_done_callback(lambda done: self._ended(key, done))

    def cancel(self, run: str, cancel: CancelTask) -> None:
        """Cancels an attempt; that it has ended is reported as every outcome is."""
        call = self._calls.get((run, cancel.step, cancel.task, cancel.attempt))
        if call is not None:
            call.cancel()

    async def drain(self, seconds: float) -> None:
        """Hands out nothing more and lets what runs end; what has not ended by then is left to the next process, which asks after it."""
        self._draining = True
        if self._calls:
            await asyncio.wait(set(self._calls.values()), timeout=seconds)
        if not self._calls:
            return
        # First, for a call that is cancelled while its session lasts is cancelled at its instance too.
        self._left = True
        await self._caller.leave()
        for call in self._calls.values():
            call.cancel()

    def _ended(self, key: _Key, call: "asyncio.Task[TaskSucceeded | TaskFailed]") -> None:
        del self._calls[key]
        run, step, task, attempt = key
        if self._left:
            return  # it ended here alone, which is no outcome
        self._report(run, TaskCancelled(step, task, attempt) if call.cancelled() else call.result())

    async def _outcome(self, run: Run, dispatch: Dispatch) -> TaskSucceeded | TaskFailed:
        step, task, attempt = dispatch.step, dispatch.task, dispatch.attempt
        instance_id = ""
        try:
            async with self._places, aclosing(self._caller.call(run, dispatch)) as answers:
                passed_on = -PROGRESS_INTERVAL
                async for answer in answers:
                    match answer:
                        case Assigned():
                            instance_id = answer.instance_id
                        case Progress() if self._clock.monotonic() - passed_on >= PROGRESS_INTERVAL:
                            passed_on = self._clock.monotonic()
                            self._report(run.id, TaskProgressed(step, task, attempt, answer))
                        case Result():
                            return TaskSucceeded(step, task, attempt, answer.output, instance_id)
            failure = Failure(Reason.INTERNAL, f"the call of `{dispatch.function}` ended without a result")
        except ParadeError as error:
            failure = Failure.of(error)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one call must not end all runs; the log has it, the run fails
            self._log.error("call failed unexpectedly", function=dispatch.function, run=run.id, exception=error)
            failure = Failure(Reason.INTERNAL, f"the call of `{dispatch.function}` failed unexpectedly; the scheduler's log says how")
        return TaskFailed(step, task, attempt, failure, instance_id)
