"""Who exists, as the agent_manager last said: the newest complete picture, and the news of it for those who use it. It decides nothing."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_dispatcher.model import Agent, Change, Instance, InstanceState, Synced
from parade_dispatcher.ports import Population

SYNC_TIMEOUT = 30.0
"""Seconds that the agent_manager may take to say everything there is."""
SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
"""Seconds between two attempts to watch, at first and at last."""

Key = tuple[str, str]
"""A namespace and an agent's name."""


class Picture:
    """Everything that one watch has said."""

    def __init__(self) -> None:
        """Starts empty."""
        self.agents: dict[Key, Agent] = {}
        self.instances: dict[Key, dict[str, Instance]] = {}

    def put(self, change: Agent | Instance) -> None:
        """Takes in what is new or has changed."""
        if isinstance(change, Agent):
            self.agents[change.namespace, change.name] = change
            return
        instances = self.instances.setdefault((change.namespace, change.agent), {})
        if change.state is InstanceState.GONE:
            instances.pop(change.id, None)
        else:
            instances[change.id] = change

    def by_id(self) -> dict[str, Instance]:
        """Returns all instances by their ids."""
        return {instance_id: instance for instances in self.instances.values() for instance_id, instance in instances.items()}


class Directory:
    """The newest complete picture. It is kept while the agent_manager is away, and replaced at once when a new one is complete."""

    def __init__(
        self,
        watch: Callable[[], AsyncGenerator[Change, None]],
        clock: Clock,
        log: Log,
        population: Population,
        forget: Callable[[str], None],
    ) -> None:
        """Starts empty; `follow` fills it.

        Args:
            watch: Begins to watch: says everything there is, then `Synced`, then each change.
            clock: What measures the pauses between two watches.
            log: Where it says that the agent_manager is away, and back.
            population: Is told who exists, from the first complete picture on.
            forget: Is told the id of each instance that is not to be heard of again, after the population.
        """
        self._watch = watch
        self._clock = clock
        self._log = log
        self._population = population
        self._forget = forget
        self._picture = Picture()

    async def follow(self) -> None:
        """Watches for as long as the process lives, and watches again when a watch has ended."""
        pause = SHORTEST_PAUSE
        away = False
        while True:
            picture = Picture()
            try:
                await self._read(picture)
                reason = "the watch ended"
            except (ParadeError, TimeoutError) as error:
                reason = str(error) or "no complete picture in time"
            if picture is self._picture:
                pause, away = SHORTEST_PAUSE, False
            if not away:
                self._log.warning("the agent_manager is away; calls go to the instances known so far", reason=reason)
                away = True
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _read(self, picture: Picture) -> None:
        async with asyncio.timeout(SYNC_TIMEOUT) as limit, aclosing(self._watch()) as changes:
            async for change in changes:
                if isinstance(change, Synced):
                    limit.reschedule(None)
                    self._replace(picture)
                    continue
                picture.put(change)
                if picture is self._picture:
                    self._population.put(change)
                    if isinstance(change, Instance) and change.state is InstanceState.GONE:
                        self._forget(change.id)

    def _replace(self, picture: Picture) -> None:
        before, self._picture = self._picture, picture
        known, instances = before.by_id(), picture.by_id()
        for key, agent in picture.agents.items():
            if before.agents.get(key) != agent:
                self._population.put(agent)
        for namespace, name in before.agents.keys() - picture.agents.keys():
            self._population.withdrawn(namespace, name)
        for instance in instances.values():
            if known.get(instance.id) != instance:
                self._population.put(instance)
        for instance_id in known.keys() - instances.keys():
            self._population.gone(instance_id)
            self._forget(instance_id)
        self._population.synced()
        self._log.info("agents known", agents=len(picture.agents), instances=len(instances))
