"""The engine with everything around it: real store, a clock that the test owns."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire.ca import CertificateAuthority
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.log import Log
from parade.wire.revocations import Revocations
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.catalogue import Catalogue
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.engine import Engine, Timings
from parade_agent_manager.enrolment import Enrolment
from parade_agent_manager.quotas import AgentLimits
from parade_agent_manager.registry import Registry
from parade_agent_manager.revoker import Revoker
from parade_agent_manager.store import Store
from parade_agent_manager.tables import METADATA
from parade_agent_manager.upkeep import Upkeep
from parade_agent_manager.waits import Waits
from parade_chassis.clock import ManualClock
from parade_chassis.ids import Ids
from parade_chassis.quotas import Quotas
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

LIFETIME = timedelta(hours=1)
"""How long a certificate is good."""
FINGERPRINT = "5" * 32
"""What stands at the end of a join token."""


@dataclass(frozen=True, slots=True)
class Manager:
    """The parts of an agent_manager."""

    store: Store
    credentials: CredentialStore
    registry: Registry
    engine: Engine
    catalogue: Catalogue
    feed: AccessFeed
    refused: Revocations
    """What the process itself refuses."""
    revoker: Revoker
    enrolment: Enrolment
    upkeep: Upkeep
    waits: Waits
    clock: ManualClock
    ids: Ids

    def newcomer(self, agent: str = "cleaner", namespace: str = "default") -> Identity:
        """Returns the identity of an instance that has enrolled."""
        return Identity.agent(agent, self.ids.new("i"), namespace)


async def nobody_has_keys(_maker: str) -> None:
    """Has no keys to revoke: they are in another part, see `test_permissions`."""


def manager_of(
    store: Store,
    credentials: CredentialStore,
    clock: ManualClock,
    watch_capacity: int = 100,
    disown: Callable[[str], Awaitable[None]] = nobody_has_keys,
    limits: AgentLimits | None = None,
) -> Manager:
    """Wires an agent_manager over a store: a second one over the same store is the first one after a restart."""
    log, ids, waits = Log(), Ids(clock), Waits()
    registry = Registry(watch_capacity, waits)
    quotas = Quotas("agent_manager", {} if limits is None else {"default": limits}, AgentLimits())
    timings = Timings(heartbeat_interval=2, lease_duration=6)
    engine = Engine(store=store, registry=registry, clock=clock, log=log, timings=timings, quotas=quotas)
    feed, refused = AccessFeed(watch_capacity, waits), Revocations()
    revoker = Revoker(
        store=credentials,
        feed=feed,
        own=refused,
        dismiss=engine.dismiss,
        disown=disown,
        clock=clock,
        log=log,
        domain=DEFAULT_DOMAIN,
        retention=timedelta(days=90),
    )
    enrolment = Enrolment(
        store=credentials,
        registry=registry,
        revoker=revoker,
        authority=CertificateAuthority.create(DEFAULT_DOMAIN, clock.now()),
        fingerprint=lambda: FINGERPRINT,
        clock=clock,
        ids=ids,
        log=log,
        domain=DEFAULT_DOMAIN,
        certificate_lifetime=LIFETIME,
        quotas=quotas,
    )
    upkeep = Upkeep(engine, enrolment, revoker, clock, log)
    return Manager(store, credentials, registry, engine, Catalogue(registry), feed, refused, revoker, enrolment, upkeep, waits, clock, ids)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path / 'agents.db'}", "parade_agent_manager", METADATA)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, RECORDER)


@pytest.fixture
def credentials(database: Database) -> CredentialStore:
    return CredentialStore(database, RECORDER)


@pytest.fixture
def manager(store: Store, credentials: CredentialStore) -> Manager:
    return manager_of(store, credentials, ManualClock())
