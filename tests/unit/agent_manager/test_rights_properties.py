"""Whatever admins, keys and thieves do: nobody may do more than who let it in."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.roles import EVERYWHERE, KEY_PREFIX, Role
from parade_agent_manager.rights import ApiKey, Grant, Rights

NOW = datetime(2026, 3, 4, tzinfo=UTC)
NAMESPACES = ["sales", "research"]
PEOPLE = ["spiffe://parade.local/ns/sales/client/ada", "oidc:https://id.example#42"]
ROLES = st.sampled_from(list(Role)[1:])


@st.composite
def rights(draw: st.DrawFn) -> tuple[list[ApiKey], list[Grant]]:
    """Draws keys in the order in which they were made, and grants: of subjects that were there before, and of nobody."""
    places = st.tuples(st.sampled_from(PEOPLE), st.sampled_from([*NAMESPACES, EVERYWHERE]))
    grants = [Grant(subject, namespace, draw(ROLES), "", NOW) for subject, namespace in draw(st.sets(places))]
    keys: list[ApiKey] = []
    for number in range(draw(st.integers(0, 6))):
        maker = draw(st.sampled_from([*PEOPLE, *(key.subject for key in keys), f"{KEY_PREFIX}nobody"]))
        expires = NOW + timedelta(seconds=draw(st.sampled_from([-1, 0, 1])))
        revoked = draw(st.sampled_from([None, None, NOW]))
        keys.append(ApiKey(f"k{number}", "", "", draw(st.sampled_from(NAMESPACES)), draw(ROLES), maker, NOW, expires, revoked))
    return keys, grants


def oracle(subject: str, namespace: str, keys: list[ApiKey], grants: list[Grant]) -> Role:
    """The rule once more, in another shape: by recursion over plain lists."""
    for key in keys:
        if key.subject == subject:
            dead = key.revoked is not None or key.expires <= NOW or key.namespace != namespace
            return Role.NONE if dead else min(key.role, oracle(key.created_by, namespace, keys, grants))
    return max((grant.role for grant in grants if grant.subject == subject and grant.namespace in (namespace, "*")), default=Role.NONE)


@settings(max_examples=200, deadline=None)
@given(rights())
def test_a_role_is_what_the_rule_says_and_never_above_the_makers(drawn: tuple[list[ApiKey], list[Grant]]) -> None:
    judge(*drawn)


@pytest.mark.full
@settings(max_examples=2000, deadline=None)
@given(rights())
def test_two_thousand_roles_are_what_the_rule_says(drawn: tuple[list[ApiKey], list[Grant]]) -> None:
    judge(*drawn)


def judge(keys: list[ApiKey], grants: list[Grant]) -> None:
    judged = Rights(keys, grants)

    for namespace in NAMESPACES:
        for subject in [*PEOPLE, *(key.subject for key in keys), "key:nobody", "key:", ""]:
            assert judged.role_of(subject, namespace, NOW) is oracle(subject, namespace, keys, grants)
        for key in keys:
            held = judged.role_of(key.subject, namespace, NOW)
            assert held <= key.role
            assert held <= judged.role_of(key.created_by, namespace, NOW)


@settings(deadline=None)
@given(rights(), st.data())
def test_what_is_taken_away_gives_nobody_more(drawn: tuple[list[ApiKey], list[Grant]], data: st.DataObject) -> None:
    keys, grants = drawn
    subjects = [*PEOPLE, *(key.subject for key in keys)]
    places = [(subject, namespace) for subject in subjects for namespace in NAMESPACES]
    judged = Rights(keys, grants)
    before = {place: judged.role_of(*place, NOW) for place in places}

    place = data.draw(st.integers(0, len(grants) + len(keys)))
    if place < len(grants):
        judged.remove_grant(grants[place])
    elif place < len(grants) + len(keys):
        judged.remove_key(keys[place - len(grants)].id)

    assert all(judged.role_of(*place, NOW) <= before[place] for place in places)
