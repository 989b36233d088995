"""Sees that a function with effects leaves once for one key: it is written before, its outcome after, and asked for where it was not heard.

What was begun here is ended or withdrawn here, whatever becomes of the caller: where the outcome comes after the call's end it is still
written, and where there is no hope of one OUTCOME_UNKNOWN is, so that no later call of the key repeats what may have run.
"""

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from parade.wire.errors import ParadeError, Reason
from parade_dispatcher import contract, refusal
from parade_dispatcher.asking import Asking
from parade_dispatcher.member import Member
from parade_dispatcher.model import Answer, Conflict, Entry, Failed, Fresh, Outcome, Receipt, Request, Timing, Unfinished, Verdict
from parade_dispatcher.parts import Key, Parts

if TYPE_CHECKING:
    from parade_dispatcher.job import Job

_NOT_RUN = frozenset({Reason.UNKNOWN_FUNCTION, Reason.INVALID_ARGUMENTS, Reason.NO_CAPACITY})
"""What an instance answers without having run the function."""


class Safeguard:
    """The record of one call with effects."""

    __slots__ = ("_asking", "_ending", "_entry", "_followers", "_is_begun", "_job", "_key", "_leader", "_parts", "may_have_run")

    def __init__(self, parts: Parts, job: "Job") -> None:
        """Takes the call that it is for."""
        self._parts = parts
        self._job = job
        self._entry = _entry(job.request)
        self._key: Key = (self._entry.namespace, self._entry.key)
        self._is_begun = False
        """Whether the entry is this call's to end."""
        self.may_have_run = False
        """Whether an instance may have run the function: for this call, or for another one of its key."""
        self._ending: tuple[Outcome, Timing] | None = None
        """The outcome that is being written."""
        self._asking: Asking | None = None
        self._leader: Safeguard | None = None
        """The record of the call under way here whose outcome is this one's too."""
        self._followers: list[Safeguard] = []
        """The records of the calls that wait for the outcome of this one."""

    @property
    def is_followed(self) -> bool:
        """Whether other calls wait for the outcome of this one."""
        return bool(self._followers)

    # ---- the job's course

    def begin(self) -> None:
        """Writes the call down; it goes on when that is done."""
        self._leader = None
        self.may_have_run = self._job.request.redelivered
        if not self._job.is_over:
            self._parts.ledger.begin(self._entry, self._decided)

    def given(self, instance_id: str) -> None:
        """Takes down that an instance is given the call."""
        self.may_have_run = True
        self._parts.ledger.assigned(self._entry, instance_id)

    def not_run(self) -> None:
        """Takes in that the last instance has certainly not run the function."""
        self.may_have_run = False

    def lost(self, member: Member, message: str) -> None:
        """Takes in that an instance went away which may have run the function: it is asked for the outcome while there is hope."""
        job = self._job
        if job.function.streaming or job.is_cancelled:
            self._give_up(member.id, message)
        else:
            self._ask(member.id, message)

    def cancel(self) -> bool:
        """Takes in that the caller asks for the end while no instance is at work for it. Returns whether the end comes from here."""
        if self._ending is not None:
            return True
        if self._asking is not None:
            self._asking.cancel()
            return True
        self._leave_leader()
        return False

    def expire(self) -> bool:
        """Takes in that the deadline has passed while no instance is at work for it. Returns whether that ended the call."""
        job = self._job
        if self._ending is not None:
            job.deliver(*self._ending)  # it is known, and being written
            return True
        if self._asking is not None:
            job.deliver(self._unknown(self._asking.member.id, self._asking.message), job.waited())
            return True
        self._leave_leader()
        return False

    def end(self, outcome: Outcome, timing: Timing, *, is_certain: bool) -> None:
        """Ends the call; a certain outcome is written before it is told.

        Args:
            outcome: How it ended.
            timing: Where the time went.
            is_certain: Whether that is what became of the function. If not, it is still to be heard.
        """
        if self._ending is not None:
            return
        if not self._is_begun or not is_certain:
            self._job.deliver(outcome, timing)
        elif not self.may_have_run or (isinstance(outcome, ParadeError) and outcome.reason in _NOT_RUN):
            self._withdraw()
            self._job.deliver(outcome, timing)
        else:
            self._ending = (outcome, timing)
            self._parts.ledger.end(self._entry, outcome, self._written)

    def heard_late(self, member: Member, outcome: Outcome | None) -> None:
        """Takes the last word of an instance that came after the call's end; None where the instance was lost."""
        job = self._job
        if outcome is None:
            self.lost(member, "it was lost after the call's deadline")
            return
        if isinstance(outcome, Answer):
            error = contract.fault_of(job, member, outcome.result)
            outcome = outcome if error is None else job.located(error, member.id)
        self.end(outcome, Timing(), is_certain=True)

    # ---- calls of the same key at the same time

    def follow(self, follower: "Safeguard") -> None:
        """Lets another call of the key wait for this one's outcome."""
        self._followers.append(follower)

    def unfollow(self, follower: "Safeguard") -> None:
        """Lets one wait no longer. Where this call's own caller went away too, nobody wants it any more."""
        self._followers.remove(follower)
        if self._job.is_orphan and not self._followers:
            self._job.cancel()

    def ended_as(self, outcome: Outcome) -> None:
        """Ends the call as the first call of its key ended."""
        self._leader = None
        job = self._job
        if isinstance(outcome, ParadeError):
            job.deliver(outcome, job.waited())
        elif job.function.streaming:
            message = f"{job.request.full_name} has run to its end under this key already; the items of a stream are not kept"
            job.deliver(job.located(ParadeError(Reason.FAILED_PRECONDITION, message), outcome.instance_id), job.waited())
        else:
            job.deliver(outcome, outcome.timing)

    # ---- the ledger's word

    def _decided(self, verdict: Verdict) -> None:
        job = self._job
        match verdict:
            case Fresh():
                self._fresh()
            case Receipt(outcome):
                self.ended_as(outcome)
            case Unfinished(instance_id, call_id):
                self._join(instance_id, call_id)
            case Conflict(message):
                job.refuse(ParadeError(Reason.ALREADY_EXISTS, message))
            case Failed(error):
                job.refuse(error)

    def _fresh(self) -> None:
        job = self._job
        self._is_begun, self.may_have_run = True, False
        self._parts.leaders[self._key] = self
        step = job.request.step
        if job.is_over:
            self._withdraw()
        elif step is not None and step.redelivered and not job.request.redelivered:
            job.end(job.located(refusal.step_redelivered(job.request), ""), job.waited())
        else:
            job.seek()

    def _join(self, instance_id: str, call_id: str) -> None:
        """Waits for the outcome of a call that was begun and has not ended as far as is written; asks for it where nobody here does."""
        leader = self._parts.leaders.get(self._key)
        self.may_have_run = True
        if leader is None:
            self._entry = dataclasses.replace(self._entry, call_id=call_id)
            self._is_begun = True
            self._parts.leaders[self._key] = self
            self._ask(instance_id, "its outcome has not been written")
        elif not self._job.is_over:
            leader.follow(self)
            self._leader = leader

    def _written(self) -> None:
        if self._ending is None:
            return
        outcome, timing = self._ending
        self._close()
        self._job.deliver(outcome, timing)
        for follower in self._let_go():
            follower.ended_as(outcome)

    def _withdraw(self) -> None:
        """Takes the entry back; those who waited for its outcome make the call themselves."""
        self._parts.ledger.withdraw(self._entry)
        self._close()
        for follower in self._let_go():
            follower.begin()

    # ---- asking an instance

    def settled(self, outcome: Outcome, timing: Timing) -> None:
        """Takes the outcome that was asked for."""
        self._asking = None
        self.end(outcome, timing, is_certain=True)

    def unsettled(self, member: Member, message: str) -> None:
        """Takes in that asking has come to nothing."""
        self._asking = None
        self._give_up(member.id, message)

    def _ask(self, instance_id: str, message: str) -> None:
        member = self._parts.pools.member(instance_id)
        if member is None or member.gone:
            self._give_up(instance_id, message)
            return
        self._asking = Asking(self, self._job, member, self._entry.call_id, message)
        self._asking.ask()

    def _give_up(self, instance_id: str, message: str) -> None:
        self.end(self._unknown(instance_id, message), self._job.waited(), is_certain=True)

    def _unknown(self, instance_id: str, message: str) -> ParadeError:
        job = self._job
        return job.located(refusal.outcome_unknown(job.request, instance_id, message), instance_id)

    def _leave_leader(self) -> None:
        if self._leader is not None:
            leader, self._leader = self._leader, None
            leader.unfollow(self)

    def _let_go(self) -> "list[Safeguard]":
        followers, self._followers = self._followers, []
        return followers

    def _close(self) -> None:
        self._is_begun = False
        self._ending = None
        if self._parts.leaders.get(self._key) is self:
            del self._parts.leaders[self._key]


def _entry(request: Request) -> Entry:
    if request.step is not None and not request.idempotency_key:
        # Its id says which attempt it is of. The arguments may hold a secret, which can be another when the attempt is sent again.
        return Entry(request.namespace, request.call_id, request.full_name, "", request.call_id)
    arguments = request.arguments
    digest = hashlib.sha256(arguments).hexdigest() if isinstance(arguments, bytes) else arguments.digest.removeprefix("sha256:")
    return Entry(request.namespace, request.idempotency_key or request.call_id, request.full_name, digest, request.call_id)
