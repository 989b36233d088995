"""What policies say of a call before it is made: that of whom it is for, and of each agent that acts for them. It decides nothing else."""

from collections.abc import Iterable

from parade.wire.roles import Role
from parade_chassis.policies import Decision, Effect, Policies, Resource, refused
from parade_chassis.standing import Standing, require
from parade_dispatcher.model import Function, Request
from parade_dispatcher.pool import Pool

CALL = "call"
"""The action that policies know calls as."""
MOST_FUNCTIONS = 10_000
"""How many functions are remembered as policies see them."""


class PolicyGate:
    """Asks the policies. Where a namespace has none, that takes two looks into dictionaries."""

    def __init__(self, policies: Policies, standing: Standing) -> None:
        """Takes the policies, and what principals may do."""
        self._policies = policies
        self._standing = standing
        self._resources: dict[tuple[str, str, str], Resource] = {}

    def demand(self, request: Request, pool: Pool, function: Function) -> Decision | None:
        """Returns what a call needs somebody's approval by; None where it can be made as it is.

        Workflows in code are started as runs, which is another action: their turns are not judged here.

        Raises:
            ParadeError: PERMISSION_DENIED where it is forbidden; UNAVAILABLE where nobody has said yet what is.
        """
        policies, namespace = self._policies, request.namespace
        if policies.known and not policies.of(namespace):
            return None
        if function.durable:
            return None
        resource = self._resource(request, pool, function)
        decisions = []
        for principal, role, actors in self._judged(request):
            decision = policies.decide(namespace, principal, role, CALL, resource, actors)
            if decision.effect is Effect.DENY:
                raise refused(principal, CALL, resource, decision)
            if decision.effect is Effect.APPROVAL:
                decisions.append(decision)
        return _joined(decisions)

    def still(self, request: Request) -> None:
        """Holds that whom a call is for may still call functions, after it has waited.

        Raises:
            ParadeError: PERMISSION_DENIED where it may not; UNAVAILABLE where nobody has said yet who may do what.
        """
        require(self._standing, request.principal, request.namespace, Role.DEVELOPER, f"to call {request.full_name}")

    def _judged(self, request: Request) -> Iterable[tuple[str, Role, tuple[str, ...]]]:
        """Yields whom policies are asked about, their roles, and who acts for them.

        Agents that call for somebody, one through the other, may do no more than they may, and no more than each may itself.
        """
        principal, actors = request.principal, request.scope.actors
        yield principal, self._standing.of(principal, request.namespace), actors
        for actor in actors:
            yield actor, Role.DEVELOPER, ()

    def _resource(self, request: Request, pool: Pool, function: Function) -> Resource:
        key, labels = (request.namespace, request.agent, request.function), pool.labels
        resource = self._resources.get(key)
        if resource is None or resource.labels is not labels or resource.effect != function.effect:
            if len(self._resources) >= MOST_FUNCTIONS:
                self._resources.clear()
            resource = self._resources[key] = Resource("Function", request.full_name, labels, function.effect)
        return resource


def _joined(decisions: list[Decision]) -> Decision | None:
    if len(decisions) < 2:
        return decisions[0] if decisions else None
    rules = dict.fromkeys(rule for decision in decisions for rule in decision.rules)
    return Decision(Effect.APPROVAL, tuple(rules), max(decision.approver for decision in decisions))
