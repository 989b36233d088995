"""Who can be called: every agent's pool, as the directory last said. It decides nothing about calls."""

from collections.abc import Callable, Iterator

from parade_chassis.quotas import Quotas
from parade_dispatcher.balancer import Balancer
from parade_dispatcher.member import Member
from parade_dispatcher.model import Agent, Instance, InstanceState
from parade_dispatcher.pool import Pool
from parade_dispatcher.ports import Later, Now
from parade_dispatcher.quotas import CallLimits, Room


class Pools:
    """All pools. It is the `parade_dispatcher.ports.Population` that the directory fills."""

    def __init__(self, balancer: Balancer, now: Now, later: Later, quotas: Quotas[CallLimits]) -> None:
        """Starts empty.

        Args:
            balancer: What chooses among instances with room.
            now: The event loop's clock.
            later: What calls back after a pause.
            quotas: How much each namespace may have.
        """
        self._balancer = balancer
        self._now = now
        self._later = later
        self._quotas = quotas
        self._rooms: dict[str, Room] = {}
        """The calls of each namespace that has an agent."""
        self._pools: dict[tuple[str, str], Pool] = {}
        self._where: dict[str, Pool] = {}
        """The pool of each instance, by the instance's id."""
        self.is_synced = False
        """Whether it is known at all who exists."""
        self._waiting: list[Callable[[], None]] = []

    def put(self, change: Agent | Instance) -> None:
        """Takes what is new or has changed. An instance that is LOST or GONE loses its calls."""
        if isinstance(change, Agent):
            self._made(change.namespace, change.name).put_agent(change)
            return
        if change.state is InstanceState.GONE:
            self.gone(change.id)
            return
        pool = self._where.get(change.id)
        if pool is None:
            pool = self._where[change.id] = self._made(change.namespace, change.agent)
        pool.put(change, new=self.is_synced)

    def gone(self, instance_id: str) -> None:
        """Forgets an instance that is not to be heard of again; it loses its calls."""
        pool = self._where.pop(instance_id, None)
        if pool is not None:
            pool.gone(instance_id)

    def withdrawn(self, namespace: str, name: str) -> None:
        """Forgets an agent."""
        pool = self._pools.get((namespace, name))
        if pool is None:
            return
        pool.agent = None
        if not pool.members and not pool.waiting:
            del self._pools[namespace, name]

    def synced(self) -> None:
        """Hears that everything there is has been put."""
        self.is_synced = True
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def when_synced(self, callback: Callable[[], None]) -> None:
        """Calls back once it is known who exists."""
        self._waiting.append(callback)

    def pool(self, namespace: str, agent: str) -> Pool | None:
        """Returns the pool of an agent; None where nothing has been heard of it."""
        return self._pools.get((namespace, agent))

    def member(self, instance_id: str) -> Member | None:
        """Returns an instance; None where it is not known."""
        pool = self._where.get(instance_id)
        return pool.members.get(instance_id) if pool is not None else None

    def agents(self, namespace: str) -> Iterator[Agent]:
        """Yields the agents of a namespace."""
        for (where, _), pool in self._pools.items():
            if where == namespace and pool.agent is not None:
                yield pool.agent

    def functions(self, namespace: str) -> list[str]:
        """Returns the full names of the functions of a namespace, sorted."""
        return sorted(f"{agent.name}.{function}" for agent in self.agents(namespace) for function in agent.functions)

    def _made(self, namespace: str, name: str) -> Pool:
        pool = self._pools.get((namespace, name))
        if pool is None:
            room = self._rooms.get(namespace)
            if room is None:
                room = self._rooms[namespace] = Room(namespace, self._quotas)
            pool = self._pools[namespace, name] = Pool(self._balancer, self._now, self._later, room)
        return pool
