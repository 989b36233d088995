"""The picture of the mesh: every agent and instance, in memory, and those who watch it. It decides nothing and stores nothing.

Everything here happens at once, without a pause in between, so that a reader that comes has either seen a change or will be sent it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from parade_agent_manager.model import Agent, AgentKey, Instance, InstanceState, Roster
from parade_agent_manager.waits import Waits
from parade_agent_manager.watchers import Change, Watcher


class Registry:
    """All agents and instances."""

    def __init__(self, watch_capacity: int, waits: Waits) -> None:
        """Starts empty.

        Args:
            watch_capacity: How many changes may wait for one watcher.
            waits: What ends the waiting of watchers when the process stops.
        """
        self._capacity = watch_capacity
        self._waits = waits
        self._agents: dict[AgentKey, Agent] = {}
        self._instances: dict[str, Instance] = {}
        self._of_agent: dict[AgentKey, dict[str, None]] = {}
        self._present: Counter[str] = Counter()
        """How many instances of each namespace have not left."""
        self._watchers: set[Watcher[Change]] = set()

    def agent(self, key: AgentKey) -> Agent | None:
        """Returns an agent, where there is one."""
        return self._agents.get(key)

    def instance(self, instance: str) -> Instance | None:
        """Returns an instance, where there is one; it may be GONE."""
        return self._instances.get(instance)

    def agents(self, namespace: str) -> list[Agent]:
        """Returns the agents of a namespace by name."""
        return sorted((agent for agent in self._agents.values() if agent.namespace == namespace), key=lambda agent: agent.name)

    def instances(self) -> Iterable[Instance]:
        """Returns every instance."""
        return self._instances.values()

    def present(self, namespace: str) -> int:
        """Returns how many instances of a namespace have not left."""
        return self._present[namespace]

    def roster(self, agent: Agent) -> Roster:
        """Returns an agent with its instances, the oldest first."""
        ids = sorted(self._of_agent.get(agent.key, ()))
        return Roster(agent, tuple(found for found in map(self._instances.__getitem__, ids) if found.state is not InstanceState.GONE))

    def put_agent(self, agent: Agent) -> None:
        """Takes an agent up as new or changed, and tells the watchers."""
        self._agents[agent.key] = agent
        self._tell(agent)

    def put_instance(self, instance: Instance) -> None:
        """Takes an instance up as new or changed, and tells the watchers."""
        self.refresh(instance)
        self._tell(instance)

    def refresh(self, instance: Instance) -> None:
        """Takes up a change of load alone, of which nobody is told."""
        self._count(self._instances.get(instance.id), -1)
        self._count(instance, 1)
        self._instances[instance.id] = instance
        self._of_agent.setdefault(instance.agent_key, {})[instance.id] = None

    def forget(self, instance: Instance) -> None:
        """Drops an instance without a word; who watches must know it as GONE."""
        self._count(self._instances[instance.id], -1)
        del self._instances[instance.id]
        del self._of_agent[instance.agent_key][instance.id]

    @contextmanager
    def watch(self, namespace: str) -> Iterator[Watcher[Change]]:
        """Opens a watch for the block.

        Args:
            namespace: What is to be seen; empty for all namespaces.
        """
        agents = [agent for agent in self._agents.values() if namespace in ("", agent.namespace)]
        picture: list[Change] = []
        for agent in agents:
            picture.append(agent)
            picture.extend(self.roster(agent).instances)
        watcher = Watcher(namespace, picture, self._capacity, self._waits)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def _count(self, instance: Instance | None, change: int) -> None:
        if instance is not None and instance.state is not InstanceState.GONE:
            self._present[instance.namespace] += change

    def _tell(self, change: Change) -> None:
        for watcher in self._watchers:
            watcher.offer(change)
