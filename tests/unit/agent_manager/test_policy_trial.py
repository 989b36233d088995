"""What policies are tried by: questions about anybody, and cases with what was expected."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from parade.v1 import access_pb2, dispatcher_pb2, gateway_pb2, scheduler_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.role_numbers import role_of
from parade.wire.roles import Role
from parade_agent_manager.model import Agent, AgentState, Instance, InstanceState
from parade_agent_manager.model import Effect as FunctionEffect
from parade_agent_manager.policy_trial import NEEDED, Answer, Case, PolicyTrial, Question
from parade_agent_manager.registry import Registry
from parade_agent_manager.waits import Waits
from parade_chassis.policies import ACTIONS, Effect, PolicyText
from tests.support.registrations import function, registration

ANA = Identity.client("ana").uri
BIG = """
@id("big") @approval("operator")
forbid (principal, action == Parade::Action::"call", resource) when { resource.labels.contains("money") };
"""
NEVER = """
@id("never")
forbid (principal, action == Parade::Action::"call", resource) when { resource.effect == Parade::Effect::"effect" };
"""
STORED = {"payments": PolicyText("default", "payments", 4, BIG)}
CALL = Question(ANA, None, "call", "payments.pay")


def registry_of(*labels: Mapping[str, str]) -> Registry:
    registry = Registry(10, Waits())
    pay = function("pay", effect=FunctionEffect.EFFECT)
    registry.put_agent(Agent("default", "payments", AgentState.ACTIVE, (pay,)))
    for number, some in enumerate(labels):
        now = datetime(2026, 3, 4, tzinfo=UTC)
        registry.put_instance(
            Instance(
                id=f"i-{number}",
                namespace="default",
                agent="payments",
                server_name="",
                registration=registration(functions=(pay,), labels=some),
                registered=now,
                state=InstanceState.READY,
                changed=now,
            )
        )
    return registry


def trial(*labels: Mapping[str, str], role: Role = Role.DEVELOPER, stored: Mapping[str, PolicyText] = STORED) -> PolicyTrial:
    def policies(namespace: str) -> Mapping[str, PolicyText]:
        return stored if namespace == "default" else {}

    return PolicyTrial(registry_of(*labels), policies, lambda principal, namespace: role)


async def explained(made: PolicyTrial, question: Question = CALL) -> Answer:
    return await made.explain("default", question)


async def faults(awaitable: object) -> list[str]:
    with pytest.raises(ParadeError) as error:
        await awaitable  # type: ignore[misc]
    assert error.value.reason is Reason.INVALID_ARGUMENTS
    return [fault.field for fault in error.value.violations]


async def test_what_is_not_said_of_a_function_is_looked_up() -> None:
    answer = await explained(trial({"team": "red"}, {"money": "yes"}))

    assert answer.question == replace(CALL, role=Role.DEVELOPER, labels=("money=yes", "team=red"), effect="effect")
    assert (answer.decision.effect, answer.decision.rules) == (Effect.APPROVAL, ("payments@4#big",))
    assert '@id("big")' in answer.texts[0]


async def test_what_is_said_of_a_function_is_believed() -> None:
    made = trial({"money": "yes"})

    assert (await explained(made, replace(CALL, labels=("other",)))).decision.effect is Effect.ALLOW
    assert (await explained(made, replace(CALL, effect="pure"))).decision.effect is Effect.ALLOW
    assert (await explained(made, replace(CALL, labels=("money",)))).decision.effect is Effect.APPROVAL
    assert (await explained(made, replace(CALL, resource="nobody.pays", labels=("money=no",)))).decision.effect is Effect.APPROVAL


async def test_a_role_is_the_ceiling_whatever_policies_say() -> None:
    answer = await explained(trial(role=Role.VIEWER, stored={}))
    nobody = await explained(trial(stored={}), replace(CALL, role=Role.NONE))

    assert answer.decision.effect is Effect.DENY
    assert answer.decision.fault == "it has only the role viewer, and needs developer to call"
    assert nobody.decision.fault == "it has no role, and needs developer to call"


async def test_an_agent_calls_as_developers_do() -> None:
    made, browser = trial(role=Role.NONE, stored={}), "spiffe://parade.local/ns/{}/agent/browser"

    here = await explained(made, replace(CALL, principal=browser.format("default")))
    elsewhere = await explained(made, replace(CALL, principal=browser.format("sales")))

    assert (here.question.role, elsewhere.question.role) == (Role.DEVELOPER, Role.NONE)


def test_what_an_action_demands_is_what_its_methods_demand() -> None:
    services = (dispatcher_pb2, scheduler_pb2, gateway_pb2)
    methods = {
        method.name: role_of(method.GetOptions().Extensions[access_pb2.role])
        for module in services
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    done_by = {"call": "Call", "start": "StartRun", "publish": "PublishEvent", "read": "GetArtifact", "write": "PutArtifact"}

    assert {action: methods[method] for action, method in done_by.items()} == NEEDED
    assert NEEDED.keys() == ACTIONS.keys()


async def test_a_draft_stands_in_the_place_of_the_stored_policy_beside_the_others() -> None:
    stored = {**STORED, "never": PolicyText("default", "never", 1, NEVER)}
    made = trial({"money": "yes"}, stored=stored)
    case = Case(CALL, Effect.DENY, frozenset())

    replaced = await made.test("default", "never", NEVER.replace("never", "ever").replace('"effect"', '"pure"'), [case])
    beside = await made.test("default", "other", NEVER, [case])
    alone = await made.test("default", "ignored", "", [case])

    assert [answer.decision.rules for answer in replaced] == [("payments@4#big",)]
    assert [answer.decision.rules for answer in beside] == [("never@1#never", "other@1#never")]
    assert [answer.decision.rules for answer in alone] == [("never@1#never",)]


@pytest.mark.parametrize(
    ("expected", "rules", "passes"),
    [
        (Effect.APPROVAL, (), True),
        (Effect.APPROVAL, ("payments#big",), True),
        (Effect.APPROVAL, ("payments#small",), False),
        (Effect.APPROVAL, ("payments#big", "payments#small"), False),
        (Effect.DENY, (), False),
        (Effect.ALLOW, (), False),
    ],
)
async def test_a_case_passes_where_effect_and_rules_are_the_expected(expected: Effect, rules: tuple[str, ...], *, passes: bool) -> None:
    case = Case(replace(CALL, labels=("money",)), expected, frozenset(rules))

    (answer,) = await trial().test("default", "", "", [case])

    assert case.passes(answer.decision) is passes


async def test_every_fault_of_the_cases_is_said() -> None:
    bad = [
        Case(replace(CALL, action="fly"), Effect.DENY, frozenset()),
        Case(replace(CALL, resource="pay"), Effect.DENY, frozenset()),
        Case(replace(CALL, action="start", resource=""), Effect.DENY, frozenset()),
        Case(replace(CALL, effect="none"), None, frozenset()),
        Case(replace(CALL, actors=("a",) * 65), Effect.DENY, frozenset()),
        Case(replace(CALL, principal="x" * 2000), Effect.DENY, frozenset()),
    ]

    assert await faults(trial().test("default", "", "", bad)) == [
        "cases[0].question.action",
        "cases[1].question.resource",
        "cases[2].question.resource",
        "cases[3].question.effect",
        "cases[4].question.actors",
        "cases[5].question",
        "cases[3].expected",
    ]
    assert await faults(trial().test("default", "", "", [])) == ["cases"]
    assert await faults(trial().test("default", "", "permit;", [Case(CALL, Effect.DENY, frozenset())])) == ["text"]
    assert await faults(explained(trial(), replace(CALL, action=""))) == ["question.action"]
