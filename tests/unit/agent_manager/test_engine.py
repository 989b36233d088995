"""What the agent_manager decides about instances, from joining to leaving.

One file, though a long one: it follows one state machine through all its moves.
"""

import asyncio
from typing import Any

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.model import Agent, AgentState, Heartbeat, Instance, InstanceState, Load
from parade_agent_manager.store import Store
from parade_chassis.clock import ManualClock
from tests.support.registrations import function, registration
from tests.unit.agent_manager.conftest import Manager, manager_of


def state(manager: Manager, identity: Identity) -> InstanceState:
    instance = manager.registry.instance(identity.instance)
    assert instance is not None
    return instance.state


async def joined(manager: Manager, agent: str = "cleaner", namespace: str = "default") -> Identity:
    identity = manager.newcomer(agent, namespace)
    await manager.engine.register(identity, registration())
    manager.engine.heartbeat(identity, Heartbeat())
    return identity


async def test_a_new_instance_is_joining_until_its_first_heartbeat(manager: Manager) -> None:
    identity = manager.newcomer()

    registered = await manager.engine.register(identity, registration())
    after, lease_end = manager.engine.heartbeat(identity, Heartbeat(Load(in_flight=3)))

    assert registered.state is InstanceState.JOINING
    assert after.state is InstanceState.READY
    assert after.load.in_flight == 3
    assert (lease_end - manager.clock.now()).total_seconds() == 6


async def test_registering_again_with_the_same_content_changes_nothing(manager: Manager) -> None:
    identity = await joined(manager)

    again = await manager.engine.register(identity, registration())

    assert again.state is InstanceState.READY
    assert len(manager.catalogue.roster(("default", "cleaner")).instances) == 1


async def test_registering_again_with_other_content_is_refused(manager: Manager) -> None:
    identity = await joined(manager)

    with pytest.raises(ParadeError) as raised:
        await manager.engine.register(identity, registration(version="2"))

    assert raised.value.reason is Reason.ALREADY_EXISTS


async def test_a_second_instance_stands_beside_the_first(manager: Manager) -> None:
    first, second = await joined(manager), await joined(manager)

    roster = manager.catalogue.roster(("default", "cleaner"))

    assert [instance.id for instance in roster.instances] == [first.instance, second.instance]


async def test_many_instances_registering_at_once_are_all_there_and_stored(manager: Manager, store: Store) -> None:
    await asyncio.gather(*(joined(manager) for _ in range(30)))

    assert len(manager.catalogue.roster(("default", "cleaner")).instances) == 30
    assert len(await store.instances()) == 30


async def test_a_bad_registration_leaves_no_trace(manager: Manager, store: Store) -> None:
    with pytest.raises(ParadeError) as raised:
        await manager.engine.register(manager.newcomer(), registration(address="", max_concurrency=0))

    assert [violation.field for violation in raised.value.violations] == ["address", "max_concurrency"]
    assert await store.agents() == []


async def test_an_instance_that_says_nothing_is_lost_within_ten_seconds_and_a_heartbeat_brings_it_back(manager: Manager) -> None:
    identity = await joined(manager)

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(manager.upkeep.end_leases())
        await manager.clock.advance(5)
        before = state(manager, identity)
        await manager.clock.advance(5)
        silent = state(manager, identity)
        manager.engine.heartbeat(identity, Heartbeat())
        returned = state(manager, identity)
        loop.cancel()

    assert (before, silent, returned) == (InstanceState.READY, InstanceState.LOST, InstanceState.READY)


async def test_an_instance_that_beats_is_never_lost(manager: Manager) -> None:
    identity = await joined(manager)

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(manager.upkeep.end_leases())
        for _ in range(30):
            await manager.clock.advance(2)
            manager.engine.heartbeat(identity, Heartbeat())
            assert state(manager, identity) is InstanceState.READY
        loop.cancel()


async def test_a_degraded_instance_recovers(manager: Manager) -> None:
    identity = await joined(manager)

    manager.engine.heartbeat(identity, Heartbeat(degraded=True))
    worse = state(manager, identity)
    manager.engine.heartbeat(identity, Heartbeat())

    assert (worse, state(manager, identity)) == (InstanceState.DEGRADED, InstanceState.READY)


async def test_an_instance_told_to_drain_drains_on_whatever_it_says(manager: Manager) -> None:
    identity = await joined(manager)

    drained = await manager.engine.drain(("default", "cleaner"), identity.instance)
    after, _ = manager.engine.heartbeat(identity, Heartbeat(degraded=True))
    again = await manager.engine.drain(("default", "cleaner"), identity.instance)

    assert drained.state is after.state is again.state is InstanceState.DRAINING


async def test_a_draining_instance_that_was_lost_comes_back_draining(manager: Manager) -> None:
    leaving, told_while_lost = await joined(manager), await joined(manager)
    manager.engine.heartbeat(leaving, Heartbeat(draining=True))
    await manager.clock.advance(7)
    manager.engine.expire()
    lost = await manager.engine.drain(("default", "cleaner"), told_while_lost.instance)

    manager.engine.heartbeat(leaving, Heartbeat())
    manager.engine.heartbeat(told_while_lost, Heartbeat())

    assert lost.state is InstanceState.LOST
    assert state(manager, leaving) is state(manager, told_while_lost) is InstanceState.DRAINING


async def test_draining_what_is_not_there_or_another_agents_is_not_found(manager: Manager) -> None:
    identity = await joined(manager)

    for key, instance in (
        (("default", "cleaner"), "i-none"),
        (("default", "other"), identity.instance),
        (("x", "cleaner"), identity.instance),
    ):
        with pytest.raises(ParadeError) as raised:
            await manager.engine.drain(key, instance)
        assert raised.value.reason is Reason.NOT_FOUND


async def test_an_instance_that_has_left_is_not_listed_cannot_return_and_may_leave_again(manager: Manager) -> None:
    identity = await joined(manager)

    await manager.engine.deregister(identity)
    await manager.engine.deregister(identity)

    assert manager.catalogue.roster(("default", "cleaner")).instances == ()
    with pytest.raises(ParadeError) as beat:
        manager.engine.heartbeat(identity, Heartbeat())
    with pytest.raises(ParadeError) as register:
        await manager.engine.register(identity, registration())
    assert (beat.value.reason, register.value.reason) == (Reason.NOT_FOUND, Reason.FAILED_PRECONDITION)


async def test_a_stranger_is_told_to_register_first(manager: Manager) -> None:
    with pytest.raises(ParadeError) as beat:
        manager.engine.heartbeat(manager.newcomer(), Heartbeat())
    with pytest.raises(ParadeError) as leave:
        await manager.engine.deregister(manager.newcomer())
    assert beat.value.reason is leave.value.reason is Reason.NOT_FOUND


async def test_pausing_is_seen_survives_and_is_undone(manager: Manager, store: Store) -> None:
    await joined(manager)
    key = ("default", "cleaner")

    paused = await manager.engine.set_state(key, AgentState.PAUSED, "somebody")
    restarted = manager_of(store, manager.credentials, manager.clock)
    await restarted.engine.load()
    kept = restarted.catalogue.roster(key).agent.state
    resumed = await restarted.engine.set_state(key, AgentState.ACTIVE, "somebody")

    assert (paused.agent.state, kept, resumed.agent.state) == (AgentState.PAUSED, AgentState.PAUSED, AgentState.ACTIVE)


async def test_after_a_restart_live_instances_have_a_full_lease_to_come_back(manager: Manager, store: Store) -> None:
    identity = await joined(manager)
    await manager.engine.save()
    await manager.clock.advance(300)

    restarted = manager_of(store, manager.credentials, manager.clock)
    await restarted.engine.load()
    restarted.engine.expire()
    at_once = state(restarted, identity)
    await manager.clock.advance(5.9)
    restarted.engine.expire()
    almost = state(restarted, identity)
    await manager.clock.advance(0.1)
    restarted.engine.expire()

    assert (at_once, almost, state(restarted, identity)) == (InstanceState.READY, InstanceState.READY, InstanceState.LOST)


class StallingClock(ManualClock):
    """The clock of a process that once stands still in its sleep."""

    stall = 60.0

    async def sleep(self, seconds: float) -> None:
        stall, self.stall = self.stall, 0.0
        await super().sleep(seconds + stall)


async def test_nobody_is_lost_because_the_process_stood_still(store: Store, credentials: CredentialStore) -> None:
    manager = manager_of(store, credentials, StallingClock())
    identity = await joined(manager)

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(manager.upkeep.end_leases())
        await manager.clock.advance(62)
        stood_still = state(manager, identity)
        await manager.clock.advance(8)
        loop.cancel()

    assert (stood_still, state(manager, identity)) == (InstanceState.READY, InstanceState.LOST)


async def test_a_lost_instance_is_kept_an_hour_and_then_gone_for_watchers(manager: Manager, store: Store) -> None:
    identity = await joined(manager)
    await manager.clock.advance(7)
    manager.engine.expire()
    await manager.clock.advance(3599)
    await manager.engine.forget()
    kept = state(manager, identity)

    with manager.engine.watch("") as watcher:
        list(watcher.picture())
        await manager.clock.advance(1)
        await manager.engine.forget()
        last = await anext(watcher.changes())
    await manager.engine.save()

    assert kept is InstanceState.LOST
    assert isinstance(last, Instance)
    assert last.state is InstanceState.GONE
    assert await store.instances() == []
    assert [agent.name for agent in await store.agents()] == ["cleaner"]


async def test_one_that_has_left_is_remembered_while_its_certificates_are_good(manager: Manager, store: Store) -> None:
    identity = await joined(manager)
    await manager.engine.deregister(identity)

    await manager.clock.advance(24 * 3600 - 1)
    await manager.engine.forget()
    remembered = manager.registry.instance(identity.instance)
    await manager.clock.advance(1)
    await manager.engine.forget()
    await manager.engine.save()

    assert remembered is not None
    assert await store.instances() == []


async def test_functions_stay_known_without_instances_and_follow_the_newest(manager: Manager) -> None:
    old = manager.newcomer()
    await manager.engine.register(old, registration(functions=(function("clean"), function("old"))))
    new = manager.newcomer()
    await manager.engine.register(new, registration(functions=(function("clean"), function("new"))))
    manager.engine.heartbeat(old, Heartbeat())
    manager.engine.heartbeat(new, Heartbeat())

    while_running = manager.catalogue.functions("default", "", 0, "")[0]
    await manager.engine.deregister(old)
    await manager.engine.deregister(new)
    afterwards = manager.catalogue.functions("default", "cleaner", 0, "")[0]

    assert [(known.full_name, known.ready_instances) for known in while_running] == [("cleaner.clean", 2), ("cleaner.new", 1)]
    assert [(known.full_name, known.ready_instances) for known in afterwards] == [("cleaner.clean", 0), ("cleaner.new", 0)]


async def test_a_paused_agent_has_no_ready_instance(manager: Manager) -> None:
    await joined(manager)
    await manager.engine.set_state(("default", "cleaner"), AgentState.PAUSED, "somebody")
    assert manager.catalogue.functions("default", "", 0, "")[0][0].ready_instances == 0


async def test_namespaces_do_not_see_each_other(manager: Manager) -> None:
    await joined(manager, "cleaner", "red")
    await joined(manager, "cleaner", "blue")
    await joined(manager, "analyst", "blue")

    assert [roster.agent.name for roster in manager.catalogue.agents("blue", 0, "")[0]] == ["analyst", "cleaner"]
    assert len(manager.catalogue.roster(("red", "cleaner")).instances) == 1
    with pytest.raises(ParadeError):
        manager.catalogue.roster(("red", "analyst"))


async def test_an_order_cut_short_after_its_write_leaves_store_and_memory_agreeing(
    manager: Manager, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await joined(manager)
    orders = {
        "put_agent": manager.engine.set_state(("default", "cleaner"), AgentState.PAUSED, "somebody"),
        "put_states": manager.engine.drain(("default", "cleaner"), identity.instance),
        "add_instance": manager.engine.register(manager.newcomer("analyst"), registration()),
    }
    for method, order in orders.items():
        write, written = getattr(store, method), asyncio.Event()

        async def write_and_hang(*arguments: object, write: Any = write, written: asyncio.Event = written, **options: bool) -> None:
            await write(*arguments, **options)
            written.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(store, method, write_and_hang)
            task = asyncio.create_task(order)
            async with asyncio.timeout(5):
                await written.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await manager.engine.save()

    [kept] = await store.instances()
    [agent] = await store.agents()
    assert (kept.id, kept.state, kept.draining) == (identity.instance, InstanceState.READY, False)
    assert (agent.name, agent.state) == ("cleaner", AgentState.ACTIVE)


async def test_heartbeats_in_the_middle_of_orders_lose_nothing(manager: Manager, store: Store) -> None:
    identities = [await joined(manager) for _ in range(10)]

    async def beat(identity: Identity) -> None:
        for count in range(20):
            manager.engine.heartbeat(identity, Heartbeat(Load(completed=count), degraded=count % 2 == 0))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for identity in identities:
            tasks.create_task(beat(identity))
            tasks.create_task(manager.engine.drain(("default", "cleaner"), identity.instance))
            tasks.create_task(manager.engine.save())
    await manager.engine.save()

    instances = manager.catalogue.roster(("default", "cleaner")).instances
    assert {instance.state for instance in instances} == {InstanceState.DRAINING}
    assert {instance.load.completed for instance in instances} == {19}
    assert {instance.state for instance in await store.instances()} == {InstanceState.DRAINING}


async def test_heartbeats_that_change_nothing_write_nothing(manager: Manager, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = await joined(manager)
    await manager.engine.save()
    writes: list[str] = []
    for name in ("put_states", "put_agent", "remove", "add_instance"):
        monkeypatch.setattr(store, name, lambda *_, name=name: writes.append(name))

    for _ in range(100):
        manager.engine.heartbeat(identity, Heartbeat(Load(in_flight=1)))
        await manager.engine.save()

    assert writes == []


async def test_the_picture_of_a_watch_comes_first_and_then_every_change_in_order(manager: Manager) -> None:
    identity = await joined(manager)

    with manager.engine.watch("default") as watcher:
        manager.engine.heartbeat(identity, Heartbeat(Load(in_flight=5)))
        manager.engine.heartbeat(identity, Heartbeat(degraded=True))
        await manager.engine.set_state(("default", "cleaner"), AgentState.PAUSED, "somebody")
        await manager.engine.deregister(identity)
        picture = [(type(seen), seen.state) for seen in watcher.picture()]
        changes = watcher.changes()
        seen = [await anext(changes) for _ in range(3)]

    assert picture == [(Agent, AgentState.ACTIVE), (Instance, InstanceState.READY)]
    assert [change.state for change in seen] == [InstanceState.DEGRADED, AgentState.PAUSED, InstanceState.GONE]


async def test_a_watcher_of_one_namespace_hears_of_no_other(manager: Manager) -> None:
    with manager.engine.watch("red") as red, manager.engine.watch("") as everything:
        await joined(manager, "cleaner", "blue")
        await joined(manager, "cleaner", "red")
        of_red, of_all = red.changes(), everything.changes()
        seen = [(await anext(of_red)).namespace for _ in range(3)]
        everywhere = [(await anext(of_all)).namespace for _ in range(6)]

    assert seen == ["red"] * 3
    assert everywhere == ["blue"] * 3 + ["red"] * 3


async def test_a_watcher_that_falls_behind_is_sent_away(store: Store, manager: Manager) -> None:
    narrow = manager_of(store, manager.credentials, manager.clock, watch_capacity=2)
    with narrow.engine.watch("") as watcher:
        await joined(narrow)
        with pytest.raises(ParadeError) as raised:
            await anext(watcher.changes())
    assert raised.value.reason is Reason.NO_CAPACITY


async def test_the_end_of_the_process_ends_a_waiting_watch(manager: Manager) -> None:
    with manager.engine.watch("") as watcher:
        asyncio.get_running_loop().call_later(0.01, manager.waits.end)
        with pytest.raises(ParadeError) as raised:
            await anext(watcher.changes())
    assert raised.value.reason is Reason.UNAVAILABLE
