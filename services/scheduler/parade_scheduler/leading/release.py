"""What is done once a batch is committed: timers are set, effects leave the process, and who waits is answered."""

from typing import Protocol

from parade_chassis.clock import Clock
from parade_scheduler.crash_points import reached
from parade_scheduler.decider import Dispatch, Effect, SetTimer
from parade_scheduler.leading.happenings import Held, Share
from parade_scheduler.leading.memory import Memory
from parade_scheduler.leading.watchers import Watchers
from parade_scheduler.model import Run


class Carrier(Protocol):
    """Carries effects out. It must not wait."""

    def release(self, run: Run, effect: Effect) -> None:
        """Carries an effect out that is committed."""
        ...

    def leave(self, run: str) -> None:
        """Reports no more outcomes of a run that another replica leads, and cancels nothing."""
        ...


class Release:
    """Does it.

    Attributes:
        carrier: What carries effects out; without one they are lost, as they are with the process.
    """

    def __init__(self, memory: Memory, watchers: Watchers, clock: Clock) -> None:
        """Takes the runs in memory, who wants news, and the time."""
        self.carrier: Carrier | None = None
        self._memory = memory
        self._watchers = watchers
        self._clock = clock

    def carry_out(self, share: Share) -> None:
        """Does for one run what is due once it is committed."""
        held, change = share.held, share.change
        run = held.execution.run
        if self._memory.runs.get(run.id) is held:
            if change is not None:
                self._note_written(share)
            for effect in share.effects():
                self._carry_out_effect(held, run, effect)
            # After the effects: a run that is taken up again wants an attempt whose outcome may be the next that happened.
            for happening in share.happenings:
                self._memory.end_attempt(happening)
            if run.ended and self._watchers.is_awaited(run.id):
                self._watchers.ended(held.whole)
            if run.ended or share.leaves:
                self._memory.forget(run.id)
        # Otherwise its shard was given up while this was being written: what follows is the next owner's.
        for happening in share.happenings:
            if happening.reply is not None:
                happening.answer(held.whole)

    def leave(self, run: str) -> None:
        """Forgets a run that another replica leads."""
        self._memory.forget(run)
        if self._memory.end_attempts(run) and self.carrier is not None:
            self.carrier.leave(run)

    def _note_written(self, share: Share) -> None:
        held, change = share.held, share.written()
        held.number = change.number
        if change.row_changed:
            held.parked, held.wake = change.parked, change.wake
            self._memory.waking.discard(change.run.id)
        if change.events:
            self._watchers.changed(change.run.id)

    def _carry_out_effect(self, held: Held, run: Run, effect: Effect) -> None:
        if isinstance(effect, SetTimer):
            self._memory.timers.set(run.id, effect, held.time or self._clock.now())
        elif not isinstance(effect, Dispatch):
            self._release(run, effect)
        elif self._memory.begin_attempt(run.id, effect):
            self._release(run, effect)
            reached("after_dispatch")

    def _release(self, run: Run, effect: Effect) -> None:
        if self.carrier is not None:
            self.carrier.release(run, effect)
