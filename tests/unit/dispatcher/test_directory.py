"""What is known of agents, over the comings and goings of the agent_manager."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import ManualClock
from parade_dispatcher.directory import LONGEST_PAUSE, Directory
from parade_dispatcher.model import Agent, Change, Function, Instance, InstanceState, Synced
from tests.support.waiting import eventually

ANALYST = Agent("default", "analyst", functions={"describe": Function("describe")})


def instance(name: str, state: InstanceState = InstanceState.READY) -> Instance:
    return Instance(name, "default", "analyst", "127.0.0.1:1", f"{name}.test", state)


class Feed:
    """What an agent_manager would say, given by the test, watch after watch."""

    def __init__(self) -> None:
        self.watches: list[asyncio.Queue[Change | None]] = []

    async def __call__(self) -> AsyncGenerator[Change, None]:
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self.watches.append(queue)
        while True:
            change = await queue.get()
            if change is None:
                raise ParadeError(Reason.UNAVAILABLE, "the connection broke")
            yield change

    async def opened(self, count: int) -> None:
        await eventually(lambda: len(self.watches) == count)

    async def say(self, *changes: Change) -> None:
        for change in changes:
            self.watches[-1].put_nowait(change)
        await eventually(self.watches[-1].empty)
        await asyncio.sleep(0)

    def break_off(self) -> None:
        self.watches[-1].put_nowait(None)


class Told:
    """Those who live by what the directory tells them."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.instances: dict[str, Instance] = {}
        self.changes = 0
        self.complete = 0
        self.left: list[str] = []
        self.forgotten: list[str] = []

    def put(self, change: Agent | Instance) -> None:
        self.changes += 1
        if isinstance(change, Agent):
            self.agents[change.name] = change
        else:
            self.instances[change.id] = change

    def gone(self, instance_id: str) -> None:
        self.left.append(instance_id)
        del self.instances[instance_id]

    def withdrawn(self, namespace: str, name: str) -> None:
        del self.agents[name]

    def synced(self) -> None:
        self.complete += 1


@asynccontextmanager
async def following(feed: Feed, clock: ManualClock) -> AsyncIterator[Told]:
    told = Told()
    directory = Directory(feed, clock, Log(), told, told.forgotten.append)
    task = asyncio.create_task(directory.follow())
    try:
        await feed.opened(1)
        yield told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_nothing_is_told_before_the_first_picture_is_complete() -> None:
    feed = Feed()
    async with following(feed, ManualClock()) as told:
        await feed.say(ANALYST, instance("a"))

        assert (told.changes, told.complete) == (0, 0)
        await feed.say(Synced())
        assert told.complete == 1
        assert told.agents == {"analyst": ANALYST}
        assert told.instances == {"a": instance("a")}


async def test_changes_are_told_as_they_come() -> None:
    feed = Feed()
    async with following(feed, ManualClock()) as told:
        await feed.say(ANALYST, instance("a"), instance("b"), Synced(), instance("a", InstanceState.GONE), instance("c"))

        assert told.instances["a"].state is InstanceState.GONE
        assert told.instances.keys() == {"a", "b", "c"}
        assert told.forgotten == ["a"]


async def test_a_new_picture_is_told_by_what_has_changed_since_the_last() -> None:
    feed, clock = Feed(), ManualClock()
    async with following(feed, clock) as told:
        await feed.say(ANALYST, Agent("default", "painter"), instance("a"), instance("b"), Synced())
        changes = told.changes

        feed.break_off()
        await clock.advance(1)
        await feed.opened(2)
        await feed.say(ANALYST, instance("b"), instance("c"))

        assert told.instances.keys() == {"a", "b"}
        await feed.say(Synced())
        assert told.instances.keys() == {"b", "c"}
        assert told.agents.keys() == {"analyst"}
        assert told.left == told.forgotten == ["a"]
        assert told.changes == changes + 1


async def test_watches_are_opened_again_with_growing_pauses() -> None:
    feed, clock = Feed(), ManualClock()
    async with following(feed, clock) as told:
        pauses = []
        for count in range(2, 9):
            feed.break_off()
            waited = 0.0
            await clock.advance(0)
            while len(feed.watches) < count:
                await clock.advance(0.1)
                waited += 0.1
            pauses.append(round(waited, 1))

        assert pauses == sorted(pauses)
        assert pauses[0] < 1
        assert LONGEST_PAUSE <= pauses[-1] < LONGEST_PAUSE + 0.2
        await feed.say(Synced())
        assert told.complete == 1
