"""How a call is made now: it is checked, given to an instance, tried again or refused, and ends once. It knows no wire, no workflow."""

import math
from functools import partial

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind
from parade_chassis.ids import Ids
from parade_chassis.policies import Decision
from parade_dispatcher import refusal
from parade_dispatcher.approval import Approval, outdated
from parade_dispatcher.job import Job
from parade_dispatcher.model import Function, Request
from parade_dispatcher.parts import Parts
from parade_dispatcher.pool import Pool
from parade_dispatcher.ports import Reply

FIRST_PICTURE_TIMEOUT = 5.0
"""Seconds that a call waits, after the start, until it is known who exists."""


class Engine:
    """Makes calls. Everything happens in the event loop, one thing at a time, and nothing waits."""

    def __init__(self, parts: Parts, ids: Ids) -> None:
        """Takes its parts, and what names the calls that come without a name."""
        self._parts = parts
        self._ids = ids

    def begin(self, request: Request, reply: Reply) -> Job:
        """Makes a call. It never raises: what goes wrong goes to `reply`, maybe before this returns.

        Args:
            request: What the caller asks for. It belongs to the call from now on.
            reply: Who hears what comes of it, as the contract of `DispatcherService.Call` says.
        """
        parts = self._parts
        if not request.call_id:
            request.call_id = self._ids.new("call")
        job = Job(parts, request, reply, parts.now())
        if request.mandate or request.functions:
            try:
                parts.mandates.accept(request)
            except ParadeError as error:
                job.refuse(error)
                return job
        if parts.interceptors and not self._intercepted(job):
            return job
        if parts.pools.is_synced:
            self._start(job, job.arrived)
        else:
            self._wait_for_picture(job)
        return job

    def check(self, request: Request) -> tuple[Function, float]:
        """Returns the function that a call is of, where the call can be made, and the seconds that it may wait for an approval at most.

        Raises:
            ParadeError: UNAVAILABLE where it is not known yet who exists; otherwise what `begin` would answer at once.
        """
        if not self._parts.pools.is_synced:
            raise refusal.not_synced()
        if request.mandate or request.functions:
            self._parts.mandates.accept(request)
        pool, function = self._found(request)
        if function.durable:
            raise refusal.durable(request)
        self._parts.schemas.check_arguments(function.arguments_schema, request.arguments)
        demand = self._parts.gate.demand(request, pool, function)
        return function, 0.0 if demand is None else self._parts.approvals.lifetime

    def _start_late(self, job: Job) -> None:
        if not job.is_over:
            self._start(job, self._parts.now())

    def _wait_for_approval(self, job: Job, demand: Decision, deadline: float, parent: Job | None) -> None:
        if parent is not None:
            if parent.is_cancelled:
                job.refuse(refusal.cancelled(job.request))
                return
            if parent.children is None:
                parent.children = set()
            parent.children.add(job)
        self._parts.approvals.wait(job, demand, deadline, partial(self._go_on, job))

    def _go_on(self, job: Job, approval: Approval) -> None:
        """Makes a call that has waited for its approval: all else is looked at again, for much may have changed meanwhile."""
        if not job.is_over:
            self._start(job, self._parts.now(), approval)

    def _check_approval(self, request: Request, demand: Decision | None, approval: Approval) -> None:
        """Raises where an approval is not enough any more, or whom the call is for may call nothing any more."""
        self._parts.gate.still(request)
        if demand is not None and approval.approver < demand.approver:
            raise outdated(approval, demand)

    def _start(self, job: Job, now: float, approval: Approval | None = None) -> None:
        request = job.request
        try:
            pool, function = self._found(request)
            if function.streaming and not request.window:
                raise refusal.streams(request)
            if request.step is not None:
                self._check_step(request, function)
            elif function.durable:
                raise refusal.durable(request)
            self._parts.schemas.check_arguments(function.arguments_schema, request.arguments)
            demand = self._parts.gate.demand(request, pool, function)
            if approval is not None:
                self._check_approval(request, demand, approval)
                demand = None
        except ParadeError as error:
            job.refuse(error)
            return
        limit, whose = function.timeout, "the function's own limit"
        if approval is not None:
            limit, whose = limit + now - job.arrived, "the function's own limit after its approval"
        elif demand is not None:
            limit = math.inf  # while it waits, its function's time does not pass
        if request.timeout is not None and request.timeout < limit:
            limit, whose = request.timeout, "the caller's limit"
        parent = None
        if request.parent_call_id:
            parent = self._parts.jobs.get((request.namespace, request.parent_call_id))
            if parent is not None and parent.deadline < job.arrived + limit:
                limit, whose = parent.deadline - job.arrived, "the limit of the call that it is a part of"
        if demand is None:
            job.begin(pool, function, limit, whose, parent, now)
        else:
            self._wait_for_approval(job, demand, job.arrived + limit, parent)

    def _found(self, request: Request) -> tuple[Pool, Function]:
        pools = self._parts.pools
        pool = pools.pool(request.namespace, request.agent)
        agent = pool.agent if pool is not None else None
        if pool is not None and agent is not None:
            function = agent.functions.get(request.function)
            if function is not None:
                if pool.room.taken >= pool.room.limit:
                    raise pool.room.full()
                return pool, function
        raise refusal.unknown_function(request, agent, pools.functions(request.namespace))

    def _check_step(self, request: Request, function: Function) -> None:
        step = request.step
        if request.caller.kind is not Kind.SCHEDULER:
            raise refusal.not_a_scheduler(request)
        if function.durable and not request.affinity_key:
            raise refusal.durable(request)  # a turn goes where the run's turns before it went; this is the call of somebody's step
        # Without a key from its caller nothing can have been written of the earlier call under the same name.
        unnamed = not request.idempotency_key and not request.redelivered
        if step is not None and step.redelivered and unnamed and not function.effect.repeatable:
            raise refusal.step_redelivered(request)

    def _intercepted(self, job: Job) -> bool:
        """Shows a call to the interceptors. Returns whether it goes on."""
        for number, interceptor in enumerate(self._parts.interceptors):
            try:
                interceptor.before(job.request)
            except Exception as error:  # noqa: BLE001 - a fault in a package that was added must not end the session of all calls
                job.interceptors = self._parts.interceptors[:number]
                job.refuse(error if isinstance(error, ParadeError) else _unexpected(interceptor, error))
                return False
        job.interceptors = self._parts.interceptors
        job.priority = job.request.priority
        return True

    def _wait_for_picture(self, job: Job) -> None:
        timeout = job.request.timeout
        limit = FIRST_PICTURE_TIMEOUT if timeout is None else min(FIRST_PICTURE_TIMEOUT, timeout)
        self._parts.pools.when_synced(partial(self._start_late, job))
        self._parts.later(limit, partial(self._give_up_waiting, job))

    def _give_up_waiting(self, job: Job) -> None:
        if not job.is_over and not self._parts.pools.is_synced:
            job.refuse(refusal.not_synced())


def _unexpected(interceptor: object, error: Exception) -> ParadeError:
    name = type(interceptor).__name__
    return ParadeError(Reason.INTERNAL, f"the interceptor {name} failed: {type(error).__name__}: {error}")
