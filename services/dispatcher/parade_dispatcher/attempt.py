"""One call with one instance: takes what the instance says, checks it and frees the place. What follows from it is the job's to decide."""

from typing import TYPE_CHECKING

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher import contract
from parade_dispatcher.member import Member
from parade_dispatcher.model import Answer, Content, Outcome, Progress, Timing
from parade_dispatcher.ports import Sending

if TYPE_CHECKING:
    from parade_dispatcher.job import Job

_LIVE, _LATE, _OVER = 0, 1, 2


class Attempt:
    """The `Receiver` of one call at one instance."""

    __slots__ = ("_begun", "_job", "_phase", "member", "sending")

    def __init__(self, job: "Job", member: Member, begun: float) -> None:
        """Takes whose call it is, who has it, and since when."""
        self._job = job
        self._begun = begun
        self._phase = _LIVE
        self.member = member
        self.sending: Sending | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come of it."""
        return self._phase == _OVER

    # ---- what the instance says

    def answered(self, result: Content | None, queued: float, executing: float) -> None:
        """Takes the result."""
        job, member = self._job, self.member
        if self._phase:
            self._late(Answer(result, job.call.id, member.id))
            return
        self._phase, self.sending = _OVER, None  # as `_over`, spelled out: this runs for every call
        parts, pool, begun = job.parts, job.pool, self._begun
        transport = parts.now() - begun - queued - executing
        if transport < 0.0:  # noqa: PLR1730 - `max` takes ten times as long
            transport = 0.0
        queued += begun - job.arrived
        pool.release(member, self)
        if member.troubled:
            pool.ejection.answered(member, well=True)
        timing = Timing(queued, transport, executing)
        error = contract.fault_of(job, member, result)
        if error is None:
            parts.measurements.attempt(job.request, member.instance, "OK", queued, transport, executing)
            job.end(Answer(result, job.call.id, member.id, timing), timing)
        else:
            parts.measurements.attempt(job.request, member.instance, error.reason.value, queued, transport, executing)
            job.end(job.located(error, member.id), timing)

    def failed(self, error: ParadeError, queued: float, executing: float) -> None:
        """Takes what the instance answered instead of a result."""
        job, member = self._job, self.member
        if self._phase:
            self._late(job.located(contract.answer_of(error), member.id))
            return
        self._over()
        timing = self._timing(queued, executing)
        error = contract.answer_of(error)
        ejection = job.pool.ejection
        if error.reason is Reason.NO_CAPACITY:
            job.pool.refused(member, self)
        else:
            job.pool.release(member, self)
        if error.reason is Reason.AGENT_ERROR and error.retryable:
            ejection.failed(member, silent=False)
        elif member.troubled:
            ejection.answered(member, well=False)
        self._measure(error.reason.value, timing)
        job.failed(job.located(error, member.id), timing)

    def progressed(self, progress: Progress) -> None:
        """Passes on how far the function has come."""
        if not self._phase:
            self._job.progressed(progress)

    def item(self, value: Content) -> None:
        """Passes on an item that is within its schema."""
        if self._phase:
            return
        job = self._job
        error = contract.fault_of_item(job, self.member, value)
        if error is None:
            job.passed_on = True
            job.reply.item(value)
            return
        self.abandon()
        timing = self._timing(0.0, 0.0)
        self._measure(error.reason.value, timing)
        job.end(job.located(error, self.member.id), timing)

    def cancelling(self, state: str) -> None:
        """Passes on how far the cancellation has come."""
        if not self._phase:
            self._job.cancelling(state)

    def lost(self, message: str, sent: bool) -> None:  # noqa: FBT001 - the port's signature
        """Hears that the instance went away."""
        job, member = self._job, self.member
        if self._phase:
            self._late(None)
            return
        self._over()
        timing = self._timing(0.0, 0.0)
        job.pool.ejection.lost(member)
        job.pool.release(member, self)
        self._measure(Reason.AGENT_LOST.value, timing)
        job.lost(member, message, sent, timing)

    # ---- what others say

    def instance_gone(self, message: str) -> None:
        """Hears that the directory no longer counts on the instance."""
        if self.sending is not None:
            self.sending.abandon()
        self.lost(message, sent=True)

    def unsent(self, error: ParadeError) -> None:
        """Hears that the call could not leave, for there is too much to be written to this instance already."""
        job, member = self._job, self.member
        self._phase = _OVER
        job.pool.refused(member, self)
        job.failed(job.located(error, member.id), self._timing(0.0, 0.0))

    def abandon(self) -> None:
        """Ends it without a last word, and frees the place."""
        self._phase = _OVER
        self._job.pool.release(self.member, self)
        if self.sending is not None:
            self.sending.abandon()

    def expire(self, *, keep: bool) -> Timing:
        """Ends it at its deadline, since the instance has not.

        Args:
            keep: Whether its last word is still wanted, for the record.

        Returns:
            Where the time went, as far as is known.
        """
        job = self._job
        timing = self._timing(0.0, 0.0)
        job.pool.ejection.failed(self.member, silent=True)
        if not keep or self.sending is None:
            self.abandon()
        else:
            self._phase = _LATE
            job.pool.release(self.member, self)
            self.member.asked.add(self)
            self.sending.cancel()
        self._measure(Reason.DEADLINE_EXCEEDED.value, timing)
        return timing

    # ---- within

    def _over(self) -> None:
        # What was sent knows this attempt: the two let go of each other, so that they are freed now, not when garbage is next collected.
        self._phase = _OVER
        self.sending = None

    def _late(self, outcome: Outcome | None) -> None:
        if self._phase == _LATE:
            self._over()
            self.member.asked.discard(self)
            self._job.heard_late(self.member, outcome)

    def _timing(self, queued: float, executing: float) -> Timing:
        job = self._job
        transport = max(0.0, job.parts.now() - self._begun - queued - executing)
        return Timing(queued + self._begun - job.arrived, transport, executing)

    def _measure(self, outcome: str, timing: Timing) -> None:
        job = self._job
        instance = self.member.instance
        job.parts.measurements.attempt(job.request, instance, outcome, timing.queued, timing.transport, timing.executing)
