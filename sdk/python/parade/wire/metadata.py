"""The metadata keys that travel beside a request."""

NAMESPACE = "parade-namespace"
"""The namespace that a service acts in. Believed from the gateway, the scheduler and the dispatcher only."""
PRINCIPAL = "parade-principal"
"""The SPIFFE id that a service acts for. Believed from the same services only."""


def on_behalf_of(namespace: str, principal: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata with which a service says for whom it acts."""
    return ((NAMESPACE, namespace), (PRINCIPAL, principal))
