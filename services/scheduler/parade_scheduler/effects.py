"""What leaves the process once it is committed."""

from typing import Final

from parade.wire.errors import Reason
from parade_scheduler.calls.dispatch import Dispatches
from parade_scheduler.decider import CancelChild, CancelTask, Dispatch, Effect, RunEnded, StartChild, TaskCancelled, TaskFailed
from parade_scheduler.leading.timers import Report
from parade_scheduler.model import Failure, Run
from parade_scheduler.ports import Caller
from parade_scheduler.rights import Rights
from parade_scheduler.starts.children import Children
from parade_scheduler.surroundings import Surroundings

_FAILURE: Final = Failure(Reason.INTERNAL, "the scheduler could not carry this out; its log says why")


class Effects:
    """Carries effects out."""

    def __init__(self, process: Surroundings, caller: Caller, children: Children, report: Report, rights: Rights) -> None:
        """Takes what it works with.

        Args:
            process: The time, the log and the settings.
            caller: Calls functions.
            children: Starts and cancels the runs that tasks want.
            report: Is told what came of attempts.
            rights: For whom attempts may be handed out.
        """
        self._children = children
        self._report = report
        self._log = process.log
        self._drain_timeout = process.config.drain_timeout
        self._dispatches = Dispatches(caller, report, process.clock, process.log, process.config.max_calls, rights)

    def release(self, run: Run, effect: Effect) -> None:
        """Carries an effect out that is committed. Where that goes wrong, the task that waits for it is told instead."""
        try:
            self._carry_out(run, effect)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one run must not end all others
            self._log.error("effect could not be carried out", run=run.id, effect=type(effect).__name__, exception=error)
            self._tell_waiting(run, effect)

    def leave(self, run: str) -> None:
        """Leaves the calls of a run to the process that leads it now."""
        self._dispatches.leave(run)

    async def end(self) -> None:
        """Gives the attempts under way the time that the process has for its end; see `Dispatches.drain`."""
        await self._dispatches.drain(self._drain_timeout)
        await self._children.end()

    def _carry_out(self, run: Run, effect: Effect) -> None:
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

    def _tell_waiting(self, run: Run, effect: Effect) -> None:
        """Ends the task that waits for what an effect was to bring about: nothing else would."""
        if isinstance(effect, Dispatch | StartChild):
            self._report(run.id, TaskFailed(effect.step, effect.task, effect.attempt, _FAILURE))
        elif isinstance(effect, CancelTask | CancelChild):
            self._report(run.id, TaskCancelled(effect.step, effect.task, effect.attempt))
        elif isinstance(effect, RunEnded) and run.parent is not None:
            parent = run.parent
            self._report(parent.run, TaskFailed(parent.step, parent.task, parent.attempt, _FAILURE))
