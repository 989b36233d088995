"""The methods about policies: decode, one call, encode."""

from typing import Any

import grpc

from parade.v1 import access_pb2, policy_pb2_grpc
from parade.v1 import policy_pb2 as pb
from parade.wire.role_numbers import number_of, role_of
from parade_agent_manager import convert
from parade_agent_manager.policy import Policy
from parade_agent_manager.policy_administration import PolicyAdministration
from parade_agent_manager.policy_trial import Answer, Case, PolicyTrial, Question
from parade_chassis.context import current, required_namespace
from parade_chassis.policies import Effect

Context = grpc.aio.ServicerContext[Any, Any]


class PolicyServicer(policy_pb2_grpc.PolicyServiceServicer):
    """What `policy.proto` says."""

    def __init__(self, administration: PolicyAdministration, trial: PolicyTrial) -> None:
        """Takes what keeps policies, and what tries them."""
        self._administration = administration
        self._trial = trial

    async def PutPolicy(self, request: pb.PutPolicyRequest, context: Context) -> pb.PutPolicyResponse:
        """See the contract."""
        expected = request.expected_version if request.HasField("expected_version") else None
        put = self._administration.put(current().principal, required_namespace(), request.name, request.text, expected)
        return pb.PutPolicyResponse(policy=_to_policy(await put))

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        """See the contract."""
        found = await self._administration.get(required_namespace(), request.name, request.version)
        return pb.GetPolicyResponse(policy=_to_policy(found))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        """See the contract."""
        found, token = self._administration.page(required_namespace(), request.page_size, request.page_token)
        return pb.ListPoliciesResponse(policies=map(_to_policy, found), next_page_token=token)

    async def DeletePolicy(self, request: pb.DeletePolicyRequest, context: Context) -> pb.DeletePolicyResponse:
        """See the contract."""
        expected = request.expected_version if request.HasField("expected_version") else None
        deleted = await self._administration.delete(current().principal, required_namespace(), request.name, expected)
        return pb.DeletePolicyResponse(policy=_to_policy(deleted))

    async def TestPolicy(self, request: pb.TestPolicyRequest, context: Context) -> pb.TestPolicyResponse:
        """See the contract."""
        cases = [Case(_question(case.question), _EFFECTS.get(case.expected), frozenset(case.expected_rules)) for case in request.cases]
        answers = await self._trial.test(required_namespace(), request.name, request.text, cases)
        passed = [case.passes(answer.decision) for case, answer in zip(cases, answers, strict=True)]
        results = [pb.PolicyCaseResult(decision=_to_decision(answer), passed=one) for answer, one in zip(answers, passed, strict=True)]
        return pb.TestPolicyResponse(results=results, passed=all(passed))

    async def ExplainPolicy(self, request: pb.ExplainPolicyRequest, context: Context) -> pb.ExplainPolicyResponse:
        """See the contract."""
        answer = await self._trial.explain(required_namespace(), _question(request.question))
        return pb.ExplainPolicyResponse(decision=_to_decision(answer), question=_to_question(answer.question))


def _question(message: pb.PolicyQuestion) -> Question:
    return Question(
        principal=message.principal,
        role=None if message.role == access_pb2.ROLE_UNSPECIFIED else role_of(message.role),
        action=message.action,
        resource=message.resource,
        labels=tuple(message.labels),
        effect=message.effect,
        actors=tuple(message.actors),
    )


def _to_question(question: Question) -> pb.PolicyQuestion:
    return pb.PolicyQuestion(
        principal=question.principal,
        role=access_pb2.ROLE_UNSPECIFIED if question.role is None else number_of(question.role),
        action=question.action,
        resource=question.resource,
        labels=question.labels,
        effect=question.effect,
        actors=question.actors,
    )


def _to_decision(answer: Answer) -> pb.PolicyDecision:
    decision = answer.decision
    return pb.PolicyDecision(
        effect=_NUMBERS[decision.effect],
        rules=[pb.PolicyRule(id=id, text=text) for id, text in zip(decision.rules, answer.texts, strict=True)],
        approver=number_of(decision.approver) if decision.effect is Effect.APPROVAL else access_pb2.ROLE_UNSPECIFIED,
        reason=decision.fault,
    )


def _to_policy(policy: Policy) -> pb.Policy:
    return pb.Policy(
        name=policy.name,
        namespace=policy.namespace,
        version=policy.version,
        text=policy.text,
        author=policy.author,
        create_time=convert.to_timestamp(policy.created),
        rule_count=policy.rule_count,
    )


_NUMBERS = {effect: pb.PolicyEffect.Value(f"POLICY_EFFECT_{effect.name}") for effect in Effect}
_EFFECTS: dict[int, Effect] = {number: effect for effect, number in _NUMBERS.items()}
