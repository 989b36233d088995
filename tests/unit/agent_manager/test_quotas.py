"""A namespace has so many agents, instances, functions and join tokens; what is beyond is refused, and another namespace has its own."""

from collections.abc import Awaitable
from typing import Any

import pytest

from parade.wire.certificates import new_key_and_request
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.quotas import AgentLimits
from parade_agent_manager.store import Store
from parade_chassis.clock import ManualClock
from tests.support.registrations import function, registration
from tests.unit.agent_manager.conftest import Manager, manager_of

LIMITS = AgentLimits(agents=2, instances=3, functions=4, join_tokens=2)


@pytest.fixture
def tight(store: Store, credentials: CredentialStore) -> Manager:
    return manager_of(store, credentials, ManualClock(), limits=LIMITS)


async def refused(asked: Awaitable[Any]) -> str:
    with pytest.raises(ParadeError) as caught:
        await asked
    assert caught.value.reason is Reason.NO_CAPACITY
    assert "PARADE_AGENT_MANAGER_QUOTAS" in caught.value.message
    return caught.value.metadata["quota"]


async def registered(manager: Manager, agent: str = "cleaner", namespace: str = "default", functions: int = 1) -> Identity:
    identity = manager.newcomer(agent, namespace)
    described = tuple(function(f"f{number}") for number in range(functions))
    await manager.engine.register(identity, registration(functions=described))
    return identity


async def test_so_many_instances_register_until_one_leaves(tight: Manager) -> None:
    first, *_ = [await registered(tight) for _ in range(3)]

    assert await refused(registered(tight)) == "instances"
    await registered(tight, namespace="other")
    await tight.engine.deregister(first)
    again = await registered(tight)
    assert await refused(registered(tight)) == "instances"
    await tight.engine.register(again, registration(functions=(function("f0"),)))  # who is there already may say so again


async def test_what_is_there_after_a_restart_counts(tight: Manager) -> None:
    for _ in range(3):
        await registered(tight)
    restarted = manager_of(tight.store, tight.credentials, tight.clock, limits=LIMITS)
    await restarted.engine.load()

    assert await refused(registered(restarted)) == "instances"


async def test_an_instance_that_is_forgotten_counts_no_more(tight: Manager) -> None:
    for _ in range(3):
        await registered(tight)
    await tight.clock.advance(10)
    tight.engine.expire()
    lost = await refused(registered(tight))
    await tight.clock.advance(tight.engine.timings.lost_retention)
    await tight.engine.forget()

    assert lost == "instances"
    await registered(tight)
    assert tight.registry.present("default") == 1


async def test_so_many_agents_come_into_being(tight: Manager) -> None:
    for agent in ("cleaner", "analyst"):
        await registered(tight, agent)

    assert await refused(registered(tight, "third")) == "agents"
    await registered(tight, "analyst")
    await registered(tight, "third", namespace="other")


async def test_so_many_functions_are_registered(tight: Manager) -> None:
    await registered(tight, "cleaner", functions=3)

    assert await refused(registered(tight, "analyst", functions=2)) == "functions"
    await registered(tight, "analyst", functions=1)
    assert await refused(registered(tight, "analyst", functions=2)) == "functions"
    await registered(tight, "cleaner", functions=2)


async def test_so_many_join_tokens_can_be_used_at_a_time(tight: Manager) -> None:
    async def made(namespace: str = "default") -> str:
        return (await tight.enrolment.create_token(namespace, "cleaner", 600, "somebody")).secret

    first, _ = await made(), await made()

    assert await refused(made()) == "join_tokens"
    await made("other")
    await tight.enrolment.enrol(first, new_key_and_request()[1])
    await made()
    assert await refused(made()) == "join_tokens"
    await tight.clock.advance(601)
    await made()
