"""The engine with everything around it: real store, a clock that the test owns."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.log import Log
from parade_agent_manager.catalogue import Catalogue
from parade_agent_manager.engine import Engine, Timings
from parade_agent_manager.enrolment import Enrolment
from parade_agent_manager.registry import Registry
from parade_agent_manager.store import Store
from parade_agent_manager.tables import METADATA
from parade_agent_manager.upkeep import Upkeep
from parade_agent_manager.waits import Waits
from parade_chassis.ca import CertificateAuthority
from parade_chassis.clock import ManualClock
from parade_chassis.ids import Ids
from parade_chassis.store import Database


@dataclass(frozen=True, slots=True)
class Manager:
    """The parts of an agent_manager."""

    store: Store
    registry: Registry
    engine: Engine
    catalogue: Catalogue
    enrolment: Enrolment
    upkeep: Upkeep
    waits: Waits
    clock: ManualClock
    ids: Ids

    def newcomer(self, agent: str = "cleaner", namespace: str = "default") -> Identity:
        """Returns the identity of an instance that has enrolled."""
        return Identity.agent(agent, self.ids.new("i"), namespace)


def manager_of(store: Store, clock: ManualClock, watch_capacity: int = 100) -> Manager:
    """Wires an agent_manager over a store: a second one over the same store is the first one after a restart."""
    log, ids, waits = Log(), Ids(clock), Waits()
    registry = Registry(watch_capacity, waits)
    engine = Engine(store=store, registry=registry, clock=clock, log=log, timings=Timings(heartbeat_interval=2, lease_duration=6))
    enrolment = Enrolment(
        store=store,
        registry=registry,
        authority=CertificateAuthority.create(DEFAULT_DOMAIN, clock.now()),
        clock=clock,
        ids=ids,
        log=log,
        domain=DEFAULT_DOMAIN,
        certificate_lifetime=timedelta(hours=24),
    )
    return Manager(store, registry, engine, Catalogue(registry), enrolment, Upkeep(engine, enrolment, clock, log), waits, clock, ids)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = await Database.open(f"sqlite:///{tmp_path / 'agents.db'}", "parade_agent_manager", METADATA)
    yield Store(database)
    await database.close()


@pytest.fixture
def manager(store: Store) -> Manager:
    return manager_of(store, ManualClock())
