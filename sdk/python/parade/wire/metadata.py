"""The metadata keys that travel beside a request."""

from parade.wire.roles import Role

NAMESPACE = "parade-namespace"
"""The namespace that a service acts in. Believed from the gateway, the scheduler and the dispatcher only."""
PRINCIPAL = "parade-principal"
"""For whom a service acts: a SPIFFE id, `key:<id>` or `oidc:<issuer>#<subject>`. Believed from the same services only."""
ROLE = "parade-role"
"""The role of whom it acts for, in that namespace. Believed from the gateway only, which has checked it."""


def on_behalf_of(namespace: str, principal: str, role: Role = Role.NONE) -> tuple[tuple[str, str], ...]:
    """Returns the metadata with which a service says for whom it acts; the gateway says with which role, too."""
    said = ((NAMESPACE, namespace), (PRINCIPAL, principal))
    return said if role is Role.NONE else (*said, (ROLE, role.label))
