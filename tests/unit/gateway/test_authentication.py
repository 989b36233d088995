"""Keys at the gateway: asked for once in a while, remembered for a moment, and no way to wear the agent_manager out."""

import asyncio
from datetime import timedelta

import pytest

from parade.v1 import access_pb2, key_pb2
from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import Role
from parade_chassis.api_key import mark_of, new_key
from parade_chassis.clock import ManualClock
from parade_gateway import authentication
from parade_gateway.authentication import FRESH, MOST, REFUSED, Keys
from parade_gateway.caller import Caller
from parade_gateway.errors import HttpError
from parade_gateway.strangers import BURST, STRANGERS

KEY = new_key()


class Manager:
    """What the agent_manager would say: it knows some keys, and counts who asks."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.roles: dict[str, int] = {KEY: access_pb2.ROLE_DEVELOPER}
        self.end = clock.now() + timedelta(days=1)
        self.asked = 0
        self.failure: Reason | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def authenticate(self, request: key_pb2.AuthenticateKeyRequest, timeout: float) -> key_pb2.AuthenticateKeyResponse:
        self.asked += 1
        await self.answering.wait()
        if self.failure is not None:
            raise ParadeError(self.failure, "away")
        for key, role in self.roles.items():
            mark = mark_of(key)
            if mark is not None and (mark.id, mark.digest) == (request.id, request.digest):
                response = key_pb2.AuthenticateKeyResponse(subject=f"key:{mark.id}", namespace="sales", role=role)  # type: ignore[arg-type]
                response.expire_time.FromDatetime(self.end)
                return response
        raise ParadeError(Reason.UNAUTHENTICATED, "not known")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def manager(clock: ManualClock) -> Manager:
    return Manager(clock)


@pytest.fixture
def keys(manager: Manager, clock: ManualClock) -> Keys:
    return Keys(manager.authenticate, clock)


async def caller(keys: Keys, shown: str = KEY) -> Caller:
    return keys.known(shown) or await keys.caller(shown)


async def status(keys: Keys, shown: str = KEY) -> int:
    with pytest.raises(HttpError) as caught:
        await caller(keys, shown)
    assert caught.value.headers["www-authenticate"].startswith("Bearer")
    return caught.value.status


async def test_a_key_is_its_holders_for_a_moment_without_asking(keys: Keys, manager: Manager, clock: ManualClock) -> None:
    first = await caller(keys)
    await clock.advance(FRESH - 0.1)
    again = await caller(keys)

    assert first == again == Caller(f"key:{KEY[7:17]}", "sales", Role.DEVELOPER)
    assert dict(first.metadata) == {"parade-namespace": "sales", "parade-principal": first.principal, "parade-role": "developer"}
    assert manager.asked == 1


async def test_what_is_taken_away_is_seen_after_that_moment(keys: Keys, manager: Manager, clock: ManualClock) -> None:
    await caller(keys)
    manager.roles[KEY] = access_pb2.ROLE_VIEWER
    await clock.advance(FRESH)
    less = await caller(keys)
    del manager.roles[KEY]
    await clock.advance(FRESH)

    assert less.role is Role.VIEWER
    assert await status(keys) == 401


async def test_a_key_is_not_believed_beyond_its_end(keys: Keys, manager: Manager, clock: ManualClock) -> None:
    manager.end = clock.now() + timedelta(seconds=2)
    await caller(keys)

    await clock.advance(2)

    assert keys.known(KEY) is None
    manager.failure = Reason.UNAVAILABLE
    with pytest.raises(ParadeError) as caught:
        await caller(keys)
    assert caught.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    "shown",
    ["", "pk_" + "k" * 40, KEY[:-1], KEY[:-1] + ("0" if KEY[-1] != "0" else "1"), KEY + "0", "é" * 67],
    ids=["empty", "other", "short", "changed", "long", "foreign"],
)
async def test_what_is_no_key_is_refused_without_asking(keys: Keys, manager: Manager, shown: str) -> None:
    assert await status(keys, shown) == 401
    assert manager.asked == 0


async def test_a_refusal_is_remembered_for_a_shorter_moment(keys: Keys, manager: Manager, clock: ManualClock) -> None:
    unknown = new_key()
    for _ in range(10):
        assert await status(keys, unknown) == 401
    asked = manager.asked
    manager.roles[unknown] = access_pb2.ROLE_VIEWER

    await clock.advance(REFUSED)

    assert asked == 1
    assert (await caller(keys, unknown)).role is Role.VIEWER


async def test_many_requests_at_once_ask_once(keys: Keys, manager: Manager) -> None:
    manager.answering.clear()
    requests = [asyncio.create_task(caller(keys)) for _ in range(50)]
    await asyncio.sleep(0)
    requests[0].cancel()

    manager.answering.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.principal for answer in answers[1:] if isinstance(answer, Caller)} == {f"key:{KEY[7:17]}"}
    assert manager.asked <= 2  # the one that was given up, and the one for all the others


async def test_a_flood_of_unknown_keys_reaches_nobody_and_holds_nobody_up(keys: Keys, manager: Manager, clock: ManualClock) -> None:
    await caller(keys)
    outcomes = []
    for _ in range(int(BURST) + 500):
        try:
            await caller(keys, new_key())
        except ParadeError as error:
            outcomes.append(error.reason)
    asked = manager.asked

    await clock.advance(FRESH)
    good = await caller(keys)
    await clock.advance(1)
    for _ in range(1000):
        with pytest.raises(ParadeError):
            await caller(keys, new_key())

    assert asked <= BURST
    assert outcomes.count(Reason.NO_CAPACITY) >= 500
    assert good.role is Role.DEVELOPER
    assert manager.asked <= asked + 1 + (FRESH + 1) * STRANGERS


async def test_only_so_many_answers_are_remembered(keys: Keys, monkeypatch: pytest.MonkeyPatch, manager: Manager) -> None:
    assert MOST > 3
    monkeypatch.setattr(authentication, "MOST", 3)
    made = [new_key() for _ in range(5)]
    manager.roles |= dict.fromkeys(made, access_pb2.ROLE_VIEWER)

    for key in made:
        await caller(keys, key)

    assert [keys.known(key) is not None for key in made] == [False, False, True, True, True]


@pytest.mark.parametrize("reason", [Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED])
async def test_while_the_agent_manager_is_away_its_last_word_stands(
    keys: Keys, manager: Manager, clock: ManualClock, reason: Reason
) -> None:
    await caller(keys)
    manager.failure = reason
    await clock.advance(3600)

    still = await caller(keys)
    with pytest.raises(ParadeError) as caught:
        await caller(keys, new_key())

    assert still.role is Role.DEVELOPER
    assert caught.value.reason is reason
    manager.failure = None
    del manager.roles[KEY]
    await clock.advance(FRESH)
    assert await status(keys) == 401
