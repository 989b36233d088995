"""Principals who may everything, for tests of other things."""

from collections.abc import Iterable

from parade.wire.identity import DEFAULT_DOMAIN
from parade.wire.revocations import Revocations
from parade.wire.roles import Role
from parade_chassis.grants import Granted, Grants
from parade_chassis.policies import Policies
from parade_chassis.standing import Standing


class Everybody(Grants):
    """Grants by which every client is an admin; what the process is told changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.told.set()

    def role_of(self, subject: str, namespace: str) -> Role:
        return Role.ADMIN

    def replace(self, picture: Iterable[Granted]) -> None:
        pass

    def put(self, granted: Granted) -> None:
        pass


class Everyone(Standing):
    """By it whoever something is done for is an admin."""

    def __init__(self) -> None:
        super().__init__(Everybody(), Revocations(), DEFAULT_DOMAIN, lambda: 0.0)

    def of(self, principal: str, namespace: str) -> Role:
        return Role.ADMIN


def no_policies() -> Policies:
    """Returns policies of which it is known that there are none."""
    policies = Policies()
    policies.replace([])
    return policies
