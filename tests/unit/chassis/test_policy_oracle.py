"""Drawn policies and questions: what is decided is what the rules mean, said once more in plain Python."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_chassis.policies import Decision, Effect, Policies, PolicyText, Resource

ROLES = ("viewer", "developer", "operator", "admin")
LABELS = ("money", "money=yes", "team=red", 'odd "name"')
AGENTS = ("browser", "cleaner")
TYPE_OF = {"call": "Function", "start": "Workflow", "publish": "Topic", "read": "Artifact", "write": "Artifact"}
NAMES = {
    "Function": ("payments.pay", "payments.list", "cleaner.pay"),
    "Workflow": ("nightly", "nightly-import"),
    "Topic": ("orders", "nightly"),
    "Artifact": ("", "sha256:1"),
}
SUBJECTS = {
    ("Client", "ana"): Identity.client("ana", "sales").uri,
    ("Client", "spiffe://parade.local/ns/research/client/ana"): Identity.client("ana", "research").uri,
    ("Key", "4fJk29sLq0"): "key:4fJk29sLq0",
    ("Person", 'https://id.example#a"b'): 'oidc:https://id.example#a"b',
    ("Agent", "browser"): Identity.agent("browser", "i-1", "sales").uri,
    ("Service", "scheduler"): Identity.service("scheduler").uri,
}


@dataclass(frozen=True)
class Question:
    """What somebody wants to do, as the oracle sees it."""

    who: tuple[str, str]
    role: str
    """Empty for none."""
    action: str
    name: str
    labels: frozenset[str]
    effect: str
    actors: tuple[str, ...]

    @property
    def what(self) -> tuple[str, str]:
        return TYPE_OF[self.action], self.name


Test = Callable[[Question], bool]


@dataclass
class Drawn:
    """A rule as text, and what it means."""

    text: str
    approver: str
    tests: list[Test] = field(default_factory=list)

    def forbids(self, question: Question) -> bool:
        return all(test(question) for test in self.tests)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def like(pattern: str, text: str) -> bool:
    """Cedar's `like`: `*` stands for any text."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    if not text.startswith(first):
        return False
    place = len(first)
    for part in others[:-1]:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return text.endswith(others[-1]) and len(text) - len(others[-1]) >= place


def attribute(condition: str, *types: str) -> str:
    kinds = " || ".join(f"resource is Parade::{type}" for type in types)
    return f"(({kinds}) && {condition})" if len(types) > 1 else f"({kinds} && {condition})"


def of_function(test: Test) -> Test:
    return lambda question: question.what[0] == "Function" and test(question)


def has_role(role: str) -> Test:
    return lambda question: question.role != "" and ROLES.index(question.role) >= ROLES.index(role)


@st.composite
def atoms(draw: st.DrawFn) -> tuple[str, Test]:
    labels = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=3))
    listed = f"[{', '.join(map(quoted, labels))}]"
    who, role, agent = draw(st.sampled_from(sorted(SUBJECTS))), draw(st.sampled_from(ROLES)), draw(st.sampled_from(AGENTS))
    effect = draw(st.sampled_from(["pure", "effect"]))
    pattern = draw(st.sampled_from(["nightly", "nightly*", "*i*", "n*t", "*-import", "*", "nightly*y"]))
    type = draw(st.sampled_from(["Workflow", "Topic"]))
    namespace = draw(st.sampled_from(["sales", "research"]))
    choices: list[tuple[str, Test]] = [
        (attribute(f"resource.labels.contains({quoted(labels[0])})", "Function"), of_function(lambda q: labels[0] in q.labels)),
        (attribute(f"resource.labels.containsAny({listed})", "Function"), of_function(lambda q: bool(q.labels & set(labels)))),
        (attribute(f"resource.labels.containsAll({listed})", "Function"), of_function(lambda q: set(labels) <= q.labels)),
        (attribute(f"resource.effect == Parade::Effect::{quoted(effect)}", "Function"), of_function(lambda q: q.effect == effect)),
        (attribute('resource.agent == "payments"', "Function"), of_function(lambda q: q.name.split(".")[0] == "payments")),
        (attribute('resource.name == "pay"', "Function"), of_function(lambda q: q.name.split(".")[1] == "pay")),
        (attribute(f"resource.name like {quoted(pattern)}", type), lambda q: q.what[0] == type and like(pattern, q.name)),
        (f"context.actors.contains(Parade::Agent::{quoted(agent)})", lambda q: agent in q.actors),
        ("context.actors.isEmpty()", lambda q: not q.actors),
        (f"principal == Parade::{who[0]}::{quoted(who[1])}", lambda q: q.who == who),
        (f"principal is Parade::{who[0]}", lambda q: q.who[0] == who[0]),
        (f"principal in Parade::Role::{quoted(role)}", has_role(role)),
        (f"context.namespace == {quoted(namespace)}", lambda q: namespace == "sales"),
        ("true", lambda q: True),
        ("false", lambda q: False),
    ]
    return draw(st.sampled_from(choices))


def joined(inner: st.SearchStrategy[tuple[str, Test]]) -> st.SearchStrategy[tuple[str, Test]]:
    def negated(one: tuple[str, Test]) -> tuple[str, Test]:
        return f"!({one[0]})", lambda q: not one[1](q)

    def both(two: tuple[tuple[str, Test], tuple[str, Test]]) -> tuple[str, Test]:
        (left, tests_left), (right, tests_right) = two
        return f"({left} && {right})", lambda q: tests_left(q) and tests_right(q)

    def either(two: tuple[tuple[str, Test], tuple[str, Test]]) -> tuple[str, Test]:
        (left, tests_left), (right, tests_right) = two
        return f"({left} || {right})", lambda q: tests_left(q) or tests_right(q)

    def chosen(three: tuple[tuple[str, Test], ...]) -> tuple[str, Test]:
        (which, tests_which), (left, tests_left), (right, tests_right) = three
        return f"(if {which} then {left} else {right})", lambda q: tests_left(q) if tests_which(q) else tests_right(q)

    return st.one_of(
        inner.map(negated),
        st.tuples(inner, inner).map(both),
        st.tuples(inner, inner).map(either),
        st.tuples(inner, inner, inner).map(chosen),
    )


CONDITIONS = st.recursive(atoms(), joined, max_leaves=4)


@st.composite
def rules(draw: st.DrawFn) -> Drawn:
    """Draws a rule: the scope of each of its three parts, conditions, and whether an approval makes good for it."""
    tests: list[Test] = []
    who, role = draw(st.sampled_from(sorted(SUBJECTS))), draw(st.sampled_from(ROLES))
    principal = draw(st.sampled_from(["all", "all", "is", "one", "role", "is in"]))
    actions = draw(st.sampled_from([(), ("call",), ("call",), ("start",), ("publish",), ("read", "write"), ("call", "start")]))
    approver = draw(st.sampled_from(["", "operator", "admin"])) if actions == ("call",) else ""
    type = draw(st.sampled_from(sorted({TYPE_OF[action] for action in actions or TYPE_OF})))
    resource = draw(st.sampled_from(["all", "all", "is", "one"]))
    name = draw(st.sampled_from(NAMES[type]))
    said = {"all": "", "is": f" is Parade::{who[0]}", "one": f" == Parade::{who[0]}::{quoted(who[1])}"}
    said |= {"role": f" in Parade::Role::{quoted(role)}", "is in": f" is Parade::{who[0]} in Parade::Role::{quoted(role)}"}
    if principal in ("is", "is in"):
        tests.append(lambda q: q.who[0] == who[0])
    if principal == "one":
        tests.append(lambda q: q.who == who)
    if principal in ("role", "is in"):
        tests.append(has_role(role))
    if actions:
        tests.append(lambda q: q.action in actions)
    if resource == "is":
        tests.append(lambda q: q.what[0] == type)
    if resource == "one":
        tests.append(lambda q: q.what == (type, name))
    listed = [f'Parade::Action::"{action}"' for action in actions]
    action = "" if not listed else f" == {listed[0]}" if len(listed) == 1 else f" in [{', '.join(listed)}]"
    of = {"all": "", "is": f" is Parade::{type}", "one": f" == Parade::{type}::{quoted(name)}"}[resource]
    text = f"forbid (principal{said[principal]}, action{action}, resource{of})"
    for word in draw(st.lists(st.sampled_from(["when", "unless"]), max_size=2)):
        condition, test = draw(CONDITIONS)
        text += f" {word} {{ {condition} }}"
        tests.append(test if word == "when" else (lambda q, test=test: not test(q)))  # type: ignore[misc]
    annotation = f'@approval("{approver}") ' if approver else ""
    return Drawn(f"{annotation}{text};", approver, tests)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    action = draw(st.sampled_from(["call", "call", "call", *TYPE_OF]))
    return Question(
        who=draw(st.sampled_from(sorted(SUBJECTS))),
        role=draw(st.sampled_from(["", *ROLES])),
        action=action,
        name=draw(st.sampled_from(NAMES[TYPE_OF[action]])),
        labels=draw(st.frozensets(st.sampled_from(LABELS))),
        effect=draw(st.sampled_from(["pure", "effect"])),
        actors=tuple(draw(st.lists(st.sampled_from(AGENTS), unique=True, max_size=2))),
    )


def oracle(policies: list[list[Drawn]], question: Question) -> Decision:
    """What is to be decided: any rule forbids; an approval makes good where each that forbids says so, by the highest of its roles."""
    met = [
        (f"p{policy}@{policy}#{number}", rule.approver)
        for policy, rules in enumerate(policies, 1)
        for number, rule in enumerate(rules, 1)
        if rule.forbids(question)
    ]
    if not met:
        return Decision(Effect.ALLOW)
    final = sorted(name for name, approver in met if not approver)
    if final:
        return Decision(Effect.DENY, tuple(final))
    role = Role.ADMIN if any(approver == "admin" for _, approver in met) else Role.OPERATOR
    return Decision(Effect.APPROVAL, tuple(sorted(name for name, _ in met)), role)


def asked(policies: Policies, question: Question) -> Decision:
    function = question.what[0] == "Function"
    resource: dict[str, Any] = {"labels": question.labels, "effect": question.effect.upper()} if function else {}
    return policies.decide(
        "sales",
        SUBJECTS[question.who],
        Role.labelled(question.role),
        question.action,
        Resource(*question.what, **resource),
        tuple(f"spiffe://parade.local/ns/sales/agent/{actor}" for actor in question.actors),
    )


POLICIES = st.lists(st.lists(rules(), min_size=1, max_size=3), min_size=1, max_size=2)
QUESTIONS = st.lists(questions(), min_size=8, max_size=8)


@settings(max_examples=25)
@given(POLICIES, QUESTIONS)
def test_decisions_are_what_the_rules_mean(drawn: list[list[Drawn]], put: list[Question]) -> None:
    judge(drawn, put)


@pytest.mark.full
@pytest.mark.timeout(300)
@settings(max_examples=250)
@given(POLICIES, QUESTIONS)
def test_two_thousand_decisions_are_what_the_rules_mean(drawn: list[list[Drawn]], put: list[Question]) -> None:
    judge(drawn, put)


def judge(drawn: list[list[Drawn]], put: list[Question]) -> None:
    policies = Policies()
    texts = ("\n".join(rule.text for rule in some) for some in drawn)
    policies.replace(PolicyText("sales", f"p{number}", number, text) for number, text in enumerate(texts, 1))

    for question in put:
        decision = asked(policies, question)
        assert decision == oracle(drawn, question), "\n".join(rule.text for some in drawn for rule in some)
        assert asked(policies, question) == decision


@given(rules())
def test_what_is_drawn_here_can_be_put(rule: Drawn) -> None:
    from parade_chassis.cedar import checked_rules

    assert len(checked_rules(rule.text)) == 1
