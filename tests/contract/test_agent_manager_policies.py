"""What the store of policies promises, on every database."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from parade_agent_manager.policy import Policy
from parade_agent_manager.policy_store import KEPT, PolicyStore
from parade_agent_manager.tables import AUDIT, METADATA
from parade_chassis.audit_log import AuditLog
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
ADA = "spiffe://parade.local/ns/sales/client/ada"
POLICY = Policy("sales", "payments", 1, "forbid (principal, action, resource); // größe ✓", 1, ADA, NOW)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> PolicyStore:
    return PolicyStore(database, RECORDER)


async def test_every_version_is_read_back_exactly_and_the_newest_of_each(store: PolicyStore) -> None:
    second = replace(POLICY, version=2, text="other", created=NOW + timedelta(seconds=1))
    other, elsewhere = replace(POLICY, name="agents"), replace(POLICY, namespace="research")
    for policy in (POLICY, second, other, elsewhere):
        await store.add(policy)

    assert await store.version("sales", "payments", 1) == POLICY
    assert await store.version("sales", "payments", 3) is None
    assert sorted(await store.newest(), key=lambda policy: (policy.namespace, policy.name)) == [elsewhere, other, second]


async def test_old_versions_of_the_same_policy_are_dropped(store: PolicyStore) -> None:
    other = replace(POLICY, name="agents")
    for policy in (POLICY, other, replace(POLICY, version=KEPT), replace(POLICY, version=KEPT + 1)):
        await store.add(policy)

    assert await store.version("sales", "payments", 1) is None
    assert await store.version("sales", "payments", KEPT) == replace(POLICY, version=KEPT)
    assert await store.version("sales", "agents", 1) == other


async def test_what_is_removed_is_gone(store: PolicyStore) -> None:
    for policy in (POLICY, replace(POLICY, version=2), replace(POLICY, name="agents")):
        await store.add(policy)

    for _ in range(2):
        await store.remove(POLICY)

    assert [policy.name for policy in await store.newest()] == ["agents"]


async def test_each_version_is_told_to_the_audit_log_by_its_hash(store: PolicyStore, database: Database) -> None:
    await store.add(POLICY)
    await store.add(replace(POLICY, version=2, text="", rule_count=0))

    entries = (await AuditLog(database, AUDIT).newest("sales", {}, {}, 10))[::-1]

    digest = hashlib.sha256(POLICY.text.encode()).hexdigest()
    assert [(entry.resource, orjson.loads(entry.facts)) for entry in entries] == [
        ("policies/payments", {"version": 1, "rules": 1, "sha256": digest}),
        ("policies/payments", {"version": 2, "deleted": True}),
    ]
