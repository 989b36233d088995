"""What whom something is done for may do: as it was told last, whoever it is."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.revocations import Revocation, Revocations
from parade.wire.roles import EVERYWHERE, KEY_PREFIX, Role
from parade_agent_manager.rights import ApiKey, Grant, Rights
from parade_chassis.grants import Granted, Grants
from parade_chassis.standing import MOST, LivingKey, Standing, require

START = 1_000_000.0
CLIENT = Identity.client("ada", "sales").uri
PERSON = "oidc:https://id.example#42"
AGENT = Identity.agent("cleaner", "i-1", "sales").uri
SERVICE = Identity.service("gateway").uri
KEY = LivingKey("k1", "sales", Role.OPERATOR, CLIENT, START + 60)


class World:
    """Everything that a process is told, and its clock."""

    def __init__(self) -> None:
        self.now = START
        self.grants, self.revocations = Grants(), Revocations()
        self.standing = Standing(self.grants, self.revocations, DEFAULT_DOMAIN, lambda: self.now)
        self.changes = 0
        self.standing.subscribe(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def of(self, principal: str, namespace: str = "sales") -> Role:
        return self.standing.of(principal, namespace)

    def grant(self, subject: str, role: Role, namespace: str = "sales") -> None:
        self.grants.put(Granted(subject, namespace, role))

    def revoke(self, spiffe_id: str, seconds: float = 3600) -> None:
        self.revocations.add(Revocation(self.now + seconds, "lost", spiffe_id=spiffe_id), self.now)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("subject", [CLIENT, PERSON])
@pytest.mark.parametrize("role", list(Role))
def test_clients_and_people_may_what_they_are_granted(world: World, subject: str, role: Role) -> None:
    before = world.of(subject)
    world.grant(subject, role)

    assert (before, world.of(subject), world.of(subject, "research")) == (Role.NONE, role, Role.NONE)
    world.grant(subject, Role.NONE)
    assert world.of(subject) is Role.NONE


def test_a_person_may_be_let_in_everywhere_and_a_client_acts_in_its_own_namespace_all_the_same(world: World) -> None:
    for subject in (PERSON, CLIENT):
        world.grant(subject, Role.ADMIN, EVERYWHERE)

    assert [world.of(PERSON), world.of(PERSON, "research")] == [Role.ADMIN, Role.ADMIN]
    assert [world.of(CLIENT), world.of(CLIENT, "research")] == [Role.ADMIN, Role.NONE]


def test_an_agent_is_a_developer_where_it_is_and_a_service_may_everything(world: World) -> None:
    assert [world.of(AGENT), world.of(AGENT, "research")] == [Role.DEVELOPER, Role.NONE]
    assert [world.of(SERVICE), world.of(SERVICE, "research")] == [Role.ADMIN, Role.ADMIN]


@pytest.mark.parametrize("spiffe_id", [CLIENT, AGENT, SERVICE])
def test_an_identity_that_is_revoked_stands_no_more_until_the_revocation_ends(world: World, spiffe_id: str) -> None:
    world.grant(CLIENT, Role.DEVELOPER)
    before = world.of(spiffe_id)
    world.revoke(spiffe_id, seconds=60)
    revoked = world.of(spiffe_id)
    world.now += 59.9
    still = world.of(spiffe_id)
    world.now += 0.2

    assert before >= Role.DEVELOPER
    assert (revoked, still) == (Role.NONE, Role.NONE)
    assert world.of(spiffe_id) is before


def test_one_certificate_that_is_revoked_is_not_its_holder(world: World) -> None:
    world.revocations.add(Revocation(START + 60, "lost", serial="5"), START)

    assert world.of(AGENT) is Role.DEVELOPER


def test_a_key_may_what_it_and_who_made_it_may(world: World) -> None:
    world.standing.put_key(KEY)
    alone = world.of(KEY.subject)
    world.grant(CLIENT, Role.ADMIN)
    full = world.of(KEY.subject)
    world.grant(CLIENT, Role.VIEWER)

    assert (alone, full, world.of(KEY.subject)) == (Role.NONE, Role.OPERATOR, Role.VIEWER)
    assert world.of(KEY.subject, "research") is Role.NONE


def test_a_key_ends_by_its_time_and_when_it_is_revoked(world: World) -> None:
    world.grant(CLIENT, Role.ADMIN)
    world.standing.replace_keys([KEY, replace(KEY, id="k2"), replace(KEY, id="k3", role=Role.NONE)])
    held = [world.of(f"key:{id}") for id in ("k1", "k2", "k3", "k4")]
    world.standing.put_key(replace(KEY, role=Role.NONE))
    revoked = world.of("key:k1")
    world.now += 59.9
    kept = world.of("key:k2")
    world.now += 0.2

    assert held == [Role.OPERATOR, Role.OPERATOR, Role.NONE, Role.NONE]
    assert (revoked, kept, world.of("key:k2")) == (Role.NONE, Role.OPERATOR, Role.NONE)


def test_a_key_ends_with_the_key_that_made_it(world: World) -> None:
    world.grant(CLIENT, Role.ADMIN)
    child = LivingKey("k2", "sales", Role.ADMIN, KEY.subject, START + 3600)
    world.standing.replace_keys([KEY, child])
    held = world.of(child.subject)
    world.now += 61

    assert (held, world.of(child.subject)) == (Role.OPERATOR, Role.NONE)


def test_a_picture_takes_the_place_of_what_was_known(world: World) -> None:
    world.grant(CLIENT, Role.ADMIN)
    world.standing.replace_keys([KEY])
    held = world.of(KEY.subject)
    world.standing.replace_keys([])

    assert (held, world.of(KEY.subject)) == (Role.OPERATOR, Role.NONE)


@pytest.mark.parametrize(
    "principal",
    [
        "",
        "ada",
        "key:",
        "key:unknown",
        Identity.client("ada", "sales", "elsewhere.local").uri,
        Identity.agent("cleaner", "i-1", "sales", "elsewhere.local").uri,
        "spiffe://parade.local/service/unknown",
        "spiffe://parade.local/ns/sales/agent/cleaner",
        CLIENT + "/more",
        "oidc:https://id.example#43",
    ],
)
def test_whoever_is_not_known_may_nothing(world: World, principal: str) -> None:
    world.grant(CLIENT, Role.ADMIN)
    world.grant(PERSON, Role.ADMIN)

    assert world.of(principal) is Role.NONE


def test_who_wants_to_know_hears_of_every_change_and_of_the_first_picture_though_it_is_empty(world: World) -> None:
    changes = []
    world.grants.replace([])
    changes.append(world.changes)
    world.grant(CLIENT, Role.ADMIN)
    changes.append(world.changes)
    world.revoke(AGENT)
    changes.append(world.changes)
    world.standing.put_key(KEY)
    changes.append(world.changes)

    assert changes == [1, 2, 3, 4]


def test_answers_have_their_bound(world: World) -> None:
    for number in range(3 * MOST):
        world.of(f"key:{number}")

    assert len(world.standing._answers) <= MOST


def test_who_stands_is_let_through(world: World) -> None:
    world.grants.replace([Granted(CLIENT, "sales", Role.DEVELOPER)])

    require(world.standing, CLIENT, "sales", Role.DEVELOPER, "to go on")


@pytest.mark.parametrize(
    ("principal", "text"),
    [
        (CLIENT, "has only the role viewer"),
        (KEY.subject, "was revoked or has expired, or who made it has no role any more"),
        (AGENT, "has no role, or its identity was revoked"),
        (PERSON, "has no role"),
    ],
)
def test_who_does_not_is_named_with_what_it_takes(world: World, principal: str, text: str) -> None:
    world.grants.replace([Granted(CLIENT, "sales", Role.VIEWER)])
    world.revoke(AGENT)

    with pytest.raises(ParadeError) as caught:
        require(world.standing, principal, "sales", Role.DEVELOPER, "to go on with run r-1")

    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert not caught.value.retryable
    assert str(caught.value) == f"{principal} {text}; to go on with run r-1 in namespace sales takes the role developer"
    assert caught.value.metadata["principal"] == principal


@pytest.mark.parametrize("principal", [CLIENT, AGENT])
def test_before_anything_was_said_nobody_is_let_through_nor_refused_for_good(world: World, principal: str) -> None:
    with pytest.raises(ParadeError) as caught:
        require(world.standing, principal, "sales", Role.DEVELOPER, "to go on")

    assert caught.value.reason is Reason.UNAVAILABLE


PEOPLE = [CLIENT, PERSON, Identity.client("bob", "research").uri]
ROLES = st.sampled_from(list(Role)[1:])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_key_stands_as_the_agent_manager_lets_it_in(data: st.DataObject) -> None:
    drawn = [(subject, ns, data.draw(ROLES)) for subject in PEOPLE for ns in ("sales", EVERYWHERE) if data.draw(st.booleans())]
    born, keys = datetime.fromtimestamp(START, UTC), list[ApiKey]()
    for number in range(data.draw(st.integers(1, 5))):
        maker = data.draw(st.sampled_from([*PEOPLE, *(key.subject for key in keys), f"{KEY_PREFIX}nobody"]))
        expires = datetime.fromtimestamp(START + data.draw(st.sampled_from([1, 2, 3])), UTC)
        namespace = data.draw(st.sampled_from(["sales", "sales", "research"]))
        keys.append(ApiKey(f"k{number}", "", "", namespace, data.draw(ROLES), maker, born, expires))
    rights = Rights(keys, [Grant(subject, namespace, role, "", born) for subject, namespace, role in drawn])
    world = World()
    world.grants.replace([Granted(*grant) for grant in drawn])
    world.standing.replace_keys(LivingKey(key.id, key.namespace, key.role, key.created_by, key.expires.timestamp()) for key in keys)

    for seconds in (0.0, 1.0, 2.5, 3.0):
        world.now = START + seconds
        for key in keys:
            expected = rights.role_of(key.subject, "sales", datetime.fromtimestamp(world.now, UTC))
            assert world.of(key.subject) is expected
