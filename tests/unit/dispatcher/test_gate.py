"""What policies are asked about a call, and what follows from their answers."""

from pathlib import Path
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.mandate import Scope, holder_of
from parade.wire.revocations import Revocations
from parade.wire.roles import Role
from parade_chassis.cedar import checked_rules
from parade_chassis.grants import Granted, Grants
from parade_chassis.policies import Decision, Policies, PolicyText
from parade_chassis.quotas import Quotas
from parade_chassis.standing import LivingKey, Standing
from parade_dispatcher.balancer import LeastOutstanding
from parade_dispatcher.gate import PolicyGate
from parade_dispatcher.model import Effect, Function, Instance, Request
from parade_dispatcher.pool import Pool
from parade_dispatcher.quotas import CallLimits, Room
from tests.support.commands import blocks
from tests.unit.dispatcher.engine_world import chance

PAGES = Path(__file__).parents[3] / "docs" / "how-to"

CLIENT = Identity.client("ada")
AGENT = Identity.agent("broker", "i1")
ADMIN = Identity.client("admin").uri
THROUGH = Scope(actors=(holder_of(AGENT),))
"""Of a call that the broker makes for somebody."""
CALL = 'action == Parade::Action::"call"'
THROUGH_THE_BROKER = f'forbid (principal, {CALL}, resource) when {{ context.actors.contains(Parade::Agent::"broker") }};'


def gate(*texts: str) -> PolicyGate:
    policies = Policies()
    policies.replace(PolicyText("default", f"p{number}", 1, text) for number, text in enumerate(texts))
    return PolicyGate(policies, standing())


def standing() -> Standing:
    grants = Grants()
    grants.replace([Granted(CLIENT.uri, "default", Role.DEVELOPER), Granted(ADMIN, "default", Role.ADMIN)])
    known = Standing(grants, Revocations(), "parade.local", lambda: 0.0)
    known.put_key(LivingKey("0123456789", "default", Role.OPERATOR, ADMIN, 1.0))
    return known


def pool(**labels: dict[str, str]) -> Pool:
    room = Room("default", Quotas("dispatcher", {}, CallLimits()))
    pool = Pool(LeastOutstanding(chance().random), lambda: 0.0, lambda seconds, callback: None, room)
    for id, some in labels.items():
        pool.put(Instance(id, "default", "shop", "127.0.0.1:1", f"{id}.test", labels=some), new=False)
    return pool


def request(**fields: Any) -> Request:
    fields = {"caller": CLIENT, "principal": CLIENT.uri, "namespace": "default", **fields}
    return Request("shop", "pay", b"{}", **fields)


def said(judge: PolicyGate, asked: Request, where: Pool | None = None, **fields: Any) -> Decision | str | None:
    """Returns what a call needs, or the rules that forbid it."""
    try:
        return judge.demand(asked, where or pool(), Function("pay", **fields))
    except ParadeError as error:
        return error.metadata["rules"] if error.reason is Reason.PERMISSION_DENIED else error.message


def test_without_policies_every_call_is_made() -> None:
    assert said(gate(), request()) is None


def test_nothing_is_decided_before_policies_are_known() -> None:
    unknowing = PolicyGate(Policies(), standing())

    with pytest.raises(ParadeError) as caught:
        unknowing.demand(request(), pool(), Function("pay"))

    assert caught.value.reason is Reason.UNAVAILABLE


def test_the_policies_of_another_namespace_are_not_asked() -> None:
    assert said(gate(f"forbid (principal, {CALL}, resource);"), request(namespace="other")) is None


def test_rules_know_the_principal_its_role_the_function_and_its_effect() -> None:
    judge = gate(
        f'forbid (principal == Parade::Client::"ada", {CALL}, resource == Parade::Function::"shop.pay")'
        ' when { resource.effect == Parade::Effect::"effect" };',
        f'forbid (principal in Parade::Role::"operator", {CALL}, resource);',
    )

    assert said(judge, request()) == "p0@1#1"
    assert said(judge, request(), effect=Effect.PURE) is None
    assert said(judge, request(principal="key:0123456789")) == "p1@1#1"


def test_a_label_of_one_instance_is_one_of_the_function() -> None:
    judge = gate(f'forbid (principal, {CALL}, resource) when {{ resource.labels.contains("tier=prod") }};')

    assert said(judge, request(), pool(a={"tier": "test"}, b={"tier": "prod"})) == "p0@1#1"
    assert said(judge, request(), pool(a={"tier": "test"})) is None


def test_labels_are_looked_at_anew_where_instances_come_and_go() -> None:
    judge = gate(f'forbid (principal, {CALL}, resource) when {{ resource.labels.contains("tier=prod") }};')
    instances = pool(a={"tier": "test"})
    assert said(judge, request(), instances) is None

    instances.put(Instance("b", "default", "shop", "127.0.0.1:1", "b.test", labels={"tier": "prod"}), new=False)
    assert said(judge, request(), instances) == "p0@1#1"
    instances.gone("b")
    assert said(judge, request(), instances) is None


def test_an_agent_may_do_no_more_for_somebody_than_they_may_or_it() -> None:
    nested = request(caller=AGENT, scope=THROUGH)
    assert said(gate(f'forbid (principal == Parade::Client::"ada", {CALL}, resource);'), nested) == "p0@1#1"
    assert said(gate(f'forbid (principal == Parade::Agent::"broker", {CALL}, resource);'), nested) == "p0@1#1"
    assert said(gate(THROUGH_THE_BROKER), nested) == "p0@1#1"
    assert said(gate(f'forbid (principal == Parade::Agent::"other", {CALL}, resource);'), nested) is None


def test_an_agent_that_calls_for_itself_is_the_principal() -> None:
    own = request(caller=AGENT, principal=AGENT.uri)

    assert said(gate(f'forbid (principal == Parade::Agent::"broker", {CALL}, resource);'), own) == "p0@1#1"
    assert said(gate(THROUGH_THE_BROKER), own) is None


def test_an_agent_further_back_is_asked_about_as_the_one_that_calls_is() -> None:
    till = Identity.agent("till", "i1")
    through = request(caller=till, scope=Scope(actors=(holder_of(till), holder_of(AGENT))))

    assert said(gate(THROUGH_THE_BROKER), through) == "p0@1#1"
    assert said(gate(f'forbid (principal == Parade::Agent::"broker", {CALL}, resource);'), through) == "p0@1#1"


def test_where_several_demand_an_approval_the_highest_role_gives_it() -> None:
    judge = gate(
        f'@approval("operator") forbid (principal == Parade::Client::"ada", {CALL}, resource);',
        f'@approval("admin") forbid (principal == Parade::Agent::"broker", {CALL}, resource);',
    )

    demand = said(judge, request(caller=AGENT, scope=THROUGH))

    assert isinstance(demand, Decision)
    assert (demand.approver, demand.rules) == (Role.ADMIN, ("p0@1#1", "p1@1#1"))


def test_what_is_forbidden_is_not_asked_for() -> None:
    judge = gate(
        f'@approval("operator") forbid (principal == Parade::Client::"ada", {CALL}, resource);',
        f'forbid (principal == Parade::Agent::"broker", {CALL}, resource);',
    )

    assert said(judge, request(caller=AGENT, scope=THROUGH)) == "p1@1#1"


def test_the_rule_of_the_page_is_one() -> None:
    [rule] = blocks((PAGES / "call-approvals.md").read_text(), "cedar")

    assert [one.approver for one in checked_rules(rule)] == [Role.OPERATOR]


def test_the_turns_of_a_workflow_are_not_calls() -> None:
    assert said(gate(f"forbid (principal, {CALL}, resource);"), request(), durable=True) is None
