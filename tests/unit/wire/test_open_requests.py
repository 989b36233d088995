"""What is under way ends as soon as its peer is revoked, and what lasts ends with its peer's certificate."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire import open_requests
from parade.wire.errors import ParadeError
from parade.wire.identity import DEFAULT_DOMAIN, Identity
from parade.wire.open_requests import LINGER, OpenRequest, OpenRequests
from parade.wire.peer import CERTIFICATE, NOBODY, Peer, Refusal
from parade.wire.peers import Peers
from parade.wire.revocations import Revocation, Revocations
from tests.support.certificates import Authority
from tests.support.waiting import eventually

ANN, BOB = Identity.client("ann"), Identity.client("bob")


class World:
    """A server's open requests, each served by a task that waits for ever."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.source = authority.source(Identity.service("dispatcher"))
        self.revocations = Revocations()
        self.ahead = 0.0
        """Seconds by which the day's clock is ahead of the loop's."""
        self.peers = Peers(DEFAULT_DOMAIN, self.source, self.revocations, lambda: time.time() + self.ahead)
        self.requests = OpenRequests(self.peers)
        self.tasks = list[asyncio.Task[ParadeError | None]]()

    def peer(self, identity: Identity, lifetime: timedelta = timedelta(hours=1)) -> Peer:
        return self.peers.of({"x509_pem_cert": [self.authority.certificates(identity, lifetime=lifetime).certificate_chain]})

    async def open(self, peer: Peer, *, lasting: bool = True) -> "asyncio.Task[ParadeError | None]":
        entered = asyncio.Event()
        task = asyncio.create_task(self._serve(peer, lasting, entered))
        self.tasks.append(task)
        await entered.wait()
        return task

    async def _serve(self, peer: Peer, lasting: bool, entered: asyncio.Event) -> ParadeError | None:  # noqa: FBT001  # passed on
        request: OpenRequest | None = None
        try:
            request = self.requests.enter(peer, lasting=lasting)
            entered.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if request is None or request.failure is None:
                raise
            return request.failure
        finally:
            if request is not None:
                self.requests.leave(request)
        return None


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(Authority(tmp_path))
    yield made
    made.requests.close()
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def ended(task: "asyncio.Task[ParadeError | None]") -> str:
    """Returns why a request was ended."""
    async with asyncio.timeout(5):
        failure = await task
    assert failure is not None
    return failure.metadata[CERTIFICATE]


@pytest.mark.parametrize("lasting", [True, False])
async def test_what_a_revoked_peer_has_under_way_ends_and_nothing_of_others(world: World, lasting: bool) -> None:  # noqa: FBT001
    ann = world.peer(ANN)
    first, second = await world.open(ann, lasting=lasting), await world.open(ann, lasting=lasting)
    other = await world.open(world.peer(BOB), lasting=lasting)

    world.revocations.add(Revocation(ann.not_after, "gone", spiffe_id=ANN.uri), time.time())

    assert [await ended(first), await ended(second)] == [Refusal.REVOKED, Refusal.REVOKED]
    assert not other.done()
    assert len(world.requests) == 1


async def test_a_revoked_serial_leaves_the_holders_other_certificate_alone(world: World) -> None:
    old, new = world.peer(ANN), world.peer(ANN)
    by_old, by_new = await world.open(old), await world.open(new)

    world.revocations.add(Revocation(old.not_after, "superseded", serial=old.serial), time.time())

    assert await ended(by_old) == Refusal.REVOKED
    assert not by_new.done()


async def test_a_stream_ends_with_its_certificate_and_a_question_under_way_is_answered(world: World) -> None:
    short = world.peer(ANN, timedelta(seconds=1))
    question, stream, other = await world.open(short, lasting=False), await world.open(short), await world.open(world.peer(BOB))

    assert await ended(stream) == Refusal.EXPIRED
    assert not question.done()
    assert not other.done()


async def test_a_stream_has_a_moment_to_end_by_itself_once_its_certificate_has(world: World) -> None:
    ann = world.peer(ANN)
    stream = await world.open(ann)

    world.ahead = ann.not_after - time.time() + LINGER / 4
    world.requests.look()
    await asyncio.sleep(0)
    lingers = not stream.done()
    world.ahead += LINGER
    world.requests.look()

    assert lingers
    assert await ended(stream) == Refusal.EXPIRED


async def test_the_second_certificate_to_end_is_not_forgotten_over_the_first(world: World) -> None:
    later, sooner = await world.open(world.peer(ANN, timedelta(seconds=2))), await world.open(world.peer(BOB, timedelta(seconds=1)))

    assert await ended(sooner) == Refusal.EXPIRED
    assert not later.done()
    assert await ended(later) == Refusal.EXPIRED


async def test_a_clock_that_is_set_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_requests, "LONGEST_LOOK", 0.2)
    stream = await world.open(world.peer(ANN))

    world.ahead = 3600

    assert await ended(stream) == Refusal.EXPIRED


async def test_a_root_that_leaves_the_bundle_ends_what_is_open_below_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_requests, "LONGEST_LOOK", 0.2)
    stream = await world.open(world.peer(ANN))

    other = Authority(tmp_path / "other").trust_bundle
    world.source.replace(world.authority.certificates(Identity.service("dispatcher"), trust_bundle=other))

    assert await ended(stream) == Refusal.AUTHORITY


async def test_who_shows_no_certificate_goes_on(world: World) -> None:
    stream = await world.open(NOBODY)

    world.revocations.add(Revocation(time.time() + 60, "gone", spiffe_id=ANN.uri), time.time())
    await asyncio.sleep(0)

    assert not stream.done()


async def test_one_that_is_cancelled_by_its_client_has_no_failure(world: World) -> None:
    stream = await world.open(world.peer(ANN))

    stream.cancel()

    with pytest.raises(asyncio.CancelledError):
        await stream
    await eventually(lambda: len(world.requests) == 0)


async def test_it_is_looked_no_more_after_the_close(world: World) -> None:
    ann = world.peer(ANN)
    stream = await world.open(ann)

    world.requests.close()
    world.revocations.add(Revocation(ann.not_after, "gone", spiffe_id=ANN.uri), time.time())
    await asyncio.sleep(0)

    assert not stream.done()
