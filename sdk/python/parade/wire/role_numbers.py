"""Roles by their numbers in the contract, both ways."""

from parade.v1 import access_pb2
from parade.wire.roles import Role


def role_of(number: int) -> Role:
    """Returns the role with a number of the contract; NONE where this version of Parade knows no such role."""
    return _ROLES.get(number, Role.NONE)


def number_of(role: Role) -> access_pb2.Role.ValueType:
    """Returns a role's number in the contract."""
    return _NUMBERS[role]


_NUMBERS = {role: access_pb2.Role.Value(f"ROLE_{role.name}") for role in Role}
_ROLES: dict[int, Role] = {number: role for role, number in _NUMBERS.items()}
