"""What the agent_manager's store promises, on every database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from parade_agent_manager.model import Agent, AgentState, Instance, InstanceState
from parade_agent_manager.store import Store
from parade_agent_manager.tables import METADATA
from parade_chassis.store import Database
from tests.support.recorder import RECORDER
from tests.support.registrations import function, registration

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
AGENT = Agent("default", "cleaner", AgentState.ACTIVE, (function(),))
INSTANCE = Instance("i-1", "default", "cleaner", "i-1.cleaner.default.agent.parade.local", registration(), InstanceState.JOINING, NOW, NOW)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    yield Store(database, RECORDER)
    await database.close()


async def test_what_was_added_is_read_back_exactly(store: Store) -> None:
    odd = replace(
        INSTANCE,
        registration=registration(
            labels={"größe": "\u0000 ✓"},
            functions=(function("stream", streaming=True, timeout=0.25, description="é"), function("trip", durable=True)),
        ),
    )

    await store.add_instance(AGENT, odd)

    assert await store.agents() == [AGENT]
    assert await store.instances() == [odd]


async def test_adding_again_replaces_what_an_attempt_left(store: Store) -> None:
    await store.add_instance(AGENT, INSTANCE)

    await store.add_instance(replace(AGENT, state=AgentState.PAUSED), replace(INSTANCE, state=InstanceState.READY))

    assert [agent.state for agent in await store.agents()] == [AgentState.PAUSED]
    assert [instance.state for instance in await store.instances()] == [InstanceState.READY]


async def test_states_change_and_the_rest_stays(store: Store) -> None:
    other = replace(INSTANCE, id="i-2")
    await store.add_instance(AGENT, INSTANCE)
    await store.add_instance(AGENT, other)
    after = replace(INSTANCE, state=InstanceState.DRAINING, draining=True, changed=NOW + timedelta(seconds=1), heartbeat=NOW)

    await store.put_states([after, replace(INSTANCE, id="i-unknown")])

    assert sorted(await store.instances(), key=lambda instance: instance.id) == [after, other]


async def test_what_is_removed_is_gone_and_removing_it_again_is_no_fault(store: Store) -> None:
    await store.add_instance(AGENT, INSTANCE)

    for _ in range(2):
        await store.remove(["i-1", "i-unknown"], [AGENT.key])

    assert await store.instances() == []
    assert await store.agents() == []


async def test_a_schema_that_is_up_to_date_is_opened_again(store: Store, database_url: str) -> None:
    await store.add_instance(AGENT, INSTANCE)

    database = await Database.open(database_url, "parade_agent_manager", METADATA)
    again = await Store(database, RECORDER).instances()
    await database.close()

    assert again == [INSTANCE]
