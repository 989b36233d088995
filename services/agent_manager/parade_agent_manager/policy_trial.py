"""Tries policies: what somebody may do and which rules decide that, and whether a draft does what is expected. It changes nothing."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from parade.wire.errors import Violation, invalid
from parade.wire.roles import Role
from parade_agent_manager.policy_administration import count_rules
from parade_agent_manager.registry import Registry
from parade_chassis.policies import ACTIONS, Decision, Effect, PolicyText, Resource, labels_of

NEEDED: Final = {
    "call": Role.DEVELOPER,
    "start": Role.DEVELOPER,
    "publish": Role.DEVELOPER,
    "read": Role.VIEWER,
    "write": Role.DEVELOPER,
}
"""The role that each action demands, as the methods do by which it is done."""
EFFECTS: Final = ("pure", "idempotent", "effect")
MAX_CASES: Final = 500
MAX_TEXTS: Final = 64
"""Labels and actors of a question."""
MAX_TEXT: Final = 1_024
"""Characters of each text of a question."""
_AGENT = re.compile(r"spiffe://[^/]+/ns/([^/]+)/agent/[^/]+")


@dataclass(frozen=True, slots=True)
class Question:
    """Something that somebody wants to do."""

    principal: str
    role: Role | None
    """None for what the principal may do at the moment."""
    action: str
    resource: str
    labels: tuple[str, ...] = ()
    """`key=value` each."""
    effect: str = ""
    actors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A question with the answer that it should have."""

    question: Question
    expected: Effect | None
    rules: frozenset[str]
    """`policy#rule`; any rules where empty."""

    def passes(self, decision: Decision) -> bool:
        """Tells whether that is what was expected."""
        named = {re.sub(r"@\d+#", "#", rule) for rule in decision.rules}
        return decision.effect is self.expected and (not self.rules or named == self.rules)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is decided, with the text of the rules that decided."""

    question: Question
    """The question with what was not given in it."""
    decision: Decision
    texts: tuple[str, ...]
    """Of each rule of the decision."""


class PolicyTrial:
    """Answers questions, one request at a time and in a thread: hundreds of them take a second where there are many rules."""

    def __init__(
        self, registry: Registry, policies: Callable[[str], Mapping[str, PolicyText]], role_of: Callable[[str, str], Role]
    ) -> None:
        """Takes what there is to know.

        Args:
            registry: The agents, for what is not said of a function.
            policies: Gives the policies of a namespace by name.
            role_of: Gives what a principal may do in a namespace at the moment.
        """
        self._registry = registry
        self._policies = policies
        self._role_of = role_of
        self._turn = asyncio.Lock()

    async def explain(self, namespace: str, question: Question) -> Answer:
        """Tells what somebody may do, and why.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault.
        """
        if faults := _faults(question, "question"):
            raise invalid(faults)
        completed = self._completed(namespace, question)
        return (await self._answers(namespace, self._policies(namespace).values(), [completed]))[0]

    async def test(self, namespace: str, name: str, text: str, cases: Sequence[Case]) -> list[Answer]:
        """Answers the questions of cases, as they would be answered if a draft were stored.

        Args:
            namespace: Where.
            name: What the draft is called.
            text: The draft; where empty, the stored policies alone hold.
            cases: What to ask; whether an answer is the expected one `Case.passes` tells.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault.
        """
        if not 0 < len(cases) <= MAX_CASES:
            raise invalid([Violation("cases", f"must be 1 to {MAX_CASES:,}")])
        faults = [fault for number, case in enumerate(cases) for fault in _faults(case.question, f"cases[{number}].question")]
        faults += [
            Violation(f"cases[{number}].expected", "must be allow, deny or approval")
            for number, case in enumerate(cases)
            if case.expected is None
        ]
        if faults:
            raise invalid(faults)
        policies = dict(self._policies(namespace))
        if text:
            await asyncio.to_thread(count_rules, text)
            there = policies.get(name)
            policies[name] = PolicyText(namespace, name, there.version + 1 if there is not None else 1, text)
        questions = [self._completed(namespace, case.question) for case in cases]
        return await self._answers(namespace, policies.values(), questions)

    async def _answers(self, namespace: str, policies: Iterable[PolicyText], questions: list[Question]) -> list[Answer]:
        async with self._turn:
            return await asyncio.to_thread(_answers, namespace, list(policies), questions)

    def _completed(self, namespace: str, question: Question) -> Question:
        if question.role is None:
            # Agents have no role; their methods are open to them as to developers. One without its instance stands for any of them.
            agent = _AGENT.fullmatch(question.principal)
            role = Role.DEVELOPER if agent is not None and agent[1] == namespace else self._role_of(question.principal, namespace)
            question = replace(question, role=role)
        if question.action != "call" or question.labels or question.effect:
            return question
        name, _, function = question.resource.partition(".")
        agent_known = self._registry.agent((namespace, name))
        if agent_known is None:
            return question
        labels = {
            f"{key}={value}" for one in self._registry.roster(agent_known).instances for key, value in one.registration.labels.items()
        }
        effect = next((known.effect.value.lower() for known in agent_known.functions if known.name == function), "")
        return replace(question, labels=tuple(sorted(labels)), effect=effect)


def _answers(namespace: str, policies: list[PolicyText], questions: list[Question]) -> list[Answer]:
    from parade_chassis.cedar import RuleSet, rules_of  # takes 11 MB, which a mesh without policies need not spend

    texts = {f"{policy.name}@{policy.version}#{rule.id}": rule for policy in policies for rule in rules_of(policy.text)}
    rules = RuleSet(policies)
    answers = []
    for question in questions:
        held, needed = question.role or Role.NONE, NEEDED[question.action]
        if held < needed:
            has = f"has only the role {held.label}" if held is not Role.NONE else "has no role"
            decision = Decision(Effect.DENY, fault=f"it {has}, and needs {needed.label} to {question.action}")
        else:
            what = Resource(ACTIONS[question.action], question.resource, _labels(question.labels), question.effect or "effect")
            decision = rules.decide(namespace, question.principal, held, question.action, what, question.actors)
        answers.append(Answer(question, decision, tuple(texts[rule].text for rule in decision.rules)))
    return answers


def _labels(texts: Iterable[str]) -> frozenset[str]:
    pairs = [text.partition("=") for text in texts]
    given = labels_of(*({key: value} for key, is_pair, value in pairs if is_pair))
    return given | {key for key, is_pair, _ in pairs if not is_pair}


def _faults(question: Question, field: str) -> list[Violation]:
    faults = []
    if question.action not in ACTIONS:
        faults.append(Violation(f"{field}.action", f"must be one of {', '.join(ACTIONS)}"))
    elif ACTIONS[question.action] == "Function" and not re.fullmatch(r"[^.]+\..+", question.resource):
        faults.append(Violation(f"{field}.resource", "must be a function, agent.function"))
    elif ACTIONS[question.action] != "Artifact" and not question.resource:
        faults.append(Violation(f"{field}.resource", "must be given"))
    if question.effect not in ("", *EFFECTS):
        faults.append(Violation(f"{field}.effect", f"must be one of {', '.join(EFFECTS)}"))
    for name, texts in (("labels", question.labels), ("actors", question.actors)):
        if len(texts) > MAX_TEXTS:
            faults.append(Violation(f"{field}.{name}", f"must be at most {MAX_TEXTS}"))
    texts = (question.principal, question.resource, *question.labels, *question.actors)
    if any(len(text) > MAX_TEXT for text in texts):
        faults.append(Violation(field, f"must hold no text of more than {MAX_TEXT:,} characters"))
    return faults
