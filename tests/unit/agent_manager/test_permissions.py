"""Keys and grants: who may make what, what a key may do, and that nobody gets more than who let it in has."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.log import Log
from parade.wire.revocations import Revocations
from parade.wire.roles import EVERYWHERE, Role
from parade_agent_manager import first_key
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.permissions import DEFAULT_LIFETIME, MAX_KEYS, MAX_LIFETIME, RETENTION, Asker, NewKey, Permissions
from parade_agent_manager.rights_store import RightsStore
from parade_agent_manager.tables import METADATA
from parade_agent_manager.waits import Waits
from parade_chassis.api_key import mark_of, new_key
from parade_chassis.clock import ManualClock
from parade_chassis.grants import Grants
from parade_chassis.standing import LivingKey, Standing
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

ROOT = Identity.client("root", "operations")
ADMIN = Identity.client("ada", "sales")
OTHER = Identity.client("bob", "sales")
PERSON = "oidc:https://id.example#42"


def asker(subject: Identity | str, namespace: str = "sales") -> Asker:
    return Asker(subject if isinstance(subject, str) else subject.uri, namespace)


@dataclass
class World:
    store: RightsStore
    clock: ManualClock
    permissions: Permissions
    standing: Standing
    feed: AccessFeed

    @property
    def grants(self) -> Grants:
        return self.standing.grants

    def restarted(self) -> Permissions:
        self.standing, self.feed = standing_of(self.clock), AccessFeed(100, Waits())
        self.permissions = permissions_over(self.store, self.feed, self.standing, self.clock)
        return self.permissions

    async def key(self, role: Role = Role.DEVELOPER, maker: Identity | str = ADMIN, lifetime: float = DEFAULT_LIFETIME) -> NewKey:
        return await self.permissions.create_key(asker(maker), "import", role, "", lifetime)

    def role_of(self, made: NewKey) -> Role | None:
        """What a key is let in with; None where it is not let in."""
        mark = mark_of(made.secret)
        assert mark is not None
        try:
            return self.permissions.authenticate(mark.id, mark.digest)[1]
        except ParadeError as error:
            if error.reason is not Reason.UNAUTHENTICATED:
                raise
            return None


def standing_of(clock: ManualClock) -> Standing:
    return Standing(Grants(), Revocations(), DEFAULT_DOMAIN, lambda: clock.now().timestamp())


def permissions_over(store: RightsStore, feed: AccessFeed, own: Standing, clock: ManualClock) -> Permissions:
    return Permissions(store=store, feed=feed, own=own, clock=clock, log=Log(), domain=DEFAULT_DOMAIN)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(f"sqlite:///{tmp_path / 'agents.db'}", "parade_agent_manager", METADATA)
    store, clock, feed = RightsStore(database, RECORDER), ManualClock(), AccessFeed(100, Waits())
    standing = standing_of(clock)
    permissions = permissions_over(store, feed, standing, clock)
    await permissions.load()
    await permissions.admit_first(ROOT)
    await permissions.grant(asker(ROOT, "operations"), ADMIN.uri, Role.ADMIN, "sales")
    yield World(store, clock, permissions, standing, feed)
    await database.close()


async def refusal(awaitable: object) -> Reason:
    with pytest.raises(ParadeError) as caught:
        await awaitable  # type: ignore[misc]
    return caught.value.reason


async def test_a_key_opens_its_namespace_with_its_role(world: World) -> None:
    made = await world.key(Role.VIEWER)

    assert world.role_of(made) is Role.VIEWER
    assert (made.key.namespace, made.key.created_by) == ("sales", ADMIN.uri)
    assert made.key.expires - world.clock.now() == timedelta(days=90)


async def test_the_secret_is_in_no_text_and_in_no_table(world: World) -> None:
    made = await world.key()

    assert made.secret not in repr(made)
    assert made.secret not in repr(await world.store.keys())


async def test_a_key_that_is_wrong_in_its_secret_opens_nothing(world: World) -> None:
    made = await world.key()
    stranger = mark_of(new_key())
    assert stranger is not None

    with pytest.raises(ParadeError, match="not known"):
        world.permissions.authenticate(made.key.id, stranger.digest)


@pytest.mark.parametrize("after", [DEFAULT_LIFETIME, DEFAULT_LIFETIME + 1])
async def test_a_key_that_has_expired_opens_nothing(world: World, after: float) -> None:
    made = await world.key()

    await world.clock.advance(after)

    assert world.role_of(made) is None


async def test_a_revoked_key_opens_nothing_also_after_a_restart(world: World) -> None:
    made = await world.key()

    first = await world.permissions.revoke_key(asker(ADMIN), made.key.id)
    await world.clock.advance(60)
    again = await world.permissions.revoke_key(asker(ADMIN), made.key.id)

    assert first == again
    assert world.role_of(made) is None
    await world.restarted().load()
    assert world.role_of(made) is None


async def test_services_are_told_of_keys_that_open_something_and_of_their_end(world: World) -> None:
    expired, revoked, kept = await world.key(lifetime=1), await world.key(), await world.key(Role.VIEWER)
    await world.permissions.revoke_key(asker(ADMIN), revoked.key.id)
    await world.clock.advance(1)
    await world.restarted().load()

    with world.feed.watch() as watcher:
        picture = [change for change in watcher.picture() if isinstance(change, LivingKey)]
        made = await world.key(Role.ADMIN)
        await world.permissions.revoke_key(asker(ADMIN), made.key.id)
        changes = watcher.changes()
        told = [await anext(changes) for _ in range(2)]

    living = LivingKey(kept.key.id, "sales", Role.VIEWER, ADMIN.uri, kept.key.expires.timestamp())
    assert picture == [living]
    assert [(change.subject, change.role) for change in told if isinstance(change, LivingKey)] == [
        (made.key.subject, Role.ADMIN),
        (made.key.subject, Role.NONE),
    ]
    assert world.role_of(expired) is None


async def test_the_process_itself_knows_what_keys_may(world: World) -> None:
    before = await world.key()
    await world.restarted().load()
    after = await world.key(Role.VIEWER)

    held = [world.standing.of(made.key.subject, "sales") for made in (before, after)]
    await world.permissions.revoke_key(asker(ADMIN), before.key.id)

    assert held == [Role.DEVELOPER, Role.VIEWER]
    assert world.standing.of(before.key.subject, "sales") is Role.NONE


async def test_keys_and_grants_survive_a_restart(world: World) -> None:
    made = await world.key()
    await world.permissions.grant(asker(ADMIN), OTHER.uri, Role.VIEWER, "")

    await world.restarted().load()

    assert world.role_of(made) is Role.DEVELOPER
    assert world.grants.role_of(OTHER.uri, "sales") is Role.VIEWER
    assert world.grants.known


async def test_a_key_loses_what_its_maker_loses(world: World) -> None:
    await world.permissions.grant(asker(ADMIN), OTHER.uri, Role.ADMIN, "")
    made = await world.key(Role.OPERATOR, OTHER)

    await world.permissions.grant(asker(ADMIN), OTHER.uri, Role.VIEWER, "")
    less = world.role_of(made)
    await world.permissions.revoke(asker(ADMIN), OTHER.uri, "")
    nothing = world.role_of(made)

    assert (less, nothing) == (Role.VIEWER, Role.NONE)


async def test_a_key_made_with_a_key_goes_with_it(world: World) -> None:
    parent = await world.key(Role.ADMIN)
    child = await world.key(Role.ADMIN, parent.key.subject)

    await world.permissions.revoke_key(asker(ADMIN), parent.key.id)

    assert world.role_of(child) is Role.NONE


@pytest.mark.parametrize("role", [Role.NONE, Role.VIEWER, Role.DEVELOPER, Role.OPERATOR])
async def test_only_admins_let_in_and_keep_out(world: World, role: Role) -> None:
    made = await world.key()
    if role is not Role.NONE:
        await world.permissions.grant(asker(ADMIN), OTHER.uri, role, "")
    permissions, me = world.permissions, asker(OTHER)

    assert await refusal(permissions.create_key(me, "mine", Role.VIEWER, "", 60)) is Reason.PERMISSION_DENIED
    assert await refusal(permissions.grant(me, OTHER.uri, Role.ADMIN, "")) is Reason.PERMISSION_DENIED
    assert await refusal(permissions.revoke(me, ADMIN.uri, "")) is Reason.PERMISSION_DENIED
    assert await refusal(permissions.revoke_key(me, made.key.id)) is Reason.NOT_FOUND
    for listing in (permissions.keys, permissions.grants):
        with pytest.raises(ParadeError, match="needs admin"):
            listing(me, "", 0, "")


@pytest.mark.parametrize("namespace", ["research", EVERYWHERE])
async def test_an_admin_of_one_namespace_is_nobody_in_another(world: World, namespace: str) -> None:
    permissions, me = world.permissions, asker(ADMIN)

    assert await refusal(permissions.grant(me, PERSON, Role.VIEWER, namespace)) is Reason.PERMISSION_DENIED
    assert await refusal(permissions.revoke(me, PERSON, namespace)) is Reason.PERMISSION_DENIED
    if namespace != EVERYWHERE:
        assert await refusal(permissions.create_key(me, "mine", Role.VIEWER, namespace, 60)) is Reason.PERMISSION_DENIED
        with pytest.raises(ParadeError, match="needs admin"):
            permissions.keys(me, namespace, 0, "")
    with pytest.raises(ParadeError, match="needs admin"):
        permissions.grants(me, namespace, 0, "")


async def test_the_key_of_another_namespace_cannot_be_revoked_and_is_not_told_of(world: World) -> None:
    made = await world.key()
    stranger = Identity.client("eve", "research")
    await world.permissions.grant(asker(ROOT), stranger.uri, Role.ADMIN, "research")

    assert await refusal(world.permissions.revoke_key(asker(stranger, "research"), made.key.id)) is Reason.NOT_FOUND
    assert world.role_of(made) is Role.DEVELOPER


async def test_who_is_admin_everywhere_is_admin_in_each_namespace(world: World) -> None:
    made = await world.permissions.create_key(asker(ROOT, "operations"), "far", Role.VIEWER, "research", 60)
    listed, _ = world.permissions.grants(asker(ROOT, "operations"), EVERYWHERE, 0, "")

    assert world.role_of(made) is Role.VIEWER
    assert made.key.namespace == "research"
    assert {grant.namespace for grant in listed} == {"sales", EVERYWHERE}


@pytest.mark.parametrize(
    ("subject", "namespace", "fault"),
    [
        ("key:0123456789", "", "is an API key"),
        ("spiffe://parade.local/service/gateway", "", "is no client"),
        ("spiffe://parade.local/ns/sales/agent/a/i", "", "is no client"),
        ("spiffe://elsewhere.local/ns/sales/client/bob", "", "is no client"),
        ("spiffe://parade.local/ns/research/client/bob", "", "is a client of namespace research"),
        ("bob", "", "is no client"),
        ("", "", "is no client"),
        ("oidc:https://id.example", "", "is none of the form"),
        ("oidc:https://id.example#a b", "", "is none of the form"),
        ("oidc:https://id.example#" + "a" * 500, "", "is none of the form"),
        (PERSON, "Sales", "must be a lower-case letter"),
    ],
)
async def test_a_role_is_granted_to_clients_and_people_alone(world: World, subject: str, namespace: str, fault: str) -> None:
    with pytest.raises(ParadeError) as caught:
        await world.permissions.grant(asker(ADMIN), subject, Role.VIEWER, namespace)

    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("name", "role", "namespace", "lifetime"),
    [
        ("", Role.VIEWER, "", 60),
        ("a" * 81, Role.VIEWER, "", 60),
        ("a\nb", Role.VIEWER, "", 60),
        ("a", Role.NONE, "", 60),
        ("a", Role.VIEWER, EVERYWHERE, 60),
        ("a", Role.VIEWER, "", 0),
        ("a", Role.VIEWER, "", -1),
        ("a", Role.VIEWER, "", MAX_LIFETIME + 1),
    ],
)
async def test_a_key_that_cannot_be_is_refused(world: World, name: str, role: Role, namespace: str, lifetime: float) -> None:
    assert await refusal(world.permissions.create_key(asker(ADMIN), name, role, namespace, lifetime)) is Reason.INVALID_ARGUMENTS


async def test_a_namespace_has_so_many_keys(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parade_agent_manager.permissions.MAX_KEYS", 2)
    assert MAX_KEYS > 2
    for _ in range(2):
        await world.key()

    assert await refusal(world.key()) is Reason.FAILED_PRECONDITION


async def test_keys_that_are_over_are_forgotten_after_a_month(world: World) -> None:
    short, revoked = await world.key(lifetime=60), await world.key()
    await world.permissions.revoke_key(asker(ADMIN), revoked.key.id)

    await world.clock.advance(RETENTION.total_seconds() - 1)
    first = await world.key(lifetime=MAX_LIFETIME)
    before = {key.id for key in await world.store.keys()}
    await world.clock.advance(62)
    second = await world.key(lifetime=MAX_LIFETIME)

    assert before == {short.key.id, revoked.key.id, first.key.id}
    assert {key.id for key in await world.store.keys()} == {first.key.id, second.key.id}
    assert {key.id for key in world.permissions.keys(asker(ADMIN), "", 0, "")[0]} == {first.key.id, second.key.id}


async def test_lists_come_in_pages(world: World) -> None:
    made = {(await world.key()).key.id for _ in range(5)}
    for name in ("a", "b", "c"):
        await world.permissions.grant(asker(ADMIN), Identity.client(name, "sales").uri, Role.VIEWER, "")
    found, token = [], ""

    while True:
        page, token = world.permissions.keys(asker(ADMIN), "", 2, token)
        found += [key.id for key in page]
        if not token:
            break
    first, token = world.permissions.grants(asker(ADMIN), "", 3, "")
    rest, end = world.permissions.grants(asker(ADMIN), "", 3, token)

    assert found == sorted(made)
    assert [grant.subject.rpartition("/")[2] for grant in first + rest] == ["root", "a", "ada", "b", "c"]
    assert end == ""


async def test_the_first_admin_is_made_once(world: World) -> None:
    await world.permissions.admit_first(OTHER)

    assert world.grants.role_of(OTHER.uri, "sales") is Role.NONE
    assert world.grants.role_of(ROOT.uri, "any") is Role.ADMIN


async def test_the_first_key_is_made_once_and_its_owner_alone_reads_it(world: World, tmp_path: Path) -> None:
    path = tmp_path / "state" / "api-key"

    await first_key.ensure(world.permissions, ROOT, path, world.clock)
    secret = path.read_text()
    await first_key.ensure(world.permissions, ROOT, path, world.clock)

    assert path.read_text() == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert world.permissions.opens(secret.strip(), world.clock.now())
    assert len(await world.store.keys()) == 1


@pytest.mark.parametrize("content", ["", "pk_something", new_key()], ids=["empty", "other", "unknown"])
async def test_a_file_that_opens_nothing_is_written_anew(world: World, tmp_path: Path, content: str) -> None:
    path = tmp_path / "api-key"
    path.write_text(content)

    await first_key.ensure(world.permissions, ROOT, path, world.clock)

    assert world.permissions.opens(path.read_text().strip(), world.clock.now())


async def test_the_first_key_is_renewed_before_it_ends(world: World, tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    await first_key.ensure(world.permissions, ROOT, path, world.clock)
    await world.clock.advance(MAX_LIFETIME - 3600)

    await first_key.ensure(world.permissions, ROOT, path, world.clock)

    assert world.permissions.opens(path.read_text().strip(), world.clock.now() + timedelta(days=2))


async def test_who_is_no_admin_any_more_gets_no_first_key(world: World, tmp_path: Path) -> None:
    await world.permissions.revoke(asker(ROOT), ROOT.uri, EVERYWHERE)

    await first_key.ensure(world.permissions, ROOT, tmp_path / "api-key", world.clock)

    assert not (tmp_path / "api-key").exists()
