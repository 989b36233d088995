"""What a service follows of access: the last complete picture stands, whatever becomes of the watch."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from parade.v1 import access_pb2, certificate_pb2
from parade.v1 import access_watch_pb2 as pb
from parade.wire.errors import ParadeError, Reason
from parade.wire.roles import Role
from parade_chassis.access import METHOD, AccessWatch
from parade_chassis.clock import ManualClock
from parade_chassis.config import ServiceConfig
from parade_chassis.grants import Grants
from parade_chassis.lifecycle import Process
from tests.support.certificates import Authority
from tests.support.processes import process_of
from tests.support.waiting import eventually

SYNCED = pb.WatchAccessResponse(synced=pb.WatchAccessResponse.Synced())


def revoked(serial: str, seconds: int = 2_000_000_000) -> pb.WatchAccessResponse:
    message = certificate_pb2.Revocation(serial=serial, reason=f"reason of {serial}")
    message.expire_time.FromSeconds(seconds)
    return pb.WatchAccessResponse(revocation=message)


class AgentManager:
    """The other end of the watch: says what the test has it say, one stream after the other."""

    def __init__(self) -> None:
        self.opened = 0
        self._said: asyncio.Queue[pb.WatchAccessResponse | ParadeError] = asyncio.Queue()

    def unary_stream(self, path: str, *_: Any) -> Callable[[pb.WatchAccessRequest], AsyncIterator[pb.WatchAccessResponse]]:
        assert path == METHOD

        async def watch(_: pb.WatchAccessRequest) -> AsyncGenerator[pb.WatchAccessResponse]:
            self.opened += 1
            while True:
                event = await self._said.get()
                if isinstance(event, ParadeError):
                    raise event
                yield event

        return watch

    def say(self, *events: pb.WatchAccessResponse) -> None:
        for event in events:
            self._said.put_nowait(event)

    def fail(self) -> None:
        self._said.put_nowait(ParadeError(Reason.UNAVAILABLE, "away"))


class Config(ServiceConfig):
    """A service that is told nothing of its own."""


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process[Config]]:
    async with process_of("monitor", Config, Authority(tmp_path), grants=Grants()) as made:
        made.clock = ManualClock()
        yield made


@pytest.fixture
async def manager(process: Process[Config]) -> AgentManager:
    made = AgentManager()
    process.background(AccessWatch(process, made).follow(), "access watch")
    return made


async def known(process: Process[Config], number: int) -> None:
    await eventually(lambda: len(process.revocations) == number)


async def test_a_picture_counts_once_it_is_complete_and_changes_at_once(process: Process[Config], manager: AgentManager) -> None:
    manager.say(revoked("a"), revoked("b"))
    await eventually(lambda: manager.opened == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    before = len(process.revocations)

    manager.say(SYNCED)
    await known(process, 2)
    manager.say(revoked("c"))
    await known(process, 3)

    assert before == 0


async def test_what_was_known_stands_while_nobody_tells_and_until_a_new_picture_is_complete(
    process: Process[Config], manager: AgentManager
) -> None:
    clock = process.clock
    assert isinstance(clock, ManualClock)
    manager.say(revoked("a"), revoked("b"), SYNCED)
    await known(process, 2)

    manager.fail()
    manager.say(revoked("b"))
    await asyncio.sleep(0)
    kept = len(process.revocations)

    async def again() -> bool:
        await clock.advance(0.2)
        return manager.opened == 2

    await eventually(again)
    still = len(process.revocations)
    manager.say(SYNCED)
    await known(process, 1)

    assert (kept, still) == (2, 2)


def living(id: str, role: "access_pb2.Role.ValueType" = access_pb2.ROLE_DEVELOPER) -> pb.WatchAccessResponse:
    key = pb.LivingKey(id=id, namespace="default", role=role, created_by="spiffe://parade.local/ns/default/client/dev")
    key.expire_time.FromSeconds(2_000_000_000)
    return pb.WatchAccessResponse(living_key=key)


async def test_keys_are_known_once_the_picture_is_complete_and_followed_from_then_on(
    process: Process[Config], manager: AgentManager
) -> None:
    def standing() -> list[str]:
        return [id for id in ("a", "b", "c") if process.standing.of(f"key:{id}", "default") is Role.DEVELOPER]

    maker = pb.ClientRole(subject="spiffe://parade.local/ns/default/client/dev", namespace="default", role=access_pb2.ROLE_ADMIN)
    manager.say(living("a"), living("b"), pb.WatchAccessResponse(client_role=maker))
    await eventually(lambda: manager.opened == 1)
    before = standing()
    manager.say(SYNCED)
    await eventually(lambda: standing() == ["a", "b"])
    manager.say(living("c"), living("a", access_pb2.ROLE_NONE))
    await eventually(lambda: standing() == ["b", "c"])

    assert before == []


def policy(name: str, version: int = 1, text: str = "forbid (principal, action, resource);") -> pb.WatchAccessResponse:
    return pb.WatchAccessResponse(policy=pb.PolicyText(namespace="default", name=name, version=version, text=text))


async def test_policies_are_known_once_the_picture_is_complete_and_followed_from_then_on(
    process: Process[Config], manager: AgentManager
) -> None:
    def versions() -> dict[str, int]:
        return {name: policy.version for name, policy in process.policies.of("default").items()}

    manager.say(policy("a"), policy("b"))
    await eventually(lambda: manager.opened == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    before = versions()
    manager.say(SYNCED)
    await eventually(lambda: versions() == {"a": 1, "b": 1})
    manager.say(policy("c"), policy("a", 2), policy("b", 2, ""))
    await eventually(lambda: versions() == {"a": 2, "c": 1})

    assert before == {}


async def test_a_watch_is_opened_again_after_ever_longer_pauses(process: Process[Config], manager: AgentManager) -> None:
    clock = process.clock
    assert isinstance(clock, ManualClock)
    times: list[float] = []
    for number in range(1, 7):
        manager.fail()

        async def opened(number: int = number) -> bool:
            await clock.advance(0.1)
            return manager.opened > number

        await eventually(opened)
        times.append(clock.monotonic())

    pauses = [round(later - earlier, 1) for earlier, later in zip([0.0, *times], times, strict=False)]
    assert pauses[0] <= 0.3
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 2.2


async def test_an_agent_manager_that_starts_later_is_no_news_and_one_that_does_not_come_or_goes_is(
    process: Process[Config], manager: AgentManager, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = process.clock
    assert isinstance(clock, ManualClock)

    async def fails_for(seconds: float) -> str:
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            manager.fail()
            await clock.advance(0.5)
        return capsys.readouterr().err

    said = [await fails_for(8), await fails_for(5), await fails_for(60)]
    manager.say(SYNCED, revoked("a"))

    async def is_known() -> bool:
        await clock.advance(0.5)
        return len(process.revocations) == 1

    await eventually(is_known)
    capsys.readouterr()
    said.append(await fails_for(5))

    assert ["is away" in text for text in said] == [False, True, False, True]
    assert said[1].count("is away") == said[3].count("is away") == 1


async def test_a_revocation_of_an_unknown_kind_and_one_that_is_over_are_left_out(process: Process[Config], manager: AgentManager) -> None:
    strange = pb.WatchAccessResponse(revocation=certificate_pb2.Revocation(reason="of something new"))

    manager.say(strange, revoked("a", seconds=1), revoked("b"), SYNCED)

    await known(process, 1)
