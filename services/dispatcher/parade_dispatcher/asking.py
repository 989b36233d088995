"""Asks one instance for the outcome of a call with effects that it may have had, again and again, until it says or is given up."""

import dataclasses
from typing import TYPE_CHECKING, Protocol

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher import contract
from parade_dispatcher.member import Member
from parade_dispatcher.model import Answer, Content, Outcome, Progress, Timing
from parade_dispatcher.ports import Sending

if TYPE_CHECKING:
    from parade_dispatcher.job import Job

PAUSE = 0.5
"""Seconds between two questions."""
PATIENCE = 60.0
"""Seconds after the call's deadline for which the outcome is still asked for, for the record."""


class Asker(Protocol):
    """Who wants to know."""

    def settled(self, outcome: Outcome, timing: Timing) -> None:
        """Takes the outcome."""
        ...

    def unsettled(self, member: Member, message: str) -> None:
        """Hears that there is no hope left, and why."""
        ...


class Asking:
    """The `Receiver` of what an instance says about a call that it was given before."""

    __slots__ = ("_asker", "_call_id", "_is_over", "_job", "_sending", "_until", "member", "message")

    def __init__(self, asker: Asker, job: "Job", member: Member, call_id: str, message: str) -> None:
        """Takes who wants to know.

        Args:
            asker: It.
            job: The call whose outcome it is to be.
            member: The instance.
            call_id: The id that the call had there.
            message: Why its outcome was not heard.
        """
        self._asker = asker
        self._job = job
        self.member = member
        self._call_id = call_id
        self.message = message
        self._sending: Sending | None = None
        self._until = job.deadline + PATIENCE
        self._is_over = False

    def ask(self) -> None:
        """Asks now."""
        if self._is_over:
            return
        job = self._job
        if job.parts.now() >= self._until:
            self.give_up()
            return
        self.member.asked.add(self)
        call = dataclasses.replace(job.call, id=self._call_id, attach=True)
        try:
            self._sending = job.parts.reach.send(self.member.instance, call, job.deadline if not job.is_over else self._until, self)
        except ParadeError:
            self._again()

    def cancel(self) -> None:
        """Asks the instance to end the call."""
        if self._sending is not None:
            self._sending.cancel()
        else:
            self.give_up()

    def give_up(self) -> None:
        """Asks no more."""
        if self._ended():
            return
        if self._sending is not None:
            self._sending.abandon()
        self._asker.unsettled(self.member, self.message)

    # ---- what the instance says

    def answered(self, result: Content | None, queued: float, executing: float) -> None:
        """Takes the result that the call had."""
        if self._ended():
            return
        job = self._job
        timing = self._timing(queued, executing)
        error = contract.fault_of(job, self.member, result)
        answer = Answer(result, self._call_id, self.member.id, timing)
        self._asker.settled(answer if error is None else job.located(error, self.member.id), timing)

    def failed(self, error: ParadeError, queued: float, executing: float) -> None:
        """Takes the error that the call ended with, or that the instance knows nothing of it."""
        if error.reason is Reason.NO_CAPACITY and not self._is_over:
            self._again()
            return
        if self._ended():
            return
        if error.reason is Reason.NOT_FOUND:
            self._asker.unsettled(self.member, f"{self.message}; the instance, asked for it, knows nothing of the call")
            return
        self._asker.settled(self._job.located(contract.answer_of(error), self.member.id), self._timing(queued, executing))

    def progressed(self, progress: Progress) -> None:
        """Passes on how far the function has come."""
        if not self._is_over:
            self._job.progressed(progress)

    def item(self, value: Content) -> None:
        """Passes it over: functions that stream are not asked for."""

    def cancelling(self, state: str) -> None:
        """Passes on how far the cancellation has come."""
        if not self._is_over:
            self._job.cancelling(state)

    def lost(self, message: str, sent: bool) -> None:  # noqa: ARG002, FBT001 - the port's signature; a question may be asked twice
        """Hears that the instance could not be asked."""
        if self._is_over:
            return
        self.message = message
        if self._job.is_cancelled and not self._job.is_over:
            self._sending = None
            self.give_up()
        else:
            self._again()

    def instance_gone(self, message: str) -> None:
        """Hears that the directory no longer counts on the instance."""
        self.message = message
        self.give_up()

    def _again(self) -> None:
        self._sending = None
        self._job.parts.later(PAUSE, self.ask)

    def _timing(self, queued: float, executing: float) -> Timing:
        since = self._job.parts.now() - self._job.arrived
        return Timing(queued, max(0.0, since - queued - executing), executing)

    def _ended(self) -> bool:
        was_over, self._is_over = self._is_over, True
        self.member.asked.discard(self)
        return was_over
