"""The decisions about agents and instances: who joins, who is well, who drains, who is lost.

Memory is what readers see. What is ordered or promised (a registration, a pause, a drain, a departure) is written to the store before it
is seen. What is observed (a first heartbeat, a lost lease) is seen at once and written within a second; a crash loses only what will be
observed again. Orders are taken one at a time. Heartbeats and the end of leases are decided without a pause, so they can happen in the
middle of an order; an order therefore looks again at what it changes once the store has it.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from parade.wire.errors import ParadeError, Reason, invalid
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade_agent_manager.catalogue import required_agent
from parade_agent_manager.lease import Leases
from parade_agent_manager.model import (
    LEASED,
    Agent,
    AgentKey,
    AgentState,
    Heartbeat,
    Instance,
    InstanceState,
    Registration,
    Roster,
    moved,
    state_after,
)
from parade_agent_manager.quotas import AgentLimits
from parade_agent_manager.registration import faults
from parade_agent_manager.registry import Registry
from parade_agent_manager.store import Store
from parade_agent_manager.watchers import Change, Watcher
from parade_chassis.clock import Clock
from parade_chassis.quotas import Quotas


@dataclass(frozen=True, slots=True)
class Timings:
    """How long things last, in seconds."""

    heartbeat_interval: float
    lease_duration: float
    lost_retention: float = 3600.0
    """How long a LOST instance is kept."""
    gone_retention: float = 24 * 3600.0
    """How long one that is GONE is remembered: as long as its certificates are good."""


_EVENTS: Mapping[InstanceState, str] = {
    InstanceState.READY: "instance ready",
    InstanceState.DEGRADED: "instance degraded",
    InstanceState.DRAINING: "instance draining",
    InstanceState.GONE: "instance gone",
    InstanceState.LOST: "instance lost",
}
_WORRYING = frozenset({InstanceState.DEGRADED, InstanceState.LOST})


class Engine:
    """All agents and instances, and what may be done to them."""

    def __init__(self, *, store: Store, registry: Registry, clock: Clock, log: Log, timings: Timings, quotas: Quotas[AgentLimits]) -> None:
        """Takes its collaborators; `load` comes first.

        Args:
            store: What survives a restart.
            registry: The picture that readers see; the engine alone changes it.
            clock: The time.
            log: Where it says what happened.
            timings: How long things last.
            quotas: How much each namespace may have.
        """
        self.timings = timings
        self._quotas = quotas
        self._store = store
        self._registry = registry
        self._clock = clock
        self._log = log
        self._leases = Leases(timings.lease_duration)
        self._order = asyncio.Lock()
        self._unsaved_instances: set[str] = set()
        self._unsaved_agents: set[AgentKey] = set()

    async def load(self) -> None:
        """Takes up what the store has. Every instance that was alive gets a full lease in which to come back."""
        for agent in await self._store.agents():
            self._registry.put_agent(agent)
        for instance in await self._store.instances():
            self._registry.put_instance(instance)
            if instance.state in LEASED:
                self._leases.renew(instance.id, self._clock.monotonic())

    async def register(self, identity: Identity, registration: Registration) -> Instance:
        """Adds an instance to its agent, which comes into being with its first one. The same again changes nothing.

        Raises:
            ParadeError: INVALID_ARGUMENTS with every fault; ALREADY_EXISTS where it is registered with other content;
                FAILED_PRECONDITION where it has left; NO_CAPACITY where its namespace has as much as it may.
        """
        if violations := faults(registration):
            raise invalid(violations, "the registration is not usable")
        async with self._order:
            known = self._registry.instance(identity.instance)
            if known is not None:
                return _same(known, identity, registration)
            now = self._clock.now()
            before = self._registry.agent((identity.namespace, identity.name))
            self._demand_room(identity.namespace, before, registration)
            agent = before or Agent(identity.namespace, identity.name, AgentState.ACTIVE, ())
            if registration.functions == agent.functions:
                registration = replace(registration, functions=agent.functions)  # a thousand copies share one description
            agent = replace(agent, functions=registration.functions)
            instance = Instance(
                id=identity.instance,
                namespace=identity.namespace,
                agent=identity.name,
                server_name=identity.server_name,
                registration=registration,
                state=InstanceState.JOINING,
                registered=now,
                changed=now,
            )
            self._unsaved_agents.add(agent.key)
            self._unsaved_instances.add(instance.id)
            await self._store.add_instance(agent, instance)
            if agent != before:
                self._registry.put_agent(agent)
            self._registry.put_instance(instance)
            self._leases.renew(instance.id, self._clock.monotonic())
        self._log.info("instance registered", address=registration.address, functions=len(registration.functions), **_names(instance))
        return instance

    def heartbeat(self, identity: Identity, heartbeat: Heartbeat) -> tuple[Instance, datetime]:
        """Renews the lease of an instance and takes up what it says.

        Returns:
            The instance after it, and when its lease ends.

        Raises:
            ParadeError: NOT_FOUND where it is not registered, or has left.
        """
        before = self._required(identity)
        if before.state is InstanceState.GONE:
            raise ParadeError(Reason.NOT_FOUND, f"instance {before.id} has left")
        now = self._clock.now()
        known = replace(before, heartbeat=now, load=heartbeat.load, draining=before.draining or heartbeat.draining)
        self._leases.renew(known.id, self._clock.monotonic())
        after = self._take_up(before, moved(known, state_after(known, heartbeat), now))
        return after, now + timedelta(seconds=self._leases.duration)

    async def deregister(self, identity: Identity) -> None:
        """Takes an instance out of its agent, for good.

        Raises:
            ParadeError: NOT_FOUND where it is not registered.
        """
        async with self._order:
            instance = self._required(identity)
            await self._carry_out(instance, lambda known: moved(known, InstanceState.GONE, self._clock.now()))
            self._leases.end(instance.id)

    async def dismiss(self, id: str) -> None:
        """Takes an instance out of its agent that is not believed to be who it says any more. One that is not there is no fault."""
        async with self._order:
            instance = self._registry.instance(id)
            if instance is not None and instance.state is not InstanceState.GONE:
                await self._carry_out(instance, lambda known: moved(known, InstanceState.GONE, self._clock.now()))
                self._leases.end(id)

    async def drain(self, key: AgentKey, id: str) -> Instance:
        """Tells an instance to finish what it runs and leave. One that is LOST drains if it returns; one that is GONE has left already.

        Raises:
            ParadeError: NOT_FOUND.
        """
        async with self._order:
            instance = self._registry.instance(id)
            if instance is None or instance.agent_key != key:
                raise ParadeError(Reason.NOT_FOUND, f"agent {key[1][:80]} has no instance {id[:80]}")
            return await self._carry_out(instance, self._drained)

    async def set_state(self, key: AgentKey, state: AgentState, principal: str) -> Roster:
        """Pauses or resumes an agent.

        Raises:
            ParadeError: NOT_FOUND.
        """
        async with self._order:
            agent = required_agent(self._registry, key)
            if agent.state is not state:
                agent = replace(agent, state=state)
                self._unsaved_agents.add(key)
                await self._store.put_agent(agent, ordered=True)
                self._registry.put_agent(agent)
                event = "agent paused" if state is AgentState.PAUSED else "agent resumed"
                self._log.info(event, namespace=agent.namespace, agent=agent.name, principal=principal)
            return self._registry.roster(agent)

    def watch(self, namespace: str) -> AbstractContextManager[Watcher[Change]]:
        """Opens a watch: the picture of this moment and every change after it.

        Args:
            namespace: What is to be seen; empty for all namespaces.
        """
        return self._registry.watch(namespace)

    def expire(self) -> None:
        """Makes LOST whoever has let its lease end."""
        for id in self._leases.ended(self._clock.monotonic()):
            instance = self._registry.instance(id)
            if instance is not None and instance.state in LEASED:
                self._take_up(instance, moved(instance, InstanceState.LOST, self._clock.now()))

    def excuse(self, seconds: float) -> None:
        """Makes all leases longer, for a time in which this process itself stood still."""
        self._leases.extend(seconds)

    async def forget(self) -> None:
        """Drops those who have been LOST or GONE for long enough. Those LOST are GONE to whoever watches."""
        async with self._order:
            now = self._clock.now()
            for instance in list(self._registry.instances()):
                age = (now - instance.changed).total_seconds()
                if instance.state is InstanceState.LOST and age >= self.timings.lost_retention:
                    self._registry.put_instance(moved(instance, InstanceState.GONE, now))
                elif instance.state is not InstanceState.GONE or age < self.timings.gone_retention:
                    continue
                self._registry.forget(instance)
                self._unsaved_instances.add(instance.id)
                self._log.info("instance forgotten", **_names(instance))

    async def save(self) -> None:
        """Makes the store agree with the memory, where they may differ.

        Raises:
            ParadeError: UNAVAILABLE where the store cannot be reached; the next attempt takes up the same.
        """
        async with self._order:
            instances, agents = self._unsaved_instances, self._unsaved_agents
            if not instances and not agents:
                return
            self._unsaved_instances, self._unsaved_agents = set(), set()
            try:
                known = {instance: self._registry.instance(instance) for instance in instances}
                await self._store.put_states([instance for instance in known.values() if instance is not None])
                await self._store.remove(
                    [id for id, instance in known.items() if instance is None],
                    [key for key in agents if self._registry.agent(key) is None],
                )
                for key in agents:
                    if (agent := self._registry.agent(key)) is not None:
                        await self._store.put_agent(agent)
            except BaseException:
                self._unsaved_instances |= instances
                self._unsaved_agents |= agents
                raise

    def note_heartbeats(self) -> None:
        """Has the times of the last heartbeats written with the next `save`; they are not worth a write each."""
        self._unsaved_instances.update(instance.id for instance in self._registry.instances() if instance.state in LEASED)

    def _demand_room(self, namespace: str, agent: Agent | None, registration: Registration) -> None:
        limits = self._quotas.of(namespace)
        if self._registry.present(namespace) >= limits.instances:
            raise self._quotas.exhausted(namespace, "instances", "instances", "have some leave")
        if agent is not None and agent.functions == registration.functions:
            return
        agents = self._registry.agents(namespace)
        if agent is None and len(agents) >= limits.agents:
            raise self._quotas.exhausted(namespace, "agents", "agents", "join as one of those that there are")
        others = sum(len(known.functions) for known in agents if known != agent)
        if others + len(registration.functions) > limits.functions:
            raise self._quotas.exhausted(namespace, "functions", "functions", "register fewer")

    async def _carry_out(self, instance: Instance, change: Callable[[Instance], Instance]) -> Instance:
        """Carries an order out: in the store first, then on what the instance has become meanwhile."""
        after = change(instance)
        if after == instance:
            return instance
        # Marked before the write: where it is cut short nobody knows what the store has, and `save` writes again what the memory has.
        self._unsaved_instances.add(instance.id)
        await self._store.put_states([after], ordered=True)
        latest = self._registry.instance(instance.id) or instance
        return self._take_up(latest, change(latest))

    def _drained(self, instance: Instance) -> Instance:
        if instance.state is InstanceState.GONE:
            return instance
        told = replace(instance, draining=True)
        return told if instance.state is InstanceState.LOST else moved(told, InstanceState.DRAINING, self._clock.now())

    def _take_up(self, before: Instance, after: Instance) -> Instance:
        """Puts what an instance has become into the picture; where more than its load has changed, all are told and it is saved."""
        if after.state is before.state and after.draining is before.draining:
            self._registry.refresh(after)
            return after
        self._registry.put_instance(after)
        self._unsaved_instances.add(after.id)
        if after.state is not before.state:
            log = self._log.warning if after.state in _WORRYING else self._log.info
            log(_EVENTS[after.state], before=before.state.value, **_names(after))
        return after

    def _required(self, identity: Identity) -> Instance:
        instance = self._registry.instance(identity.instance)
        if instance is None or instance.agent_key != (identity.namespace, identity.name):
            raise ParadeError(Reason.NOT_FOUND, f"instance {identity.instance} is not registered; register it first")
        return instance


def _same(known: Instance, identity: Identity, registration: Registration) -> Instance:
    if known.state is InstanceState.GONE:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"instance {known.id} has left; enrol again to join as another one")
    if (known.server_name, known.registration) != (identity.server_name, registration):
        raise ParadeError(
            Reason.ALREADY_EXISTS, f"instance {known.id} is registered with other content; enrol again to join as another one"
        )
    return known


def _names(instance: Instance) -> dict[str, str]:
    return {"namespace": instance.namespace, "agent": instance.agent, "instance": instance.id}
