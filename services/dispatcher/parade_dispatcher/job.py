"""A call under way, from its arrival until its one end: it waits, has an instance, is tried again, is cancelled or expires."""

import itertools
import math
from collections.abc import Sequence

from parade.wire.errors import ParadeError, Reason
from parade.wire.redaction import masked, masked_error
from parade_dispatcher import refusal
from parade_dispatcher.attempt import Attempt
from parade_dispatcher.interceptor import Interceptor, tell
from parade_dispatcher.member import Member
from parade_dispatcher.model import Answer, Call, Effect, Function, Outcome, Progress, Request, RetryPolicy, Timing
from parade_dispatcher.nobody import NOBODY
from parade_dispatcher.parts import Key, Parts
from parade_dispatcher.pool import Pool
from parade_dispatcher.ports import Reply
from parade_dispatcher.queue import Queue
from parade_dispatcher.safeguard import Safeguard

GRACE = 0.02
"""Seconds after the deadline in which the instance's own answer, which says more, may still arrive."""
CANCEL_TIMEOUT = 5.0
"""Seconds that an instance may take to say that it knows of a cancellation."""

_NO_POLICY = RetryPolicy()
_EFFECT = Effect.EFFECT
_next_arrival = itertools.count(1).__next__


class Job:
    """One call. `Engine.begin` makes it; its caller may cancel it, go away, or make room for more items."""

    __slots__ = (
        "_attempt",
        "_attempts",
        "_cancellation",
        "_expires",
        "_key",
        "_limit",
        "_loss",
        "_parent",
        "_refusals",
        "_safeguard",
        "_whose",
        "arrival",
        "arrived",
        "call",
        "children",
        "deadline",
        "function",
        "interceptors",
        "is_cancelled",
        "is_orphan",
        "is_over",
        "parts",
        "passed_on",
        "pool",
        "priority",
        "queue",
        "reply",
        "request",
        "ticket",
        "tried",
    )

    pool: Pool
    function: Function
    call: Call
    _key: Key

    def __init__(self, parts: Parts, request: Request, reply: Reply, arrived: float) -> None:
        """Makes a call of which nothing is known yet but what its caller asks for."""
        self.parts = parts
        self.request = request
        self.reply = reply
        self.arrived = arrived
        self.deadline = math.inf
        self.priority = request.priority
        self.arrival = _next_arrival()
        self.interceptors: Sequence[Interceptor] = ()
        """Those that have seen it."""
        self.ticket = 0
        self.queue: Queue | None = None
        self.tried: set[str] | None = None
        self.passed_on = False
        """Whether its caller has got an item."""
        self.is_cancelled = False
        self.is_orphan = False
        """Whether its caller went away."""
        self.is_over = False
        self._limit = math.inf
        self._whose = ""
        self._expires = 0.0
        self._attempt: Attempt | None = None
        self._attempts = 0
        self._refusals = 0
        self._loss: str | None = None
        self._cancellation = ""
        self._safeguard: Safeguard | None = None
        self._parent: Job | None = None
        self.children: set[Job] | None = None
        """The calls under way that are a part of this one."""

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self.request.call_id

    @property
    def attempts(self) -> int:
        """How often an instance was given the call."""
        return self._attempts

    # ---- for its caller

    def cancel(self) -> None:
        """Asks for its end; the reply still comes. It is passed over where the call has ended."""
        if self.is_over or self.is_cancelled:
            return
        self.is_cancelled = True
        if self.children:
            for child in list(self.children):
                child.cancel()
        if (attempt := self._attempt) is not None:
            self._await_cancellation()
            self.cancelling("REQUESTED")
            if attempt.sending is not None and not self.is_over:
                attempt.sending.cancel()
            return
        if self._safeguard is not None and self._safeguard.cancel():
            self._await_cancellation()
            return
        if self.queue is not None:
            self.pool.leave(self)
        may_run = self._safeguard is not None and self._safeguard.may_have_run
        self._end_cancelled("REQUESTED" if may_run else "STOPPED", self.waited())

    def gone(self) -> None:
        """Hears that the caller went away: the call is cancelled, and nobody hears of it any more.

        The effect of a step goes on: its run goes on too, and the next scheduler process asks what came of it.
        """
        self.is_orphan = True
        self.reply = NOBODY
        if self._safeguard is not None:
            is_asked_after = self.request.step is not None and not self.function.streaming
            if is_asked_after or self._safeguard.is_followed:
                return
        self.cancel()

    def grant(self, size: int) -> None:
        """Makes room for so many bytes more of items."""
        attempt = self._attempt
        if attempt is not None and attempt.sending is not None:
            attempt.sending.grant(size)

    # ---- for the engine

    def refuse(self, error: ParadeError) -> None:
        """Ends a call that was not begun."""
        self.deliver(self.located(error, ""), self.waited())

    def begin(self, pool: Pool, function: Function, limit: float, whose: str, parent: "Job | None", now: float) -> None:
        """Takes what the engine has found out, and begins.

        Args:
            pool: The agent's instances.
            function: What is called.
            limit: Seconds from its arrival until it must have ended.
            whose: Whose limit that is, for people.
            parent: The call that it is a part of.
            now: The time.
        """
        request, parts = self.request, self.parts
        step, call_id, namespace = request.step, request.call_id, request.namespace
        run_id, name = (request.run_id, "") if step is None else (step.run_id, step.step)
        self.pool, self.function = pool, function
        self._limit, self._whose = limit, whose
        self.deadline = deadline = self.arrived + limit
        self.call = Call(
            call_id, request.function, request.arguments, namespace, request.principal, run_id, name, request.window, request.traceparent
        )
        if request.secrets:
            self.call.secrets = request.secrets
        self.call.scope = request.scope
        if parent is not None and parent.is_cancelled:
            self.refuse(refusal.cancelled(request))
            return
        if limit <= 0:
            self.refuse(refusal.expired(request, limit, whose, sent=request.redelivered))
            return
        pool.room.taken += 1
        self._expires = expires = deadline + GRACE
        parts.deadlines.add(expires, self)
        self._key = key = (namespace, call_id)
        parts.jobs[key] = self
        if parent is not None:
            self._parent = parent
            if parent.children is None:
                parent.children = set()
            parent.children.add(self)
        pool.budget.called()
        if function.effect is not _EFFECT:
            self._seek(now)
        else:
            self._safeguard = Safeguard(parts, self)
            self._safeguard.begin()

    # ---- for the pool

    def seek(self) -> None:
        """Seeks an instance; where all are full the call waits."""
        if not self.is_over:
            self._seek(self.parts.now())

    def _seek(self, now: float) -> None:
        if now >= self.deadline:
            self.expired()
            return
        try:
            member = self.pool.take(self)
        except ParadeError as error:
            if self._loss is not None and error.reason is Reason.NO_CAPACITY:
                error = refusal.none_left(self.request, self._loss)
            self.end(self.located(error, ""), self.waited())
            return
        if member is not None:
            self.give(member, now)

    def give(self, member: Member, now: float) -> None:
        """Gives the call to an instance, which has it counted already."""
        attempt = self._attempt = Attempt(self, member, now)
        member.running.add(attempt)
        self._attempts += 1
        if self._safeguard is not None:
            self._safeguard.given(member.id)
        try:
            attempt.sending = self.parts.reach.send(member.instance, self.call, self.deadline, attempt)
        except ParadeError as error:
            attempt.unsent(error)
            return
        if self.request.window:
            self.reply.assigned(self.request.call_id, member.id)

    def expired(self) -> None:
        """Ends the call at its deadline. Those that are a part of it have none that is later."""
        if self.is_over:
            return
        attempt = self._attempt
        if attempt is not None:
            timing = attempt.expire(keep=self._safeguard is not None)
            self._attempt = None
            if self.is_cancelled:
                self._end_cancelled(self._cancellation or "REQUESTED", timing, is_certain=False)
                return
            self._cancellation = self._cancellation or "REQUESTED"
            error = refusal.expired(self.request, self._limit, self._whose)
            self._end(self.located(error, attempt.member.id), timing, is_certain=False)
        elif self._safeguard is None or not self._safeguard.expire():
            sent = self._attempts > 0 or self.request.redelivered if self._safeguard is None else self._safeguard.may_have_run
            error = refusal.expired(self.request, self._limit, self._whose, sent=sent, waited=self.queue is not None)
            self.pool.leave(self)
            self._end(self.located(error, ""), self.waited(), is_certain=True)

    # ---- for its attempt

    def failed(self, error: ParadeError, timing: Timing) -> None:
        """Takes what the instance answered instead of a result, and tries again where that is worth it."""
        self._attempt = None
        if error.reason is Reason.NO_CAPACITY and not self.passed_on:
            if self._safeguard is not None:
                self._safeguard.not_run()
            if self.is_cancelled:
                self._end_cancelled("STOPPED", timing)
                return
            self._refusals += 1
            if self._refusals < self._policy.max_attempts:
                self.seek()
                return
        elif error.reason is Reason.AGENT_ERROR and self._tries_again(error):
            return
        self.end(error, timing)

    def lost(self, member: Member, message: str, sent: bool, timing: Timing) -> None:  # noqa: FBT001 - as the port has it
        """Takes in that the instance went away, and finds another where the function may run again."""
        self._attempt = None
        if self._safeguard is not None:
            if sent:
                self._safeguard.lost(member, message)
                return
            self._safeguard.not_run()
        if self.is_cancelled:
            self._end_cancelled("STOPPED" if not sent else self._cancellation or "REQUESTED", timing)
        elif self.passed_on:
            self.end(self.located(refusal.lost_after_items(member.id, message), member.id), timing)
        elif self._attempts >= self._policy.max_attempts:
            self.end(self.located(refusal.lost_too_often(self.request, self._attempts, message), member.id), timing)
        else:
            self._loss = message
            if self.tried is None:
                self.tried = set()
            self.tried.add(member.id)
            self.seek()

    def progressed(self, progress: Progress) -> None:
        """Passes on how far the function has come."""
        if self.request.window:
            self.reply.progressed(Progress(progress.fraction, masked(progress.message, self.request.secrets)))

    def cancelling(self, state: str) -> None:
        """Takes in how far the cancellation has come, and passes it on."""
        self._cancellation = state
        if state == "ACKNOWLEDGED" and self.is_cancelled:
            self._expire_at(self.deadline + GRACE)
        if self.request.window:
            self.reply.cancelling(state)

    def heard_late(self, member: Member, outcome: Outcome | None) -> None:
        """Takes the last word of an instance that came after the call's end; None where the instance was lost."""
        if self._safeguard is not None:
            self._safeguard.heard_late(member, outcome)

    def waited(self) -> Timing:
        """Returns where the time went of a call that no instance has."""
        return Timing(queued=self.parts.now() - self.arrived)

    def located(self, error: ParadeError, instance_id: str) -> ParadeError:
        """Returns an error with what is known of the call, and without its secrets: every error that becomes of a call passes here."""
        return refusal.located(masked_error(error, self.request.secrets), self.request, instance_id, self._attempts, self._cancellation)

    # ---- its end

    def end(self, outcome: Outcome, timing: Timing) -> None:
        """Ends the call with what is known of it for certain."""
        self._attempt = None
        if self._safeguard is None:
            self.deliver(outcome, timing)
        else:
            self._safeguard.end(outcome, timing, is_certain=True)

    def deliver(self, outcome: Outcome, timing: Timing) -> None:
        """Tells its caller, once and last."""
        if self.is_over:
            return
        self.is_over = True
        if self._expires:
            parts, key = self.parts, self._key
            parts.deadlines.remove(self._expires, self)
            self.pool.room.taken -= 1
            if parts.jobs.get(key) is self:
                del parts.jobs[key]
        if self._parent is not None and self._parent.children is not None:
            self._parent.children.discard(self)
        if self.interceptors:
            tell(self.interceptors, self.request, outcome)
        if isinstance(outcome, Answer):
            self.reply.answered(outcome)
        else:
            self.reply.failed(outcome, timing)

    def _end(self, outcome: Outcome, timing: Timing, *, is_certain: bool) -> None:
        self._attempt = None
        if self._safeguard is None:
            self.deliver(outcome, timing)
        else:
            self._safeguard.end(outcome, timing, is_certain=is_certain)

    def _end_cancelled(self, state: str, timing: Timing, *, is_certain: bool = True) -> None:
        self._cancellation = state
        self._end(self.located(refusal.cancelled(self.request), ""), timing, is_certain=is_certain)

    # ---- within

    @property
    def _policy(self) -> RetryPolicy:
        return self.function.retry or _NO_POLICY

    def _tries_again(self, error: ParadeError) -> bool:
        policy = self.function.retry
        if policy is None or not error.retryable or self._safeguard is not None or self.passed_on or self.is_cancelled:
            return False
        if self._attempts >= policy.max_attempts:
            return False
        longest = min(policy.initial_backoff * policy.multiplier ** (self._attempts - 1), policy.max_backoff)
        pause = longest * (0.5 + 0.5 * self.parts.chance())
        if self.parts.now() + pause >= self.deadline or not self.pool.budget.spend():
            return False
        self.parts.later(pause, self.seek)
        return True

    def _await_cancellation(self) -> None:
        self._expire_at(min(self._expires, self.parts.now() + CANCEL_TIMEOUT))

    def _expire_at(self, when: float) -> None:
        if self.is_over or when == self._expires:
            return
        self.parts.deadlines.remove(self._expires, self)
        self._expires = when
        self.parts.deadlines.add(when, self)
