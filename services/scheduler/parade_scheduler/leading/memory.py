"""The runs in memory, and the attempts that this process has handed out."""

from collections.abc import Collection
from typing import Final

from parade_scheduler.decider import CancelTask, Dispatch
from parade_scheduler.leading.happenings import OUTCOMES, Attempt, Happening, Held, Share
from parade_scheduler.leading.timers import Timers

MAX_FAULTS: Final = 3
"""How often a run that cannot be decided on, or stored, is tried by itself; then only what happens to it takes it up."""
MAX_FAULTY: Final = 10_000
"""Of how many runs faults are counted; those of the run whose last one is longest ago are forgotten first."""


class Memory:
    """Keeps runs, their timers, and what of them is under way.

    Attributes:
        runs: The runs by id.
        timers: Their reminders.
        waking: Those of them of which the store says that they are parked.
    """

    def __init__(self, timers: Timers) -> None:
        """Starts with none."""
        self.runs: dict[str, Held] = {}
        self.timers = timers
        self.waking: set[str] = set()
        self._under_way: dict[str, set[Attempt]] = {}
        """The attempts of which no outcome is stored, by run. They outlive that a run is forgotten."""
        self._faults: dict[str, int] = {}
        """How often the decider has failed on a run, or the store has refused it alone."""

    def keep(self, run: str, held: Held) -> Held:
        """Keeps a run, and returns it."""
        self.runs[run] = held
        if held.parked:
            self.waking.add(run)
        return held

    def forget(self, run: str) -> None:
        """Takes a run out; what it has under way goes on, and is known when the run comes back."""
        self.runs.pop(run, None)
        self.waking.discard(run)
        self.timers.forget(run)

    def begin_attempt(self, run: str, dispatch: Dispatch) -> bool:
        """Notes that an attempt is handed out; returns whether it was not before.

        A run that was loaded again wants its attempts handed out again, also those that go on here.
        """
        attempt = (dispatch.step, dispatch.task, dispatch.attempt)
        under_way = self._under_way.get(run)
        if under_way is None:
            self._under_way[run] = {attempt}
            return True
        if attempt in under_way:
            return False
        under_way.add(attempt)
        return True

    def end_attempt(self, happening: Happening) -> None:
        """Notes that an attempt is no longer under way, where this is its outcome."""
        occurrence = happening.occurrence
        if not isinstance(occurrence, OUTCOMES):
            return
        under_way = self._under_way.get(happening.run)
        if under_way is not None:
            under_way.discard((occurrence.step, occurrence.task, occurrence.attempt))
            if not under_way:
                del self._under_way[happening.run]

    def unwanted(self, share: Share) -> list[CancelTask]:
        """Returns what cancels the attempts under way that a run which was taken up again does not want any more."""
        under_way = self._under_way.get(share.held.execution.run.id)
        if not under_way:
            return []
        effects = [effect for decisions in share.decisions for effect in decisions.effects]
        wanted = {(effect.step, effect.task, effect.attempt) for effect in effects if isinstance(effect, Dispatch)}
        return [CancelTask(*attempt) for attempt in under_way - wanted]

    def with_attempts(self) -> Collection[str]:
        """Returns the runs of which an attempt is under way."""
        return self._under_way.keys()

    def end_attempts(self, run: str) -> bool:
        """Forgets what a run has under way; returns whether there was anything."""
        return self._under_way.pop(run, None) is not None

    def has_few_faults(self, run: str) -> bool:
        """Counts a fault that concerns one run alone, and returns whether it is worth to be tried again by itself."""
        self._faults[run] = faults = self._faults.pop(run, 0) + 1
        if len(self._faults) > MAX_FAULTY:
            del self._faults[next(iter(self._faults))]
        return faults < MAX_FAULTS
