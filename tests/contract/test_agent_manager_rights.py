"""What the store of keys and grants promises, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from parade.wire.roles import EVERYWHERE, Role
from parade_agent_manager.rights import ApiKey, Grant
from parade_agent_manager.rights_store import RightsStore
from parade_agent_manager.tables import METADATA
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
ADA = "spiffe://parade.local/ns/sales/client/ada"
KEY = ApiKey("0123456789", "ab" * 32, "größe ✓", "sales", Role.DEVELOPER, ADA, NOW, NOW + timedelta(days=90))
GRANT = Grant(ADA, "sales", Role.OPERATOR, "spiffe://parade.local/service/agent_manager", NOW)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[RightsStore]:
    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    yield RightsStore(database, RECORDER)
    await database.close()


async def test_what_was_written_is_read_back_exactly(store: RightsStore) -> None:
    await store.put_key(KEY)
    await store.put_grant(GRANT)

    assert await store.keys() == [KEY]
    assert await store.grants() == [GRANT]


async def test_a_key_is_written_over_when_it_is_revoked(store: RightsStore) -> None:
    await store.put_key(KEY)
    await store.put_key(replace(KEY, id="other"))
    revoked = replace(KEY, revoked=NOW + timedelta(seconds=1))

    await store.put_key(revoked)

    assert {key.id: key for key in await store.keys()} == {KEY.id: revoked, "other": replace(KEY, id="other")}


async def test_a_subject_has_one_role_in_a_namespace(store: RightsStore) -> None:
    everywhere = replace(GRANT, namespace=EVERYWHERE)
    viewer = replace(GRANT, role=Role.VIEWER, granted=NOW + timedelta(seconds=1))
    for grant in (GRANT, everywhere, viewer):
        await store.put_grant(grant)

    assert sorted(await store.grants(), key=lambda grant: grant.place) == [everywhere, viewer]


async def test_what_is_removed_is_gone_and_removing_it_again_is_no_fault(store: RightsStore) -> None:
    await store.put_key(KEY)
    await store.put_grant(GRANT)

    for _ in range(2):
        await store.remove_keys([KEY.id, "unknown"])
        await store.remove_grant(GRANT)

    assert await store.keys() == []
    assert await store.grants() == []
