"""Events that many publish at once: stored together, each answered when it is stored, and none lost with who went away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade_chassis.ids import Ids
from parade_scheduler.config import Config
from parade_scheduler.document import Document
from parade_scheduler.leading.happenings import Whole
from parade_scheduler.leading.remote import Inbox, Outbox
from parade_scheduler.published_event import PublishedEvent
from parade_scheduler.rights import Rights
from parade_scheduler.starts.limits import Limits
from parade_scheduler.starts.start import Caller, Start
from parade_scheduler.storage.events_store import EventStore
from parade_scheduler.storage.groups_store import GroupStore
from parade_scheduler.triggers.event_delivery import EventDelivery
from parade_scheduler.triggers.events import MAX_BATCH, Events
from tests.support.standing import no_policies
from tests.unit.scheduler.leading import Led, leading
from tests.unit.scheduler.rights import Surrounding

ADA = Caller("default", "spiffe://parade.local/ns/default/client/ada")
MANY = 3 * MAX_BATCH


class Watched(EventStore):
    """A store that tells how often it was written to, and can be held up or broken."""

    batches: list[int]
    goes_on: asyncio.Event
    breakdowns = 0

    async def publish(self, events: Sequence[PublishedEvent]) -> list[bool]:
        self.batches.append(len(events))
        await self.goes_on.wait()
        if self.breakdowns:
            self.breakdowns -= 1
            raise ParadeError(Reason.UNAVAILABLE, "the database has gone away")
        return await super().publish(events)


class World:
    """What publishes events, over a real store."""

    def __init__(self, led: Led) -> None:
        self.store = Watched(led.database)
        self.store.batches, self.store.goes_on = [], asyncio.Event()
        outbox = Outbox(led.store, led.clock, Ids(led.clock))
        inbox = Inbox(led.store, led.journal, led.catalogue, led.clock, led.log)
        delivery = EventDelivery(self.store, led.catalogue, self, outbox, inbox, led.clock, led.log)
        config = Config.model_construct()
        limits = Limits(config, led.store, GroupStore(led.database), self.store, led.clock)
        self.policies = no_policies()
        rights = Rights(Surrounding(policies=self.policies))
        self.events = Events(self.store, delivery, limits, rights, led.clock, Ids(led.clock))

    async def start(self, caller: Caller, start: Start) -> Whole:
        raise AssertionError("nothing begins on these events")

    def publishing(self, count: int) -> "list[asyncio.Task[str]]":
        return [asyncio.create_task(self.events.publish(ADA, "t", Document(b"1"), f"e-{number}")) for number in range(count)]

    async def held_up(self) -> None:
        """Waits until something is being written."""
        async with asyncio.timeout(5):
            while not self.store.batches:
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with leading(tmp_path) as led:
        yield World(led)


async def test_events_that_are_published_at_once_are_stored_together(world: World) -> None:
    publishing = world.publishing(MANY)
    await world.held_up()

    world.store.goes_on.set()
    ids = await asyncio.gather(*publishing)

    assert ids == [f"e-{number}" for number in range(MANY)]
    assert await world.store.count("default") == MANY
    assert len(world.store.batches) <= 2 + MANY // MAX_BATCH


async def test_who_goes_away_while_it_stores_what_others_published_loses_none(world: World) -> None:
    publishing = world.publishing(10)
    await world.held_up()

    publishing[0].cancel()
    await asyncio.wait([publishing[0]])
    publishing[5].cancel()
    world.store.goes_on.set()
    done, _ = await asyncio.wait(publishing, timeout=5)

    assert len(done) == 10
    assert [one.cancelled() for one in publishing] == [number in (0, 5) for number in range(10)]
    assert all([await world.store.exists("default", f"e-{number}") for number in (1, 2, 3, 4, 6, 7, 8, 9)])


async def test_everybody_whose_event_could_not_be_stored_is_told(world: World) -> None:
    world.store.breakdowns = 1
    publishing = world.publishing(1)
    await world.held_up()
    publishing += [asyncio.create_task(world.events.publish(ADA, "t", Document(b"1"), f"later-{number}")) for number in range(3)]

    world.store.goes_on.set()
    await asyncio.wait(publishing, timeout=5)

    assert isinstance(publishing[0].exception(), ParadeError)
    assert [one.result() for one in publishing[1:]] == ["later-0", "later-1", "later-2"]
