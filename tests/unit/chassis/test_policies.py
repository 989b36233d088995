"""What a process decides by the policies that it has been told of."""

import subprocess
import sys
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_chassis import policies as module
from parade_chassis.policies import ALLOWED, Decision, Effect, Policies, PolicyText, Resource, labels_of, refused

ANA = Identity.client("ana").uri
PAY = Resource("Function", "payments.pay", labels_of({"money": "yes", "team": "red"}), "EFFECT")
FORBID = "forbid (principal, action, resource);"


def told(*texts: str, namespace: str = "default", version: int = 1) -> Policies:
    policies = Policies()
    policies.replace(PolicyText(namespace, f"p{number}", version, text) for number, text in enumerate(texts, 1))
    return policies


def decided(
    policies: Policies,
    principal: str = ANA,
    role: Role = Role.DEVELOPER,
    action: str = "call",
    resource: Resource = PAY,
    actors: tuple[str, ...] = (),
    namespace: str = "default",
) -> Decision:
    return policies.decide(namespace, principal, role, action, resource, actors)


def calls(condition: str) -> str:
    return f'forbid (principal, action == Parade::Action::"call", resource) when {{ {condition} }};'


def test_nothing_is_decided_before_a_process_has_been_told() -> None:
    policies = Policies()

    with pytest.raises(ParadeError) as error:
        decided(policies)

    assert (error.value.reason, error.value.retryable) == (Reason.UNAVAILABLE, True)
    policies.replace([])
    assert decided(policies) is ALLOWED


def test_what_is_said_before_the_first_whole_picture_forbids_already() -> None:
    policies = Policies()
    policies.put(PolicyText("default", "p", 1, FORBID))

    assert decided(policies).effect is Effect.DENY


def test_a_policy_holds_in_its_namespace_alone() -> None:
    policies = told(FORBID, namespace="sales")

    assert decided(policies) is ALLOWED
    assert decided(policies, namespace="sales") == Decision(Effect.DENY, ("p1@1#1",))


def test_the_rules_that_decided_are_named_by_policy_version_and_id() -> None:
    policies = told(f'@id("nobody") {FORBID} {calls("false")}', f"{FORBID} {FORBID}", version=3)

    assert decided(policies) == Decision(Effect.DENY, ("p1@3#nobody", "p2@3#1", "p2@3#2"))


@pytest.mark.parametrize(
    ("condition", "effect"),
    [
        ('resource.labels.contains("money")', Effect.DENY),
        ('resource.labels.contains("money=yes")', Effect.DENY),
        ('resource.labels.contains("money=no")', Effect.ALLOW),
        ('resource.agent == "payments"', Effect.DENY),
        ('resource.name == "pay"', Effect.DENY),
        ('resource.name == "payments.pay"', Effect.ALLOW),
        ('resource == Parade::Function::"payments.pay"', Effect.DENY),
        ('resource.effect == Parade::Effect::"effect"', Effect.DENY),
        ('principal == Parade::Client::"ana"', Effect.DENY),
        ('principal == Parade::Client::"bob"', Effect.ALLOW),
        ("principal is Parade::Key", Effect.ALLOW),
        ('principal in Parade::Role::"viewer"', Effect.DENY),
        ('principal in Parade::Role::"developer"', Effect.DENY),
        ('principal in Parade::Role::"operator"', Effect.ALLOW),
        ('context.namespace == "default"', Effect.DENY),
        ('context.actors.contains(Parade::Agent::"browser")', Effect.DENY),
        ('context.actors.contains(Parade::Agent::"cleaner")', Effect.ALLOW),
    ],
)
def test_a_rule_sees_who_asks_with_which_role_for_what_and_who_acts(condition: str, effect: Effect) -> None:
    actors = ("spiffe://parade.local/ns/default/agent/browser",)

    assert decided(told(calls(condition)), actors=actors).effect is effect


@pytest.mark.parametrize(
    ("principal", "named"),
    [
        (ANA, 'Client::"ana"'),
        (Identity.client("ana", "sales").uri, 'Client::"spiffe://parade.local/ns/sales/client/ana"'),
        ("key:4fJk29sLq0", 'Key::"4fJk29sLq0"'),
        ("oidc:https://id.example#42", 'Person::"https://id.example#42"'),
        (Identity.agent("browser", "i-1").uri, 'Agent::"browser"'),
        ("spiffe://parade.local/ns/default/agent/browser", 'Agent::"browser"'),
        (Identity.agent("browser", "i-1", "sales").uri, 'Agent::"spiffe://parade.local/ns/sales/agent/browser"'),
        (Identity.service("scheduler").uri, 'Service::"scheduler"'),
    ],
)
def test_somebody_is_known_by_one_name(principal: str, named: str) -> None:
    policies = told(f"forbid (principal == Parade::{named}, action, resource);")

    assert decided(policies, principal).effect is Effect.DENY
    assert decided(policies, Identity.client("other").uri) is ALLOWED


@pytest.mark.parametrize(
    ("principal", "actors"),
    [("", ()), ("ana", ()), ("spiffe://parade.local/elsewhere", ()), (ANA, ("",)), (ANA, (Identity.client("bob").uri,))],
)
def test_who_is_not_known_is_denied_where_there_are_policies(principal: str, actors: tuple[str, ...]) -> None:
    decision = decided(told(calls("false")), principal, actors=actors)

    assert (decision.effect, decision.rules) == (Effect.DENY, ())
    assert "not known" in decision.fault


def test_an_approval_makes_good_for_the_rules_that_say_so_alone() -> None:
    by_operator = '@id("big") @approval("operator") ' + calls('resource.labels.contains("money")')
    by_admin = '@approval("admin") ' + calls('resource.name == "pay"')

    assert decided(told(by_operator)) == Decision(Effect.APPROVAL, ("p1@1#big",), Role.OPERATOR)
    assert decided(told(by_operator, by_admin)) == Decision(Effect.APPROVAL, ("p1@1#big", "p2@1#1"), Role.ADMIN)
    assert decided(told(by_operator, FORBID)) == Decision(Effect.DENY, ("p2@1#1",))
    assert decided(told(by_operator), resource=Resource("Function", "payments.list")) is ALLOWED


def test_a_rule_that_fails_denies() -> None:
    # The engine itself passes over such a rule.
    decision = decided(told(calls("9223372036854775807 + 1 == 0")))

    assert (decision.effect, decision.rules) == (Effect.DENY, ())
    assert "overflow" in decision.fault


def test_a_policy_that_cannot_be_read_denies_everything_in_its_namespace() -> None:
    policies = told(calls("false"), "forbid in a later version's words;")

    decision = decided(policies)

    assert decision.effect is Effect.DENY
    assert "p2@1 cannot be read" in decision.fault


@pytest.mark.parametrize(("action", "type"), [("call", "Workflow"), ("start", "Function"), ("fly", "Function"), ("read", "Secret")])
def test_what_the_schema_does_not_know_is_denied(action: str, type: str) -> None:
    decision = decided(told(calls("false")), action=action, resource=Resource(type, "x.y"))

    assert decision.effect is Effect.DENY
    assert decision.fault


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("start", Resource("Workflow", "nightly")),
        ("publish", Resource("Topic", "orders/new")),
        ("read", Resource("Artifact", "")),
        ("write", Resource("Artifact", 'sha256:"\\\n')),
    ],
)
def test_every_action_can_be_forbidden(action: str, resource: Resource) -> None:
    forbidden = told(f'forbid (principal, action == Parade::Action::"{action}", resource);')

    assert decided(forbidden, action=action, resource=resource).effect is Effect.DENY
    assert decided(told(calls("true")), action=action, resource=resource) is ALLOWED


def test_what_was_decided_before_a_change_is_decided_anew_after_it() -> None:
    policies = told(calls("false"))
    first = policies.epoch
    assert decided(policies) is ALLOWED

    policies.put(PolicyText("default", "p1", 2, FORBID))
    denied, second = decided(policies), policies.epoch
    policies.put(PolicyText("default", "p1", 3, ""))

    assert denied == Decision(Effect.DENY, ("p1@2#1",))
    assert decided(policies) is ALLOWED
    assert first < second < policies.epoch
    assert policies.of("default") == {}


def test_a_new_picture_takes_the_place_of_the_old_one() -> None:
    policies = told(FORBID)
    assert decided(policies).effect is Effect.DENY

    policies.replace([PolicyText("sales", "p", 1, FORBID)])

    assert decided(policies) is ALLOWED
    assert decided(policies, namespace="sales").effect is Effect.DENY


def test_a_question_is_tried_once_and_no_two_questions_share_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from parade_chassis import cedar

    tried: list[object] = []
    real = cedar.RuleSet.decide

    def noted(self: cedar.RuleSet, *asked: Any) -> Decision:
        tried.append(asked)
        return real(self, *asked)

    monkeypatch.setattr(cedar.RuleSet, "decide", noted)
    policies = told(calls("false"))

    for _ in range(3):
        decided(policies)
        decided(policies, role=Role.ADMIN)
        decided(policies, resource=Resource("Function", "payments.pay", PAY.labels, "pure"))
        decided(policies, actors=("spiffe://parade.local/ns/default/agent/browser",))

    assert len(tried) == 4


def test_a_namespace_keeps_a_bounded_number_of_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DECISIONS", 10)
    policies = told(calls('principal == Parade::Client::"c7"'))

    for number in range(25):
        decision = decided(policies, Identity.client(f"c{number}").uri)
        assert decision.effect is (Effect.DENY if number == 7 else Effect.ALLOW)

    assert len(policies._places["default"]._decided) <= 10


def test_the_engine_is_not_loaded_before_something_is_decided_by_rules() -> None:
    program = """
import sys
from parade.wire.roles import Role
from parade_chassis.policies import Policies, PolicyText, Resource
policies = Policies()
policies.replace([PolicyText("sales", "p", 1, "forbid (principal, action, resource);")])
policies.decide("default", "key:1", Role.ADMIN, "call", Resource("Function", "a.b"))
assert "cedarpy" not in sys.modules
policies.decide("sales", "key:1", Role.ADMIN, "call", Resource("Function", "a.b"))
assert "cedarpy" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        (Decision(Effect.DENY, ("p@1#a", "q@2#1")), "forbidden by p@1#a, q@2#1"),
        (Decision(Effect.APPROVAL, ("p@1#a",), Role.ADMIN), "forbidden without an approval by p@1#a, and only a call can wait for one"),
        (Decision(Effect.DENY, fault="overflow"), "cannot be evaluated, and so forbid it: overflow"),
    ],
)
def test_who_is_refused_is_told_by_which_rule_and_how_to_learn_more(decision: Decision, says: str) -> None:
    error = refused(ANA, "call", PAY, decision)

    assert error.reason is Reason.PERMISSION_DENIED
    assert says in error.message
    assert f"`parade policy why {ANA} call payments.pay`" in error.message
    assert error.metadata == ({"rules": ", ".join(decision.rules)} if decision.rules else {})
