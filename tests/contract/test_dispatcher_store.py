"""What the dispatchers' store promises, on every database.

One file, though a long one: it is one contract, held against every database by the same fixtures.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.identity import Identity
from parade.wire.mandate import Scope
from parade_chassis.store import Database
from parade_dispatcher.changes import (
    AddCall,
    AssignEffect,
    Beat,
    BeginEffect,
    CallFilter,
    CallState,
    EffectRecord,
    EndEffect,
    RequestCancel,
    SaveCall,
    StartedCall,
    TakeEffect,
    WithdrawEffect,
)
from parade_dispatcher.model import Answer, Artifact, Effect, Entry, Progress, Request, Timing
from parade_dispatcher.store import Store
from parade_dispatcher.tables import METADATA

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
ENTRY = Entry("default", "key\x00ü", "shop.pay", "ab" * 32, "call-1")
ARTIFACT = Artifact("sha256:" + "0" * 64, 2**31, "application/json")

Opened = Callable[[str], Awaitable[Store]]


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Opened]:
    stores: list[Store] = []

    async def open_store(id: str) -> Store:
        store = Store(await Database.open(database_url, "parade_dispatcher", METADATA), id, f"name-{id}")
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Opened) -> Store:
    return await opened("one")


def call(id: str = "call-00000001", **changes: object) -> StartedCall:
    request = Request(
        agent="shop",
        function="pay",
        arguments=b'{"a": "\\u0000"}',
        caller=Identity.client("developer", "default"),
        namespace="default",
        principal="spiffe://parade.local/ns/default/client/developer",
        idempotency_key="k\x00",
        priority=7,
        labels={"zone": "a"},
        call_id=id,
        scope=Scope(("shop.*",), ("spiffe://parade.local/ns/default/agent/till",), "t-1"),
        run_id="run-1",
        approval_wait=False,
    )
    return replace(StartedCall(id, request, Effect.PURE, NOW, NOW + timedelta(seconds=60)), **changes)  # type: ignore[arg-type]


async def begun(store: Store, entry: Entry = ENTRY) -> object:
    return (await store.write([BeginEffect(entry, NOW)]))[0]


async def record_of(store: Store, entry: Entry = ENTRY) -> EffectRecord | None:
    return (await store.effects([(entry.namespace, entry.key)])).get((entry.namespace, entry.key))


async def test_an_effect_is_new_once(store: Store, opened: Opened) -> None:
    other = await opened("two")

    first = await begun(store)
    second = await begun(other, replace(ENTRY, call_id="call-2"))

    assert first is None
    assert isinstance(second, EffectRecord)
    assert (second.entry, second.owner, second.outcome) == (ENTRY, "one", None)
    assert second.beat is not None


async def test_of_many_who_begin_one_key_at_once_one_finds_it_new(opened: Opened) -> None:
    stores = [await opened(str(number)) for number in range(3)]
    entries = [replace(ENTRY, key=f"key-{number}") for number in range(20)]

    given = await asyncio.gather(
        *(store.write([BeginEffect(entry, NOW) for entry in order]) for store in stores for order in (entries, entries[::-1]))
    )

    for number in range(20):
        results = [part[number] for part in given[::2]] + [part[19 - number] for part in given[1::2]]
        assert sum(result is None for result in results) == 1


async def test_one_batch_finds_its_own_key_known(store: Store) -> None:
    given = await store.write([BeginEffect(ENTRY, NOW), BeginEffect(replace(ENTRY, key="other"), NOW)])

    assert given == [None, None]


@pytest.mark.parametrize(
    "outcome",
    [
        Answer(b'{"paid": true}', "call-1", "shop-1", Timing(0.5, 0.25, 0.125)),
        Answer(ARTIFACT, "call-1", "shop-1"),
        Answer(None, "call-1", "shop-1"),
    ],
    ids=["value", "artifact", "nothing"],
)
async def test_a_receipt_is_what_was_answered(store: Store, outcome: Answer) -> None:
    await begun(store)

    await store.write([AssignEffect(ENTRY, "shop-1"), EndEffect(ENTRY, outcome, NOW)])

    record = await record_of(store)
    assert record is not None
    assert record.outcome == outcome


async def test_a_receipt_keeps_the_whole_error(store: Store) -> None:
    error = ParadeError(
        Reason.AGENT_ERROR,
        "no\x00 money",
        violations=[Violation("a", "b", 3)],
        metadata={"exception_type": "E", "instance": "shop-1"},
        retryable=True,
    )
    await begun(store)

    await store.write([EndEffect(ENTRY, error, NOW)])

    record = await record_of(store)
    assert record is not None
    assert isinstance(record.outcome, ParadeError)
    assert vars(record.outcome) == vars(error)
    assert record.instance_id == "shop-1"


async def test_a_result_that_is_too_large_is_an_error_that_says_so(store: Store) -> None:
    await begun(store)

    await store.write([EndEffect(ENTRY, Answer(b"0" * (1024 * 1024 + 1), "call-1", "shop-1"), NOW)])

    record = await record_of(store)
    assert record is not None
    assert isinstance(record.outcome, ParadeError)
    assert record.outcome.reason is Reason.FAILED_PRECONDITION
    assert "1,048,577 bytes" in record.outcome.message


async def test_the_first_outcome_stays(store: Store, opened: Opened) -> None:
    other = await opened("two")
    await begun(store)
    await store.write([EndEffect(ENTRY, Answer(b"1", "call-1", "shop-1"), NOW)])

    await other.write([EndEffect(ENTRY, ParadeError(Reason.OUTCOME_UNKNOWN, "?"), NOW)])

    record = await record_of(store)
    assert record is not None
    assert isinstance(record.outcome, Answer)


async def test_an_outcome_that_becomes_known_replaces_the_unknown(store: Store) -> None:
    await begun(store)
    await store.write([EndEffect(ENTRY, ParadeError(Reason.OUTCOME_UNKNOWN, "?"), NOW)])

    await store.write([EndEffect(ENTRY, Answer(b"1", "call-1", "shop-1"), NOW)])

    record = await record_of(store)
    assert record is not None
    assert isinstance(record.outcome, Answer)
    assert record.outcome.result == b"1"


async def test_a_withdrawn_effect_is_new_again(store: Store) -> None:
    await begun(store)

    await store.write([WithdrawEffect(ENTRY)])

    assert await begun(store, replace(ENTRY, arguments_hash="cd" * 32)) is None


async def test_only_an_open_effect_of_the_call_is_withdrawn(store: Store) -> None:
    ended = replace(ENTRY, key="ended")
    await store.write([BeginEffect(ENTRY, NOW), BeginEffect(ended, NOW), EndEffect(ended, Answer(b"1", "c", "i"), NOW)])

    await store.write([WithdrawEffect(replace(ENTRY, call_id="call-2")), WithdrawEffect(ended)])

    assert await record_of(store) is not None
    assert await record_of(store, ended) is not None


async def test_one_takes_the_effect_of_an_owner_that_has_ended(opened: Opened) -> None:
    dead, second, third = [await opened(id) for id in ("dead", "second", "third")]
    await begun(dead)
    await second.bury((await second.signs())[0])

    records = [(await store.write([TakeEffect(ENTRY, "dead")]))[0] for store in (second, third)]

    assert [record.owner for record in records if isinstance(record, EffectRecord)] == ["second", "second"]


async def test_a_started_call_comes_back_as_it_was_stored(store: Store) -> None:
    started = call()
    await store.write([AddCall(started)])

    assert await store.call(started.key) == started
    assert started.owner == "one"
    assert await store.call(("other", started.id)) is None


async def test_a_call_id_is_new_once_in_a_namespace(store: Store, opened: Opened) -> None:
    other = await opened("two")
    started = call()
    elsewhere = call()
    elsewhere.request = replace(elsewhere.request, namespace="elsewhere")
    await store.write([AddCall(started)])

    given = await other.write([AddCall(call()), AddCall(elsewhere)])

    assert given == [started, None]


async def test_what_a_call_has_become_is_stored(store: Store) -> None:
    started = call()
    await store.write([AddCall(started)])
    started.state, started.instance_id, started.attempts = CallState.RUNNING, "shop-1", 2
    started.progress = Progress(float("-inf"), "half\x00way")

    own = await store.write([SaveCall(started)])

    assert own == [True]
    assert await store.call(started.key) == started


async def test_a_call_ends_once(store: Store) -> None:
    started = call()
    await store.write([AddCall(started)])
    started.state, started.result, started.end_time, started.timing = CallState.SUCCEEDED, ARTIFACT, NOW, Timing(1, 2, 3)
    await store.write([SaveCall(started)])
    again = replace(started, state=CallState.FAILED, error=ParadeError(Reason.INTERNAL, "no"))

    own = await store.write([SaveCall(again)])

    assert own == [False]
    assert await store.call(started.key) == started


async def test_items_are_returned_in_order_and_as_many_as_fit(store: Store) -> None:
    started = call()
    await store.write([AddCall(started)])
    await store.write([SaveCall(started, [b"0" * 10, ARTIFACT], 0), SaveCall(started, [b"2" * 1000, b"3"], 2)])

    assert (await store.call(started.key) or started).item_count == 4
    assert await store.items(started.key, 0, 200) == [b"0" * 10, ARTIFACT]
    assert await store.items(started.key, 2, 200) == [b"2" * 1000]
    assert await store.items(started.key, 3, 200) == [b"3"]
    assert await store.items(started.key, 4, 200) == []


async def test_a_wish_to_cancel_reaches_the_owner_and_is_not_overwritten(store: Store, opened: Opened) -> None:
    other = await opened("two")
    started = call()
    await store.write([AddCall(started)])

    await other.write([RequestCancel(started.key)])
    await store.write([SaveCall(started)])

    found = await store.call(started.key)
    assert found is not None
    assert (found.cancel_requested, found.cancellation) == (True, "REQUESTED")
    assert await store.to_cancel() == [started.key]
    assert await other.to_cancel() == []


async def test_a_call_that_has_ended_is_not_cancelled(store: Store) -> None:
    started = call(state=CallState.SUCCEEDED, result=b"1", end_time=NOW)
    await store.write([AddCall(call()), SaveCall(started)])

    await store.write([RequestCancel(started.key)])

    found = await store.call(started.key)
    assert found is not None
    assert not found.cancel_requested


async def test_calls_of_a_dispatcher_that_has_ended_are_adopted_once(opened: Opened) -> None:
    dead, second, third = [await opened(id) for id in ("dead", "second", "third")]
    calls = [call(f"call-0000000{number}") for number in range(4)]
    await dead.write([*(AddCall(one) for one in calls), SaveCall(replace(calls[3], state=CallState.SUCCEEDED, end_time=NOW))])
    await second.write([Beat()])
    assert await second.adopt() == []

    await second.bury([sign for sign in (await second.signs())[0] if sign.id == "dead"])
    _, orphans = await second.signs()
    adopted = await asyncio.gather(second.adopt(), third.adopt())

    assert orphans
    assert sorted(call.id for part in adopted for call in part) == [call.id for call in calls[:3]]
    assert all(call.owner == id for part, id in zip(adopted, ("second", "third"), strict=True) for call in part)
    assert await dead.write([SaveCall(calls[0])]) == [False]


async def test_who_has_given_a_sign_since_is_not_buried(opened: Opened) -> None:
    slow, other = await opened("slow"), await opened("other")
    await slow.write([Beat()])
    signs, _ = await other.signs()
    await slow.write([Beat()])

    await other.bury(signs)

    assert [sign.id for sign in (await other.signs())[0]] == ["slow"]


async def test_calls_are_listed_newest_first_in_pages(store: Store) -> None:
    calls = [call(f"call-0000000{number}", create_time=NOW + timedelta(seconds=number // 2)) for number in range(5)]
    await store.write([AddCall(one) for one in calls])
    wanted = CallFilter("default", "shop", "pay")

    first = await store.calls(wanted, None, 3)
    second = await store.calls(wanted, (first[-1].create_time, first[-1].id), 3)

    assert [one.id[-1] for one in first + second] == ["4", "3", "2", "1", "0"]
    assert first[0].request.arguments == b""


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (CallFilter("default"), 2),
        (CallFilter("other"), 0),
        (CallFilter("default", "other"), 0),
        (CallFilter("default", "shop", "other"), 0),
        (CallFilter("default", states=frozenset({CallState.RUNNING, CallState.FAILED})), 1),
        (CallFilter("default", since=NOW + timedelta(seconds=1)), 1),
    ],
)
async def test_only_the_wanted_calls_are_listed(store: Store, wanted: CallFilter, count: int) -> None:
    later = call("call-00000002", create_time=NOW + timedelta(seconds=1), state=CallState.RUNNING)
    await store.write([AddCall(call()), AddCall(later)])

    assert len(await store.calls(wanted, None, 10)) == count


async def test_what_ended_long_ago_is_deleted(store: Store, opened: Opened) -> None:
    gone = await opened("gone")
    old, new, open_still = (replace(ENTRY, key=key) for key in ("old", "new", "open"))
    await gone.write([BeginEffect(replace(ENTRY, key="of nobody"), NOW)])
    await store.bury((await store.signs())[0])
    await store.write([BeginEffect(entry, NOW) for entry in (old, new, open_still)])
    answer = Answer(b"1", "call-1", "shop-1")
    await store.write([EndEffect(old, answer, NOW), EndEffect(new, answer, NOW + timedelta(days=2))])
    ended = call(item_count=0)
    await store.write([AddCall(ended), AddCall(call("call-00000002")), SaveCall(ended, [b"1"], 0)])
    await store.write([SaveCall(replace(ended, state=CallState.SUCCEEDED, end_time=NOW, item_count=1))])

    deleted = await store.delete_ended(NOW + timedelta(days=1))

    keys = await store.effects([("default", key) for key in ("old", "new", "open", "of nobody")])
    assert deleted == 3
    assert sorted(key for _, key in keys) == ["new", "open"]
    assert [one.id for one in await store.calls(CallFilter("default"), None, 10)] == ["call-00000002"]
    assert await store.items(ended.key, 0, 100) == []


async def test_an_effect_whose_outcome_nobody_learns_is_deleted_after_a_week(store: Store) -> None:
    await begun(store)

    kept = await store.delete_ended(NOW + timedelta(days=5))
    deleted = await store.delete_ended(NOW + timedelta(days=6, seconds=1))

    assert (kept, deleted) == (0, 1)


async def test_a_change_that_cannot_be_written_takes_all_with_it_and_is_no_fault_of_the_database(store: Store) -> None:
    broken = call("call-00000002", attempts=2**70)

    with pytest.raises(Exception) as raised:  # noqa: PT011  # each driver has its own
        await store.write([AddCall(call()), AddCall(broken)])

    assert not isinstance(raised.value, ParadeError)
    assert await store.call(call().key) is None


async def test_a_database_that_is_away_is_a_typed_error(database_url: str) -> None:
    database = await Database.open(database_url, "parade_dispatcher", METADATA)
    async with database.transaction() as connection:
        if database.is_sqlite:
            await connection.execute(text("PRAGMA query_only = ON"))
        else:
            await connection.execute(
                text("ALTER DATABASE " + str(database.engine.url.database) + " SET default_transaction_read_only = on")
            )
    if not database.is_sqlite:
        await database.engine.dispose()
    store = Store(database, "one", "one")

    with pytest.raises(ParadeError) as raised:
        await store.write([BeginEffect(ENTRY, NOW)])

    assert raised.value.reason is Reason.UNAVAILABLE
    await store.close()
