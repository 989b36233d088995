"""What the agent_manager's audit log is told in the transactions of its stores, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from parade.wire.identity import Identity
from parade.wire.roles import Role
from parade_agent_manager.certificate import Certificate, Revocation
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.model import AgentState, InstanceState
from parade_agent_manager.rights import ApiKey, Grant
from parade_agent_manager.rights_store import RightsStore
from parade_agent_manager.store import Store
from parade_agent_manager.tables import AUDIT, METADATA
from parade_chassis.audit_log import AuditLog
from parade_chassis.context import RequestContext, enter
from parade_chassis.store import Database
from tests.contract.test_agent_manager_credentials import TOKEN
from tests.contract.test_agent_manager_store import AGENT, INSTANCE, NOW
from tests.support.recorder import RECORDER

ANA = Identity.client("ana", "default")
METHOD = "/parade.v1.KeyService/CreateKey"
SELF = Identity.service("agent_manager").uri
IDENTITY = Identity.agent("cleaner", "i-1", "default").uri
CERTIFICATE = Certificate("1a", IDENTITY, "default", "f" * 64, "PEM", NOW, NOW + timedelta(hours=1))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    yield database
    await database.close()


async def told(database: Database) -> list[tuple[str, str, str, Any]]:
    """Returns action, subject, resource and facts of the entries, oldest first, of a log that is whole."""
    log = AuditLog(database, AUDIT)
    assert (await log.verify())[1] == []
    entries = (await log.newest("default", {}, {}, 100))[::-1]
    return [(entry.action, entry.subject, entry.resource, orjson.loads(entry.facts)) for entry in entries]


async def test_a_change_is_recorded_with_who_asks_and_what_for(database: Database) -> None:
    enter(RequestContext(METHOD, ANA, "default", ANA.uri))
    rights = RightsStore(database, RECORDER)
    key = ApiKey("id", "d" * 64, "ci", "default", Role.VIEWER, ANA.uri, NOW, NOW + timedelta(days=1))

    await rights.put_key(key)
    await rights.put_key(replace(key, revoked=NOW))

    facts = {"name": "ci", "role": "viewer", "expires": key.expires.isoformat(), "revoked": False}
    assert await told(database) == [(METHOD, ANA.uri, "keys/id", facts), (METHOD, ANA.uri, "keys/id", facts | {"revoked": True})]


async def test_what_the_service_does_by_itself_is_recorded_as_its_own(database: Database) -> None:
    rights = RightsStore(database, RECORDER)
    grant = Grant(ANA.uri, "default", Role.ADMIN, SELF, NOW)

    await rights.put_grant(grant)
    await rights.remove_grant(grant)
    await rights.remove_grant(grant)

    assert await told(database) == [
        ("", SELF, f"roles/{ANA.uri}", {"role": "admin"}),
        ("", SELF, f"roles/{ANA.uri}", {"role": "none"}),
    ]


async def test_the_life_of_a_certificate_is_recorded_and_no_secret_of_it(database: Database) -> None:
    credentials = CredentialStore(database, RECORDER)
    successor = replace(CERTIFICATE, serial="2b", key_fingerprint="e" * 64)

    await credentials.add_token(TOKEN)
    await credentials.use_token(TOKEN.hash, "i-1", CERTIFICATE, NOW)
    await credentials.use_token(TOKEN.hash, "i-2", successor, NOW)
    await credentials.supersede("1a", successor)
    await credentials.supersede("1a", replace(successor, serial="3c", key_fingerprint="d" * 64))
    await credentials.add_revocation(Revocation(IDENTITY, "default", NOW, NOW + timedelta(days=1), "stolen", ANA.uri))

    token = TOKEN.hash[:16]
    assert await told(database) == [
        ("", SELF, "agents/cleaner", {"token": token, "expires": TOKEN.expires.isoformat()}),
        ("", IDENTITY, f"identities/{IDENTITY}", {"serial": "1a", "token": token}),
        ("", SELF, f"identities/{IDENTITY}", {"serial": "2b", "supersedes": "1a"}),
        ("", SELF, f"identities/{IDENTITY}", {"revoked": True, "reason": "stolen", "expires": (NOW + timedelta(days=1)).isoformat()}),
    ]


async def test_orders_to_agents_are_recorded_and_what_is_observed_is_not(database: Database) -> None:
    store = Store(database, RECORDER)
    await store.add_instance(AGENT, INSTANCE)
    paused, gone = replace(AGENT, state=AgentState.PAUSED), replace(INSTANCE, state=InstanceState.GONE)

    await store.put_agent(paused)
    await store.put_states([INSTANCE])
    await store.put_agent(paused, ordered=True)
    await store.put_states([gone], ordered=True)

    assert await told(database) == [
        ("", SELF, "agents/cleaner", {"state": "PAUSED"}),
        ("", SELF, "agents/cleaner/instances/i-1", {"state": "GONE", "draining": False}),
    ]
