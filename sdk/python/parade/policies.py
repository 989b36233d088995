"""Policies, as a client sees them: a part of `parade.Mesh`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from parade.pages import PAGE_SIZE, pages
from parade.patience import patiently
from parade.permissions import RoleName
from parade.v1 import access_pb2, policy_pb2

if TYPE_CHECKING:
    from parade.v1.policy_pb2_grpc import PolicyServiceAsyncStub

ActionName = Literal["call", "start", "publish", "read", "write"]
"""What can be forbidden."""


class Policies:
    """What is forbidden in this client's namespace, whatever roles allow. Answers come as the messages of `parade.v1`."""

    _policies: "PolicyServiceAsyncStub"

    async def put_policy(self, name: str, text: str, *, expected_version: int | None = None) -> policy_pb2.Policy:
        """Stores a policy as a new version of its name; for admins. The same text again is the version there is.

        Args:
            name: What it is called.
            text: Its rules, in Cedar.
            expected_version: The newest version that is known, 0 for none: where there is another, nothing is stored.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault; FAILED_PRECONDITION; PERMISSION_DENIED.
        """
        request = policy_pb2.PutPolicyRequest(name=name, text=text, expected_version=expected_version)
        return (await patiently(lambda: self._policies.PutPolicy(request))).policy

    async def policy(self, name: str, version: int = 0) -> policy_pb2.Policy:
        """Returns a version of a policy, the newest for 0.

        Raises:
            ParadeError: NOT_FOUND.
        """
        request = policy_pb2.GetPolicyRequest(name=name, version=version)
        return (await patiently(lambda: self._policies.GetPolicy(request))).policy

    async def policies(self) -> list[policy_pb2.Policy]:
        """Returns the newest version of every policy, by name."""
        request = policy_pb2.ListPoliciesRequest(page_size=PAGE_SIZE)
        return [policy async for page in pages(self._policies.ListPolicies, request) for policy in page.policies]

    async def delete_policy(self, name: str, *, expected_version: int | None = None) -> policy_pb2.Policy:
        """Deletes a policy, and returns it as it was; for admins.

        Raises:
            ParadeError: NOT_FOUND; FAILED_PRECONDITION; PERMISSION_DENIED.
        """
        # Not patiently: an attempt whose answer was lost makes the next one fail.
        request = policy_pb2.DeletePolicyRequest(name=name, expected_version=expected_version)
        return (await self._policies.DeletePolicy(request)).policy

    async def test_policy(
        self, cases: Iterable[policy_pb2.PolicyCase], *, name: str = "draft", text: str = ""
    ) -> policy_pb2.TestPolicyResponse:
        """Decides cases and compares with what was expected; nothing is stored.

        Args:
            cases: What somebody wants to do, and what should become of it.
            name: The name of the draft, which is tried in the place of the stored policy of that name.
            text: The draft; where empty, the stored policies are tried.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault of the draft and of the cases.
        """
        request = policy_pb2.TestPolicyRequest(name=name, text=text, cases=cases)
        return await patiently(lambda: self._policies.TestPolicy(request))

    async def explain_policy(
        self,
        principal: str,
        action: ActionName,
        resource: str = "",
        *,
        role: RoleName | Literal["none"] | None = None,
        labels: Iterable[str] = (),
        effect: str = "",
        actors: Iterable[str] = (),
    ) -> policy_pb2.ExplainPolicyResponse:
        """Tells what somebody may do, and which rules decide that.

        Args:
            principal: Who: a SPIFFE id, `key:<id>`, or `oidc:<issuer>#<subject>`.
            action: What.
            resource: What with: a function as `agent.function`, a workflow, a topic; nothing for artifacts.
            role: What the principal may do by its role; what it may do at the moment where not given.
            labels: Labels of the function's agent, `key=value` each; those it has where neither these nor `effect` is given.
            effect: `pure`, `idempotent` or `effect`.
            actors: The SPIFFE ids of the agents that act for the principal.

        Raises:
            ParadeError: INVALID_ARGUMENTS.
        """
        question = policy_pb2.PolicyQuestion(
            principal=principal,
            role=access_pb2.ROLE_UNSPECIFIED if role is None else access_pb2.Role.Value(f"ROLE_{role.upper()}"),
            action=action,
            resource=resource,
            labels=labels,
            effect=effect,
            actors=actors,
        )
        return await patiently(lambda: self._policies.ExplainPolicy(policy_pb2.ExplainPolicyRequest(question=question)))
