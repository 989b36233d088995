"""What leaves the process once it is committed."""

from parade_chassis.lifecycle import Process
from parade_scheduler.config import Config
from parade_scheduler.decider import CancelTask, Decisions, Dispatch, RunEnded, SetTimer
from parade_scheduler.dispatch import Dispatches
from parade_scheduler.model import Run
from parade_scheduler.ports import Caller
from parade_scheduler.timers import Report, Timers
from parade_scheduler.watchers import Watchers


class Effects:
    """Carries decisions out."""

    def __init__(self, process: Process[Config], caller: Caller, report: Report, watchers: Watchers) -> None:
        """Takes what it works with.

        Args:
            process: The time, the log, and the parent of every attempt.
            caller: Calls functions.
            report: Is told what came of attempts, and which times have come.
            watchers: Are told that there is news of a run.
        """
        self._drain_timeout = process.config.drain_timeout
        self._dispatches = Dispatches(caller, report, process.clock, process.log, process.tasks, process.config.max_calls)
        self._timers = Timers(process.clock, report)
        self._watchers = watchers

    def release(self, run: Run, decisions: Decisions) -> None:
        """Carries out, in their order, decisions that are committed."""
        for effect in decisions.effects:
            match effect:
                case Dispatch():
                    self._dispatches.start(run, effect)
                case CancelTask():
                    self._dispatches.cancel(run.id, effect)
                case SetTimer():
                    self._timers.set(run.id, effect)
                case RunEnded():
                    self._timers.forget(run.id)
        if decisions.events:
            self._watchers.notify(run.id)

    async def end(self) -> None:
        """Drops the timers, and gives the attempts under way the time that the process has for its end; see `Dispatches.drain`."""
        self._timers.end()
        await self._dispatches.drain(self._drain_timeout)
