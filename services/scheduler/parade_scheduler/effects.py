"""What leaves the process once it is committed."""

from parade_chassis.lifecycle import Process
from parade_scheduler.children import Children
from parade_scheduler.config import Config
from parade_scheduler.decider import CancelChild, CancelTask, Dispatch, Effect, RunEnded, StartChild
from parade_scheduler.dispatch import Dispatches
from parade_scheduler.model import Run
from parade_scheduler.ports import Caller
from parade_scheduler.timers import Report


class Effects:
    """Carries effects out."""

    def __init__(self, process: Process[Config], caller: Caller, children: Children, report: Report) -> None:
        """Takes what it works with.

        Args:
            process: The time and the log.
            caller: Calls functions.
            children: Starts and cancels the runs that tasks want.
            report: Is told what came of attempts.
        """
        self._children = children
        self._drain_timeout = process.config.drain_timeout
        self._dispatches = Dispatches(caller, report, process.clock, process.log, process.config.max_calls)

    def release(self, run: Run, effect: Effect) -> None:
        """Carries an effect out that is committed."""
        if isinstance(effect, Dispatch):
            self._dispatches.start(run, effect)
        elif isinstance(effect, CancelTask):
            self._dispatches.cancel(run.id, effect)
        elif isinstance(effect, RunEnded):
            self._children.ended(run)
        elif isinstance(effect, StartChild):
            self._children.start(run, effect)
        elif isinstance(effect, CancelChild):
            self._children.cancel(run, effect)

    def leave(self, run: str) -> None:
        """Leaves the calls of a run to the process that leads it now."""
        self._dispatches.leave(run)

    async def end(self) -> None:
        """Gives the attempts under way the time that the process has for its end; see `Dispatches.drain`."""
        await self._dispatches.drain(self._drain_timeout)
        await self._children.end()
