"""What leaves the process once it is committed."""

from parade_scheduler.decider import CancelTask, Decisions, Dispatch, RunEnded, SetTimer
from parade_scheduler.dispatch import Dispatches
from parade_scheduler.model import Run
from parade_scheduler.timers import Timers
from parade_scheduler.watchers import Watchers


class Effects:
    """Carries decisions out."""

    def __init__(self, dispatches: Dispatches, timers: Timers, watchers: Watchers) -> None:
        """Takes what carries them out."""
        self._dispatches = dispatches
        self._timers = timers
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
