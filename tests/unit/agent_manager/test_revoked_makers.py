"""What somebody has let in goes with them: the keys of a client whose identity is revoked."""

from datetime import timedelta

import pytest

from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.revoker import Revoker
from parade_agent_manager.rights_store import RightsStore
from parade_agent_manager.store import Store
from parade_agent_manager.waits import Waits
from parade_chassis.clock import ManualClock
from parade_chassis.store import Database
from tests.support.recorder import RECORDER
from tests.unit.agent_manager.conftest import manager_of, nobody_has_keys
from tests.unit.agent_manager.test_permissions import ADMIN, OTHER, ROOT, World, asker, permissions_over, standing_of

LONG = timedelta(days=300).total_seconds()
"""Seconds: longer than a revocation is known."""


class Mesh(World):
    """Keys, grants and revocations over one database."""

    database: Database
    revoker: Revoker

    def with_revoker(self, *, carried_out: bool = True) -> Revoker:
        disown = self.permissions.disown if carried_out else nobody_has_keys
        store, credentials = Store(self.database, RECORDER), CredentialStore(self.database, RECORDER)
        self.revoker = manager_of(store, credentials, self.clock, disown=disown).revoker
        return self.revoker

    async def revoke(self, client: Identity) -> None:
        await self.revoker.revoke_identity(client.uri, "sales", "the laptop is lost", OTHER.uri)


@pytest.fixture
async def mesh(database: Database) -> Mesh:
    clock, feed = ManualClock(), AccessFeed(100, Waits())
    store, standing = RightsStore(database, RECORDER), standing_of(clock)
    permissions = permissions_over(store, feed, standing, clock)
    made = Mesh(store, clock, permissions, standing, feed)
    made.database = database
    made.with_revoker()
    await permissions.load()
    await permissions.admit_first(ROOT)
    for admin in (ADMIN, OTHER):
        await permissions.grant(asker(ROOT, "operations"), admin.uri, Role.ADMIN, "sales")
    return made


async def test_the_keys_of_a_revoked_client_open_nothing_any_more(mesh: Mesh) -> None:
    stolen, others = await mesh.key(Role.ADMIN, lifetime=LONG), await mesh.key(maker=OTHER)
    child = await mesh.key(maker=stolen.key.subject)

    await mesh.revoke(ADMIN)

    assert [mesh.role_of(key) for key in (stolen, child, others)] == [None, Role.NONE, Role.DEVELOPER]
    assert mesh.standing.of(stolen.key.subject, "sales") is Role.NONE


async def test_they_do_not_come_back_once_the_revocation_is_forgotten(mesh: Mesh) -> None:
    stolen = await mesh.key(Role.ADMIN, lifetime=LONG)
    await mesh.revoke(ADMIN)

    await mesh.clock.advance(timedelta(days=91).total_seconds())
    await mesh.revoker.forget_expired()
    await mesh.restarted().load()

    assert mesh.role_of(stolen) is None


async def test_a_restart_takes_back_what_a_process_that_ended_too_soon_has_left(mesh: Mesh) -> None:
    stolen = await mesh.key()
    mesh.with_revoker(carried_out=False)
    await mesh.revoke(ADMIN)
    left = mesh.role_of(stolen)

    await mesh.restarted().load()
    await mesh.with_revoker().load()

    assert (left, mesh.role_of(stolen)) == (Role.DEVELOPER, None)
