"""Who can be called: agents, instances and functions as the agent_manager last said. It decides nothing about calls."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_chassis.clock import Clock
from parade_dispatcher.model import Agent, Change, Instance, InstanceState, Synced

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

    def ids(self) -> set[str]:
        """Returns the ids of all instances."""
        return {instance_id for instances in self.instances.values() for instance_id in instances}


class Directory:
    """The newest complete picture. It is kept while the agent_manager is away, and replaced at once when a new one is complete."""

    def __init__(
        self,
        watch: Callable[[], AsyncGenerator[Change, None]],
        clock: Clock,
        log: Log,
        gone: Callable[[str], None],
    ) -> None:
        """Starts empty; `follow` fills it.

        Args:
            watch: Begins to watch: says everything there is, then `Synced`, then each change.
            clock: What measures the pauses between two watches.
            log: Where it says that the agent_manager is away, and back.
            gone: Is told the id of each instance that is not to be heard of again.
        """
        self._watch = watch
        self._clock = clock
        self._log = log
        self._gone = gone
        self._picture = Picture()
        self._synced = asyncio.Event()

    async def synced(self, limit: float) -> bool:
        """Returns whether there has ever been a complete picture, after waiting for it up to `limit` seconds."""
        if self._synced.is_set():
            return True
        try:
            async with asyncio.timeout(limit):
                return await self._synced.wait()
        except TimeoutError:
            return False

    def agent(self, namespace: str, name: str) -> Agent | None:
        """Returns the agent of that name; None where there is none."""
        return self._picture.agents.get((namespace, name))

    def instances(self, namespace: str, agent: str) -> Collection[Instance]:
        """Returns an agent's instances, in whatever state."""
        return self._picture.instances.get((namespace, agent), {}).values()

    def functions(self, namespace: str) -> list[str]:
        """Returns the full names of the functions of a namespace."""
        agents = [agent for agent in self._picture.agents.values() if agent.namespace == namespace]
        return sorted(f"{agent.name}.{function}" for agent in agents for function in agent.functions)

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
                if isinstance(change, Instance) and change.state is InstanceState.GONE and picture is self._picture:
                    self._gone(change.id)

    def _replace(self, picture: Picture) -> None:
        before, self._picture = self._picture, picture
        for instance_id in before.ids() - picture.ids():
            self._gone(instance_id)
        self._synced.set()
        self._log.info("agents known", agents=len(picture.agents), instances=len(picture.ids()))
