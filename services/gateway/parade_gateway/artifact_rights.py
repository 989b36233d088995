"""Who may store and read artifacts, where policies forbid it to some: that their role lets them has been looked at before."""

from typing import Final

from parade.wire.roles import Role
from parade_chassis.policies import Decision, Effect, Policies, Resource, refused
from parade_chassis.standing import Standing

LENGTH: Final = 71
"""Characters of a digest: decisions are kept by it, and anybody may ask for anything."""


class ArtifactRights:
    """What the policies of namespaces say of artifacts."""

    def __init__(self, policies: Policies, standing: Standing) -> None:
        """Takes the policies, and what those may who come with no role: agents."""
        self._policies = policies
        self._standing = standing

    def demand(self, action: str, namespace: str, principal: str, role: Role, digest: str) -> None:
        """Holds that no policy forbids something.

        Args:
            action: `read` or `write`.
            namespace: Whose artifact it is.
            principal: Who asks.
            role: The role that they have shown; NONE for an agent.
            digest: Which artifact; empty for one whose digest is not known yet.

        Raises:
            ParadeError: PERMISSION_DENIED where one does; UNAVAILABLE where nobody has said yet which policies there are.
        """
        decision = self._decision(action, namespace, principal, role, digest)
        if decision.effect is not Effect.ALLOW:
            raise refused(principal, action, Resource("Artifact", digest), decision)

    def may_read(self, namespace: str, principal: str, role: Role, digest: str) -> bool:
        """Tells whether no policy forbids to read an artifact.

        Raises:
            ParadeError: UNAVAILABLE, as `demand`.
        """
        return self._decision("read", namespace, principal, role, digest).effect is Effect.ALLOW

    def _decision(self, action: str, namespace: str, principal: str, role: Role, digest: str) -> Decision:
        digest = digest[:LENGTH]  # one that is longer is none, which is said by who looks for it
        held = role if role is not Role.NONE else self._standing.of(principal, namespace)
        return self._policies.decide(namespace, principal, held, action, Resource("Artifact", digest))
