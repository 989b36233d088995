"""What the dispatchers' store promises of the approvals of calls, on every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from parade.wire.audit import Kind
from parade.wire.roles import Role
from parade_chassis.audit import Record
from parade_chassis.store import Database
from parade_dispatcher.approval import Approval, ApprovalFilter, ApprovalState
from parade_dispatcher.store import Store
from parade_dispatcher.tables import METADATA

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
DAY = timedelta(days=1)
OPERATOR = "spiffe://parade.local/ns/default/client/operator"
PENDING = ApprovalFilter("default", frozenset({ApprovalState.PENDING}))
ALL = ApprovalFilter("default", frozenset(ApprovalState))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    store = Store(await Database.open(database_url, "parade_dispatcher", METADATA), "one", "name-one")
    yield store
    await store.close()


def approval(id: str = "approval_1", **changes: object) -> Approval:
    made = Approval(
        id=id,
        namespace="default",
        function="shop.pay",
        arguments_hash="ab" * 32,
        arguments='{"a":"\x00ü"}',
        arguments_size=9,
        principal="oidc:https://issuer#ada\x00",
        actors=("spiffe://parade.local/ns/default/agent/broker",),
        call_id="call-00000001",
        run_id="run-1\x00",
        step="pay",
        rules=("careful@1#ask", "more@2#\x00"),
        approver=Role.OPERATOR,
        create_time=NOW,
        expire_time=NOW + DAY,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def resolved(of: Approval, state: ApprovalState = ApprovalState.APPROVED, **changes: object) -> Approval:
    fields = {"state": state, "by": OPERATOR, "note": "well \x00", "resolve_time": NOW + timedelta(hours=1), **changes}
    return replace(of, **fields)  # type: ignore[arg-type]


def record(of: Approval) -> Record:
    time, resource = of.resolve_time or NOW, f"call-approvals/{of.id}"
    return Record(Kind.APPROVAL, "/parade.v1.DispatcherService/ResolveCallApproval", OPERATOR, of.namespace, resource, time)


async def test_an_approval_comes_back_as_it_was_asked_for(store: Store) -> None:
    asked = approval()

    assert await store.approvals.ask([asked], 10, NOW) == {asked.id: asked}
    assert await store.approvals.standings([asked.id, "approval_2"]) == {asked.id: asked}
    assert await store.approvals.find(PENDING, None, 10, NOW) == [asked]


async def test_what_is_asked_for_again_is_as_it_was(store: Store) -> None:
    first, later = approval(), approval(create_time=NOW + DAY, expire_time=NOW + 2 * DAY)
    await store.approvals.ask([first], 10, NOW)

    assert await store.approvals.ask([later, approval("approval_2")], 10, NOW) == {first.id: first, "approval_2": approval("approval_2")}


async def test_two_dispatchers_that_ask_at_once_ask_once(store: Store, database_url: str) -> None:
    other = Store(await Database.open(database_url, "parade_dispatcher", METADATA), "two", "name-two")
    several = [approval(f"approval_{number}") for number in range(20)]

    answers = await asyncio.gather(store.approvals.ask(several, 100, NOW), other.approvals.ask(several[::-1], 100, NOW))

    assert answers[0] == answers[1] == {one.id: one for one in several}
    assert len(await store.approvals.find(PENDING, None, 100, NOW)) == 20
    await other.close()


async def test_only_so_many_wait_in_a_namespace(store: Store) -> None:
    await store.approvals.ask([approval("approval_1"), approval("approval_2")], 2, NOW)

    written = await store.approvals.ask([approval("approval_1"), approval("approval_3"), approval("approval_4", namespace="other")], 2, NOW)

    assert written.keys() == {"approval_1", "approval_4"}
    await store.approvals.resolve(resolved(approval("approval_1")), record(resolved(approval("approval_1"))))
    assert (await store.approvals.ask([approval("approval_3")], 2, NOW)).keys() == {"approval_3"}
    assert (await store.approvals.ask([approval("approval_5")], 2, NOW + DAY)).keys() == {"approval_5"}


async def test_one_of_many_who_resolve_at_once_does(store: Store) -> None:
    await store.approvals.ask([approval()], 10, NOW)
    answers = [
        resolved(approval(), state, resolve_time=NOW + timedelta(seconds=number))
        for number, state in enumerate([ApprovalState.APPROVED, ApprovalState.REJECTED] * 5)
    ]

    won = await asyncio.gather(*(store.approvals.resolve(answer, record(answer)) for answer in answers))

    assert won.count(True) == 1
    assert await store.approvals.standings(["approval_1"]) == {"approval_1": answers[won.index(True)]}


async def test_a_resolution_and_its_record_are_written_together(store: Store) -> None:
    asked = approval()
    await store.approvals.ask([asked], 10, NOW)

    assert await store.approvals.resolve(resolved(asked), record(resolved(asked)))
    assert not await store.approvals.resolve(resolved(asked), record(resolved(asked)))

    [entry] = await store.audit_log.newest("default", {}, {}, 10)
    assert (entry.kind, entry.subject, entry.resource) == ("APPROVAL", OPERATOR, "call-approvals/approval_1")


async def test_without_its_record_a_resolution_is_not_written(store: Store, database_url: str) -> None:
    asked = approval()
    await store.approvals.ask([asked], 10, NOW)
    database = await Database.open(database_url, "parade_dispatcher", METADATA)
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE dispatcher_audit"))
    await database.close()

    with pytest.raises(Exception, match="dispatcher_audit"):
        await store.approvals.resolve(resolved(asked), record(resolved(asked)))

    assert await store.approvals.standings([asked.id]) == {asked.id: asked}


async def test_nobody_resolves_what_is_over_or_another_namespaces(store: Store) -> None:
    asked = approval()
    await store.approvals.ask([asked], 10, NOW)

    assert not await store.approvals.resolve(resolved(asked, namespace="other"), record(resolved(asked, namespace="other")))
    assert not await store.approvals.resolve(resolved(asked, resolve_time=NOW + DAY), record(resolved(asked, resolve_time=NOW + DAY)))
    await store.approvals.withdraw([asked.id], NOW)
    assert not await store.approvals.resolve(resolved(asked), record(resolved(asked)))
    assert await store.approvals.standings([asked.id]) == {asked.id: replace(asked, state=ApprovalState.WITHDRAWN, resolve_time=NOW)}


async def test_what_is_resolved_is_not_withdrawn(store: Store) -> None:
    await store.approvals.ask([approval()], 10, NOW)
    await store.approvals.resolve(resolved(approval()), record(resolved(approval())))

    await store.approvals.withdraw(["approval_1"], NOW)

    assert await store.approvals.standings(["approval_1"]) == {"approval_1": resolved(approval())}


async def test_approvals_are_found_by_what_they_are(store: Store) -> None:
    several = [
        approval("approval_a", create_time=NOW + timedelta(seconds=2)),
        approval("approval_b", function="shop.ship"),
        approval("approval_c", approver=Role.ADMIN),
        approval("approval_d", principal=OPERATOR),
        approval("approval_e", namespace="other"),
        approval("approval_f", expire_time=NOW + timedelta(seconds=1)),
    ]
    await store.approvals.ask(several, 10, NOW)
    await store.approvals.resolve(resolved(several[1], ApprovalState.REJECTED), record(resolved(several[1], ApprovalState.REJECTED)))
    later = NOW + timedelta(seconds=1)

    async def ids(wanted: ApprovalFilter, after: tuple[datetime, str] | None = None, limit: int = 10) -> str:
        return "".join(one.id[-1] for one in await store.approvals.find(wanted, after, limit, later))

    assert await ids(ALL) == "bcdfa"
    assert await ids(PENDING) == "cda"
    assert await ids(replace(PENDING, states=frozenset({ApprovalState.REJECTED}))) == "b"
    assert await ids(replace(PENDING, states=frozenset({ApprovalState.WITHDRAWN}))) == "f"
    assert await ids(replace(ALL, function="shop.ship")) == "b"
    assert await ids(replace(PENDING, resolver=OPERATOR, role=Role.OPERATOR)) == "a"
    assert await ids(replace(PENDING, resolver=OPERATOR, role=Role.ADMIN)) == "ca"
    assert await ids(ALL, limit=2) == "bc"
    assert await ids(ALL, (NOW, "approval_c")) == "dfa"


async def test_they_are_deleted_some_time_after_their_end(store: Store) -> None:
    await store.approvals.ask([approval(f"approval_{number}") for number in range(250)], 1000, NOW)
    await store.approvals.ask([approval("approval_later", expire_time=NOW + 2 * DAY)], 1000, NOW)

    assert await store.approvals.delete_expired(NOW + DAY) == 0
    assert [await store.approvals.delete_expired(NOW + DAY + timedelta(seconds=1)) for _ in range(3)] == [200, 50, 0]
    assert [one.id for one in await store.approvals.find(PENDING, None, 10, NOW)] == ["approval_later"]
