"""How policies are stored: versions, who is told, and what there is room for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.log import Log
from parade.wire.roles import Role
from parade_agent_manager import policy_administration
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.policy import Policy
from parade_agent_manager.policy_administration import PolicyAdministration
from parade_agent_manager.policy_store import KEPT, PolicyStore
from parade_agent_manager.tables import METADATA
from parade_agent_manager.waits import Waits
from parade_chassis.clock import ManualClock
from parade_chassis.policies import Effect, Policies, PolicyText, Resource
from parade_chassis.store import Database
from tests.support.recorder import RECORDER

ADA = Identity.client("ada", "sales").uri
ALL = "forbid (principal, action, resource);"
PAY = 'forbid (principal, action == Parade::Action::"call", resource == Parade::Function::"payments.pay");'


@dataclass
class World:
    store: PolicyStore
    clock: ManualClock
    feed: AccessFeed
    own: Policies
    administration: PolicyAdministration

    async def put(self, text: str, name: str = "payments", expected: int | None = None, namespace: str = "sales") -> Policy:
        await self.clock.advance(1)
        return await self.administration.put(ADA, namespace, name, text, expected)

    async def delete(self, name: str = "payments", expected: int | None = None) -> Policy:
        await self.clock.advance(1)
        return await self.administration.delete(ADA, "sales", name, expected)

    def effect(self, namespace: str = "sales") -> Effect:
        return self.own.decide(namespace, ADA, Role.DEVELOPER, "call", Resource("Function", "payments.pay")).effect


def world_over(store: PolicyStore, clock: ManualClock) -> World:
    feed, own = AccessFeed(100, Waits()), Policies()
    return World(store, clock, feed, own, PolicyAdministration(store=store, feed=feed, own=own, clock=clock, log=Log()))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(f"sqlite:///{tmp_path / 'agents.db'}", "parade_agent_manager", METADATA)
    made = world_over(PolicyStore(database, RECORDER), ManualClock())
    await made.administration.load()
    yield made
    await database.close()


async def refusal(awaitable: object) -> ParadeError:
    with pytest.raises(ParadeError) as error:
        await awaitable  # type: ignore[misc]
    return error.value


async def test_a_text_is_a_version_and_the_same_text_again_is_none(world: World) -> None:
    first = await world.put(PAY)
    again = await world.put(PAY)
    second = await world.put(f"{PAY} {ALL}")

    assert again == first
    assert (first.version, first.rule_count, first.author) == (1, 1, ADA)
    assert (second.version, second.rule_count, second.created - first.created) == (2, 2, timedelta(seconds=2))
    assert await world.administration.get("sales", "payments", 0) == second
    assert await world.administration.get("sales", "payments", 1) == first


async def test_who_decides_is_told_at_once_and_after_a_restart(world: World) -> None:
    with world.feed.watch() as watcher:
        assert list(watcher.picture()) == []
        await world.put(PAY)
        denied = world.effect()
        restarted = world_over(world.store, world.clock)
        await restarted.administration.load()
        await world.delete()
        told = watcher.changes()
        changes = [await anext(told), await anext(told)]

    assert changes == [PolicyText("sales", "payments", 1, PAY), PolicyText("sales", "payments", 2, "")]
    assert (denied, world.effect(), world.effect("research")) == (Effect.DENY, Effect.ALLOW, Effect.ALLOW)
    assert restarted.effect() is Effect.DENY
    with restarted.feed.watch() as watcher:
        assert list(watcher.picture()) == [PolicyText("sales", "payments", 1, PAY)]


async def test_what_was_deleted_is_gone_and_its_next_text_is_another_version(world: World) -> None:
    await world.put(PAY)
    deleted = await world.delete()
    gone = await refusal(world.administration.get("sales", "payments", 0))
    again = await refusal(world.delete())
    restarted = world_over(world.store, world.clock)
    await restarted.administration.load()
    third = await restarted.put(PAY)

    assert (deleted.version, deleted.text) == (1, PAY)
    assert (gone.reason, again.reason) == (Reason.NOT_FOUND, Reason.NOT_FOUND)
    assert world.administration.page("sales", 0, "") == ([], "")
    assert third.version == 3
    assert (await world.administration.get("sales", "payments", 2)).holds is False


@pytest.mark.parametrize(("expected", "stored"), [(None, True), (1, True), (0, False), (2, False)])
async def test_who_expects_another_version_changes_nothing(world: World, expected: int | None, *, stored: bool) -> None:
    await world.put(PAY)

    if stored:
        assert (await world.put(ALL, expected=expected)).version == 2
        return
    put = await refusal(world.put(ALL, expected=expected))
    deleted = await refusal(world.delete(expected=expected))

    assert (put.reason, deleted.reason) == (Reason.FAILED_PRECONDITION, Reason.FAILED_PRECONDITION)
    assert put.metadata == {"version": "1"}
    assert (await world.administration.get("sales", "payments", 0)).text == PAY


async def test_a_new_policy_is_expected_to_be_none_also_after_a_deletion(world: World) -> None:
    assert (await world.put(PAY, expected=0)).version == 1
    assert (await world.put(PAY, expected=0)).version == 1  # a retry
    await world.delete(expected=1)
    assert (await world.put(ALL, expected=0)).version == 3


@pytest.mark.parametrize("name", ["", "Payments", "pay ments", "1st", "x" * 41])
async def test_a_bad_name_is_refused(world: World, name: str) -> None:
    error = await refusal(world.put(PAY, name))

    assert [fault.field for fault in error.violations] == ["name"]


async def test_what_is_no_policy_is_not_stored(world: World) -> None:
    await world.put(PAY)

    error = await refusal(world.put("permit (principal, action, resource);"))

    assert error.reason is Reason.INVALID_ARGUMENTS
    assert (await world.administration.get("sales", "payments", 0)).text == PAY


async def test_a_namespace_sees_its_own_policies_in_pages(world: World) -> None:
    for number in range(5):
        await world.put(PAY, f"p{number}")
    await world.put(PAY, "p9", namespace="research")

    first, token = world.administration.page("sales", 3, "")
    second, end = world.administration.page("sales", 3, token)

    assert [policy.name for policy in first + second] == [f"p{number}" for number in range(5)]
    assert end == ""
    assert (await refusal(world.administration.get("sales", "p9", 0))).reason is Reason.NOT_FOUND
    assert (await refusal(world.administration.get("sales", "p9", 1))).reason is Reason.NOT_FOUND


@pytest.mark.parametrize(("bound", "most"), [("MAX_POLICIES", 2), ("MAX_RULES", 4), ("MAX_BYTES", 4 * len(ALL) + 4)])
async def test_a_namespace_has_room_for_so_much(world: World, monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    monkeypatch.setattr(policy_administration, bound, most)
    two = f"{ALL} {ALL}"
    await world.put(two, "a")
    await world.put(two, "b")

    error = await refusal(world.put(ALL, "c"))
    await world.put(two + "\n", "b")
    await world.put(two, "c", namespace="research")
    await world.delete("a")

    assert error.reason is Reason.FAILED_PRECONDITION
    assert "delete some" in error.message
    assert (await world.put(ALL, "c")).version == 1


async def test_the_newest_versions_are_kept(world: World) -> None:
    for number in range(KEPT + 2):
        await world.put(f"{ALL} // {number}")

    assert (await refusal(world.administration.get("sales", "payments", 2))).reason is Reason.NOT_FOUND
    assert (await world.administration.get("sales", "payments", 3)).text == f"{ALL} // 2"


async def test_of_many_deleted_policies_the_first_are_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_administration, "MAX_DELETED", 2)
    for name in ("a", "b", "c"):
        await world.put(PAY, name)
    for name in ("b", "a", "c"):
        await world.delete(name)

    assert [(await world.put(PAY, name)).version for name in ("a", "b", "c")] == [3, 1, 3]
