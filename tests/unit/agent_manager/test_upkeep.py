import asyncio
from collections.abc import Iterable

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_agent_manager.model import Heartbeat, Instance, InstanceState
from parade_agent_manager.store import Store
from tests.support.registrations import registration
from tests.support.waiting import eventually
from tests.unit.agent_manager.conftest import Manager


async def test_observed_states_and_times_of_heartbeats_reach_the_store(manager: Manager, store: Store) -> None:
    identity = manager.newcomer()
    await manager.engine.register(identity, registration())
    manager.engine.heartbeat(identity, Heartbeat())

    async def stored_heartbeat_is_the_last() -> bool:
        await manager.clock.advance(1)
        manager.engine.heartbeat(identity, Heartbeat())
        [instance] = await store.instances()
        return (
            instance.state is InstanceState.READY and instance.heartbeat is not None and (instance.heartbeat - began).total_seconds() > 25
        )

    began = manager.clock.now()
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(manager.upkeep.write())
        await eventually(stored_heartbeat_is_the_last)
        loop.cancel()


async def test_a_store_that_is_away_keeps_nobody_from_being_lost_and_is_written_once_it_is_back(
    manager: Manager, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = manager.newcomer()
    await manager.engine.register(identity, registration())
    manager.engine.heartbeat(identity, Heartbeat())
    attempts = 0
    put_states = store.put_states

    async def away(_: Iterable[Instance]) -> None:
        nonlocal attempts
        attempts += 1
        raise ParadeError(Reason.UNAVAILABLE, "away")

    monkeypatch.setattr(store, "put_states", away)

    async def stored_as_lost() -> bool:
        await manager.clock.advance(1)
        return [instance.state for instance in await store.instances()] == [InstanceState.LOST]

    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(manager.upkeep.end_leases()), tasks.create_task(manager.upkeep.write())]
        await manager.clock.advance(8)
        known = manager.registry.instance(identity.instance)
        seen_away = attempts
        monkeypatch.setattr(store, "put_states", put_states)
        await eventually(stored_as_lost)
        assert all(not loop.done() for loop in loops)
        for loop in loops:
            loop.cancel()

    assert known is not None
    assert known.state is InstanceState.LOST
    assert seen_away > 1
