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


@asynccontextmanager
async def following(feed: Feed, clock: ManualClock, gone: list[str]) -> AsyncIterator[Directory]:
    directory = Directory(feed, clock, Log(), gone.append)
    task = asyncio.create_task(directory.follow())
    try:
        await feed.opened(1)
        yield directory
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def known(directory: Directory) -> list[str]:
    return sorted(each.id for each in directory.instances("default", "analyst"))


async def test_nothing_is_known_before_the_first_picture_is_complete() -> None:
    feed = Feed()
    async with following(feed, ManualClock(), []) as directory:
        await feed.say(ANALYST, instance("a"))

        assert not await directory.synced(0.01)
        assert directory.agent("default", "analyst") is None
        await feed.say(Synced())
        assert await directory.synced(1)
        assert directory.agent("default", "analyst") == ANALYST
        assert directory.functions("default") == ["analyst.describe"]
        assert directory.functions("other") == []


async def test_changes_are_taken_in_as_they_come() -> None:
    feed, gone = Feed(), list[str]()
    async with following(feed, ManualClock(), gone) as directory:
        await feed.say(ANALYST, instance("a"), instance("b"), Synced(), instance("a", InstanceState.GONE), instance("c"))

        assert known(directory) == ["b", "c"]
        assert gone == ["a"]


async def test_the_picture_is_kept_while_the_agent_manager_is_away_and_replaced_once_the_next_is_complete() -> None:
    feed, clock, gone = Feed(), ManualClock(), list[str]()
    async with following(feed, clock, gone) as directory:
        await feed.say(ANALYST, instance("a"), instance("b"), Synced())

        feed.break_off()
        await clock.advance(1)
        await feed.opened(2)
        await feed.say(ANALYST, instance("b"), instance("c"))

        assert known(directory) == ["a", "b"]
        await feed.say(Synced())
        assert known(directory) == ["b", "c"]
        assert gone == ["a"]


async def test_watches_are_opened_again_with_growing_pauses() -> None:
    feed, clock = Feed(), ManualClock()
    async with following(feed, clock, []) as directory:
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
        assert await directory.synced(1)
