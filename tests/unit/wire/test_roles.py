"""Roles include each other, and have the same names everywhere."""

from parade.v1 import access_pb2
from parade.wire.metadata import PRINCIPAL, ROLE, on_behalf_of
from parade.wire.role_numbers import number_of, role_of
from parade.wire.roles import Role


def test_each_role_includes_those_below_it() -> None:
    assert Role.NONE < Role.VIEWER < Role.DEVELOPER < Role.OPERATOR < Role.ADMIN


def test_every_role_of_the_contract_is_read_and_written() -> None:
    contract = [number for number in access_pb2.Role.values() if number]

    assert [number_of(role_of(number)) for number in contract] == contract
    assert [role.name for role in map(role_of, contract)] == [access_pb2.Role.Name(number).removeprefix("ROLE_") for number in contract]


def test_a_role_that_nobody_knows_is_none() -> None:
    assert role_of(0) is role_of(99) is Role.labelled("root") is Role.labelled("ADMIN") is Role.labelled("") is Role.NONE


def test_metadata_name_a_role_where_there_is_one() -> None:
    assert dict(on_behalf_of("sales", "key:1", Role.VIEWER))[ROLE] == "viewer"
    assert ROLE not in dict(on_behalf_of("sales", "key:1"))
    assert dict(on_behalf_of("sales", "key:1"))[PRINCIPAL] == "key:1"
