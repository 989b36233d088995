"""What policies forbid in which namespace, as the agent_manager has told it last: asked for calls, starts, events and artifacts.

Roles say what somebody may do at most; policies only take away from it. How rules are read and tried stands in `cedar`, which is loaded
when something is decided in a namespace that has policies, and not before: it takes 11 MB.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import Role

if TYPE_CHECKING:
    from parade_chassis.cedar import RuleSet

ACTIONS: Final = {"call": "Function", "start": "Workflow", "publish": "Topic", "read": "Artifact", "write": "Artifact"}
"""What can be done, and to what."""
MOST_DECISIONS: Final = 10_000
"""How many decisions of a namespace are kept."""


class Effect(StrEnum):
    """What becomes of what somebody wants to do."""

    ALLOW = "allow"
    """No rule forbids it."""
    DENY = "deny"
    """A rule forbids it."""
    APPROVAL = "approval"
    """Rules forbid it unless a person approves of it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What something is done to."""

    type: str
    """`Function`, `Workflow`, `Topic` or `Artifact`."""
    name: str
    """Its name in the namespace; a function's is `agent.function`. Empty for an artifact that has no name yet."""
    labels: frozenset[str] = frozenset()
    """A function's labels, see `labels_of`."""
    effect: str = "effect"
    """What calling a function twice does: `pure`, `idempotent` or `effect`, in any case."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies of a namespace say."""

    effect: Effect
    rules: tuple[str, ...] = ()
    """The rules that decided, `policy@version#rule`."""
    approver: Role = Role.NONE
    """The role of the person who must approve, where the effect is APPROVAL."""
    fault: str = ""
    """Why it is denied where no rule says so: what could not be evaluated."""


ALLOWED: Final = Decision(Effect.ALLOW)


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A policy as it is passed on."""

    namespace: str
    name: str
    version: int
    text: str
    """Its rules; empty where there is no such policy any more."""


class Policies:
    """The policies that a process knows. Until it has been told it decides nothing, and says so."""

    def __init__(self) -> None:
        """Knows of none."""
        self.known = False
        """Whether a whole picture has come. Afterwards the last one stands, whoever is away."""
        self.epoch = 0
        """Counts the changes: what was decided at another epoch may be decided otherwise now."""
        self._places: dict[str, _Place] = {}
        """The namespaces that have policies."""

    def decide(self, namespace: str, principal: str, role: Role, action: str, resource: Resource, actors: tuple[str, ...] = ()) -> Decision:
        """Returns what the policies of a namespace say to what somebody wants to do. It is cheap to ask again, and where there are none.

        What cannot be evaluated is denied.

        Args:
            namespace: Where.
            principal: Who: a SPIFFE id, that of an agent with its instance or without; `key:<id>`; `oidc:<issuer>#<subject>`.
            role: What it may do there at most; for rules that name roles. Nobody is refused here for want of a role.
            action: `call`, `start`, `publish`, `read` or `write`.
            resource: What with.
            actors: The SPIFFE ids of the agents that act for it, where some do.

        Raises:
            ParadeError: UNAVAILABLE where this process has never been told of policies.
        """
        place = self._places.get(namespace)
        if place is None:
            if not self.known:
                raise ParadeError(Reason.UNAVAILABLE, "this service has not been told yet which policies there are; try again")
            return ALLOWED
        return place.decide((principal, role, action, resource, actors))

    def replace(self, picture: Iterable[PolicyText]) -> None:
        """Puts a whole picture in place of what was known."""
        texts: dict[str, dict[str, PolicyText]] = {}
        for policy in picture:
            texts.setdefault(policy.namespace, {})[policy.name] = policy
        # A picture comes whenever a watch begins anew, mostly the one that was known: what is as it was keeps its decisions.
        before, self._places = self._places, {}
        for namespace, policies in texts.items():
            there = before.get(namespace)
            self._places[namespace] = there if there is not None and there.policies == policies else _Place(namespace, policies)
        self.known = True
        self.epoch += 1

    def put(self, policy: PolicyText) -> None:
        """Takes up one change."""
        there = self._places.get(policy.namespace)
        policies = {} if there is None else dict(there.policies)
        policies.pop(policy.name, None)
        if policy.text:
            policies[policy.name] = policy
        if policies:
            self._places[policy.namespace] = _Place(policy.namespace, policies)
        else:
            self._places.pop(policy.namespace, None)
        self.epoch += 1

    def of(self, namespace: str) -> Mapping[str, PolicyText]:
        """Returns the policies of a namespace by name."""
        place = self._places.get(namespace)
        return {} if place is None else place.policies


_Asked = tuple[str, Role, str, Resource, tuple[str, ...]]
"""Everything that is decided on, within a namespace."""


class _Place:
    """A namespace with policies: a change of them makes another, so that nothing is kept that was decided before."""

    def __init__(self, namespace: str, policies: Mapping[str, PolicyText]) -> None:
        self.policies = policies
        self._namespace = namespace
        self._rules: RuleSet | None = None
        self._decided: dict[_Asked, Decision] = {}

    def decide(self, asked: _Asked) -> Decision:
        decision = self._decided.get(asked)
        if decision is None:
            if self._rules is None:
                # Loaded here: most services never decide anything in a namespace with policies.
                from parade_chassis.cedar import RuleSet

                self._rules = RuleSet(self.policies.values())
            decision = self._rules.decide(self._namespace, *asked)
            if len(self._decided) >= MOST_DECISIONS:
                self._decided.clear()
            self._decided[asked] = decision
        return decision


def labels_of(*labels: Mapping[str, str]) -> frozenset[str]:
    """Returns labels as rules see them: `key` and `key=value` of each.

    Args:
        labels: Those of every instance of an agent: what holds for one of them holds for its functions.
    """
    return frozenset(text for some in labels for key, value in some.items() for text in (key, f"{key}={value}"))


def refused(principal: str, action: str, resource: Resource, decision: Decision) -> ParadeError:
    """Makes the error for what policies forbid, with the rules that do and how to learn more.

    Args:
        principal: Who wanted it.
        action: What.
        resource: What with.
        decision: What was decided: DENY, or APPROVAL of what nobody can approve.
    """
    name = resource.name or "artifacts"
    rules = ", ".join(decision.rules)
    if decision.fault:
        because = f"its namespace's policies cannot be evaluated, and so forbid it: {decision.fault}"
    elif decision.effect is Effect.APPROVAL:
        because = f"forbidden without an approval by {rules}, and only a call can wait for one"
    else:
        because = f"forbidden by {rules}"
    return ParadeError(
        Reason.PERMISSION_DENIED,
        f"{principal} may not {action} {name}: {because}. `parade policy why {principal} {action} {name}` says more",
        metadata={"rules": rules} if rules else None,
    )
