"""What the scheduler may still do for somebody: for who started a run days ago, put a schedule, or asks now.

A run keeps who started it and nothing of what that one was allowed then: each time that something goes out for a run it is asked anew. What
somebody may do at most, their role says; what is forbidden all the same, the policies.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_chassis.audit_decisions import Decisions
from parade_chassis.context import RequestContext
from parade_chassis.policies import Effect, Resource, refused
from parade_chassis.standing import ended, require
from parade_scheduler.decider.occurrences import NOT_SENT
from parade_scheduler.model import Run
from parade_scheduler.surroundings import Surroundings

NEWS: Final = timedelta(seconds=5)
"""How long a run may be ahead of the news that its starter was let in: another process heard of it first, and took the run in."""
LENGTH: Final = 200
"""Characters of a workflow's name; there is none with a longer one. Decisions are kept by names, and anybody may ask for anything."""
_START: Final = "/parade.v1.SchedulerService/StartRun"
"""What a denial of a step is written down as: its run goes on no more."""


class Rights:
    """What is done for whom. A look costs two dictionaries' worth."""

    def __init__(self, process: Surroundings, decisions: Decisions | None = None) -> None:
        """Takes what the process knows of principals and policies, and the time.

        Args:
            process: The process.
            decisions: Takes down whose right has ended, where there is an audit log.
        """
        self._standing = process.standing
        self._policies = process.policies
        self._clock = process.clock
        self._decisions = decisions
        self._own = Identity.service("scheduler", process.config.domain)

    @property
    def known(self) -> bool:
        """Whether anybody has said yet who may do what. Until then nothing goes out, and nobody is refused for good."""
        return self._standing.known

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called after every change; see `Standing.subscribe`."""
        return self._standing.subscribe(changed)

    def go_on(self, run: Run) -> None:
        """Holds that something may go out for a run: that who started it may still start one.

        Raises:
            ParadeError: PERMISSION_DENIED where that right has ended; UNAVAILABLE, with `not_sent`, where it may not have begun here.
        """
        held = self._standing.of(run.principal, run.namespace)
        if held >= Role.DEVELOPER:
            return
        error = ended(run.principal, run.namespace, held, Role.DEVELOPER, f"to go on with run {run.id}")
        if self._clock.now() < run.create_time + NEWS:
            raise ParadeError(Reason.UNAVAILABLE, error.message, metadata={**error.metadata, NOT_SENT: "true"})
        if self._decisions is not None:
            context = RequestContext(_START, self._own, run.namespace, run.principal)
            self._decisions.denied(_START, context, error, f"runs/{run.id}")
        raise error

    def start(self, namespace: str, principal: str, workflow: str, *, is_absent: bool) -> None:
        """Holds that a run of a workflow may be started.

        Args:
            namespace: Where.
            principal: For whom.
            workflow: Its name.
            is_absent: Whether that one has asked for it once and may have lost the right since; who asks now has shown that they may.

        Raises:
            ParadeError: PERMISSION_DENIED; UNAVAILABLE where nobody has said yet who may do what.
        """
        if is_absent:
            require(self._standing, principal, namespace, Role.DEVELOPER, f"to start runs of {workflow}")
        self._demand(namespace, principal, "start", Resource("Workflow", workflow[:LENGTH]))

    def start_child(self, parent: Run, workflow: str) -> None:
        """Holds that a run may start one of a workflow.

        Raises:
            ParadeError: PERMISSION_DENIED; UNAVAILABLE where nobody has said yet who may do what.
        """
        if not self.known:
            raise ParadeError(Reason.UNAVAILABLE, "the scheduler has not been told yet who may do what")
        self.go_on(parent)
        self._demand(parent.namespace, parent.principal, "start", Resource("Workflow", workflow))

    def publish(self, namespace: str, principal: str, type: str) -> None:
        """Holds that an event of a type may be published.

        Raises:
            ParadeError: PERMISSION_DENIED; UNAVAILABLE where nobody has said yet what policies there are.
        """
        self._demand(namespace, principal, "publish", Resource("Topic", type))

    def _demand(self, namespace: str, principal: str, action: str, resource: Resource) -> None:
        decision = self._policies.decide(namespace, principal, self._standing.of(principal, namespace), action, resource)
        if decision.effect is not Effect.ALLOW:
            raise refused(principal, action, resource, decision)
