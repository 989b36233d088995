"""What the ledger decides, over a real store: a key is open once, and its outcome is what every call of the key gets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade_chassis.clock import SystemClock
from parade_dispatcher.changes import Change, Given
from parade_dispatcher.follow import Follower
from parade_dispatcher.journal import Journal
from parade_dispatcher.leases import LEASE, Leases
from parade_dispatcher.ledger import MEMORY, RECEIPT_PATIENCE, Ledger
from parade_dispatcher.model import Answer, Conflict, Entry, Failed, Fresh, Receipt, Unfinished, Verdict
from parade_dispatcher.ports import Now
from parade_dispatcher.storage import Storage
from tests.support.waiting import eventually

ENTRY = Entry("default", "key", "shop.pay", "ab" * 32, "call-1")
SECOND = replace(ENTRY, call_id="call-2")
ANSWER = Answer(b"1", "call-1", "shop-1")


class Dispatcher:
    """The parts of one dispatcher that write."""

    def __init__(self, url: str, id: str) -> None:
        self.storage = Storage(url, id, id)
        self.failing: ParadeError | None = None
        self.written_all_the_same = False
        loop = asyncio.get_running_loop()
        self.skipped = 0.0
        now: Now = lambda: loop.time() + self.skipped  # noqa: E731
        log = Log()
        self.journal = Journal(self._write, loop.call_later, log)

        async def read(keys: object) -> object:
            return await (await self.storage.store()).effects(keys)  # type: ignore[arg-type]

        self.follower = Follower(read, loop.time, log)  # type: ignore[arg-type, var-annotated]
        self.ledger = Ledger(id, self.journal, self.follower, Leases(now), SystemClock(), now, loop.call_later)

    async def _write(self, changes: Sequence[Change]) -> list[Given]:
        if self.failing is not None:
            if self.written_all_the_same:
                await self.storage.write(changes)
            raise self.failing
        return await self.storage.write(changes)

    def begin(self, entry: Entry) -> "asyncio.Future[Verdict]":
        decided: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.ledger.begin(entry, decided.set_result)
        return decided

    async def end(self, entry: Entry, outcome: Answer | ParadeError = ANSWER) -> None:
        written = asyncio.Event()
        self.ledger.end(entry, outcome, written.set)
        await written.wait()


@asynccontextmanager
async def running(url: str, id: str) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(url, id)
    tasks = [asyncio.create_task(dispatcher.journal.keep()), asyncio.create_task(dispatcher.follower.keep())]
    try:
        yield dispatcher
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await dispatcher.storage.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def one(url: str) -> AsyncIterator[Dispatcher]:
    async with running(url, "one") as dispatcher:
        yield dispatcher


@pytest.fixture
async def other(url: str) -> AsyncIterator[Dispatcher]:
    async with running(url, "other") as dispatcher:
        yield dispatcher


async def test_a_new_key_is_fresh_and_its_outcome_is_kept(one: Dispatcher, other: Dispatcher) -> None:
    assert await one.begin(ENTRY) == Fresh()
    await one.end(ENTRY)

    assert await one.begin(SECOND) == Receipt(ANSWER)
    assert await other.begin(SECOND) == Receipt(ANSWER)
    assert one.ledger.owned == other.ledger.owned == 0


@pytest.mark.parametrize("entry", [replace(SECOND, function="shop.refund"), replace(SECOND, arguments_hash="cd" * 32)])
async def test_another_call_under_the_key_is_a_conflict(one: Dispatcher, other: Dispatcher, entry: Entry) -> None:
    await one.begin(ENTRY)

    open_verdicts = await one.begin(entry), await other.begin(entry)
    await one.end(ENTRY)
    ended_verdict = await one.begin(entry)

    assert [type(verdict) for verdict in (*open_verdicts, ended_verdict)] == [Conflict] * 3


async def test_who_comes_while_the_call_runs_elsewhere_gets_its_outcome(one: Dispatcher, other: Dispatcher) -> None:
    await one.begin(ENTRY)
    one.ledger.assigned(ENTRY, "shop-1")
    waiting = [other.begin(SECOND), other.begin(replace(ENTRY, call_id="call-3"))]
    await asyncio.sleep(0.1)
    still_waiting = not any(verdict.done() for verdict in waiting)

    await one.end(ENTRY)

    assert still_waiting
    assert await asyncio.gather(*waiting) == [Receipt(ANSWER)] * 2


async def test_who_comes_while_the_call_runs_elsewhere_for_long_may_ask_its_instance(one: Dispatcher, other: Dispatcher) -> None:
    await one.begin(ENTRY)
    one.ledger.assigned(ENTRY, "shop-1")

    assert await other.begin(SECOND) == Unfinished("shop-1", "call-1")
    await other.end(SECOND)
    await one.end(ENTRY, ParadeError(Reason.OUTCOME_UNKNOWN, "?"))

    assert await one.begin(SECOND) == Receipt(ANSWER)


async def test_who_comes_while_the_outcome_is_written_gets_it(one: Dispatcher) -> None:
    await one.begin(ENTRY)
    ended = asyncio.create_task(one.end(ENTRY))
    await asyncio.sleep(0)

    assert await one.begin(SECOND) == Receipt(ANSWER)
    await ended


async def test_calls_of_one_key_that_come_together_are_made_once(one: Dispatcher) -> None:
    verdicts = await asyncio.gather(*(one.begin(replace(ENTRY, call_id=f"call-{number}")) for number in range(5)))

    assert verdicts == [Fresh()] + [Unfinished("", "call-0")] * 4


async def test_a_key_of_which_nobody_learns_the_outcome_is_unfinished_for_ever(one: Dispatcher) -> None:
    await one.begin(ENTRY)
    one.ledger.assigned(ENTRY, "shop-1")
    await one.journal.flush(5)
    one.skipped += MEMORY + 1

    one.ledger.forget()

    assert one.ledger.owned == 0
    assert await one.begin(SECOND) == Unfinished("shop-1", "call-1")


async def test_the_same_call_sent_again_is_unfinished(one: Dispatcher) -> None:
    together = [one.begin(ENTRY), one.begin(ENTRY)]
    await asyncio.wait(together)
    one.ledger.assigned(ENTRY, "shop-1")

    later = await one.begin(ENTRY)

    assert [verdict.result() for verdict in together] == [Fresh(), Unfinished("", "call-1")]
    assert later == Unfinished("shop-1", "call-1")


async def test_the_call_of_a_dispatcher_that_has_ended_is_unfinished_for_one_who_goes_on(url: str, one: Dispatcher) -> None:
    async with running(url, "dead") as dead:
        await dead.begin(ENTRY)
        dead.ledger.assigned(ENTRY, "shop-1")
        await dead.journal.flush(5)

    assert await one.begin(SECOND) == Unfinished("shop-1", "call-1")
    await one.end(SECOND, ParadeError(Reason.OUTCOME_UNKNOWN, "?"))

    verdict = await one.begin(replace(ENTRY, call_id="call-3"))
    assert isinstance(verdict, Receipt)
    assert isinstance(verdict.outcome, ParadeError)
    assert verdict.outcome.reason is Reason.OUTCOME_UNKNOWN


async def test_who_waits_for_a_dispatcher_goes_on_when_its_lease_has_passed(one: Dispatcher, other: Dispatcher) -> None:
    await one.begin(ENTRY)
    waiting = other.begin(SECOND)
    await eventually(lambda: "one" in other.ledger._leases._seen)

    other.skipped += LEASE

    assert await waiting == Unfinished("", "call-1")


async def test_of_two_who_outlive_a_dispatcher_one_goes_on(url: str, one: Dispatcher, other: Dispatcher) -> None:
    async with running(url, "dead") as dead:
        await dead.begin(ENTRY)

    verdicts = {"one": one.begin(SECOND), "other": other.begin(SECOND)}
    done, pending = await asyncio.wait(verdicts.values(), return_when=asyncio.FIRST_COMPLETED)
    first = one if verdicts["one"] in done else other
    await first.end(SECOND)

    assert [verdict.result() for verdict in done] == [Unfinished("", "call-1")]
    assert await pending.pop() == Receipt(ANSWER)


async def test_a_withdrawn_key_is_fresh_for_who_waited(one: Dispatcher, other: Dispatcher) -> None:
    await one.begin(ENTRY)
    waiting = other.begin(SECOND)
    await asyncio.sleep(0.05)

    one.ledger.withdraw(ENTRY)
    at_once = await one.begin(replace(ENTRY, call_id="call-3"))

    assert {type(at_once)} <= {Fresh, Unfinished, Receipt}
    await (one.end(ENTRY) if at_once == Fresh() else other.end(SECOND))
    assert {type(at_once), type(await waiting)} == {Fresh, Receipt}


async def test_what_cannot_be_written_is_refused_and_free_again(one: Dispatcher) -> None:
    one.failing = ParadeError(Reason.NO_CAPACITY, "full")

    verdicts = await asyncio.gather(one.begin(ENTRY), one.begin(SECOND))
    one.failing = None

    assert all(isinstance(verdict, Failed) and verdict.error.reason is Reason.NO_CAPACITY for verdict in verdicts)
    assert await one.begin(SECOND) == Fresh()


async def test_what_was_refused_and_stands_there_all_the_same_is_fresh_again(one: Dispatcher) -> None:
    one.failing, one.written_all_the_same = ParadeError(Reason.UNAVAILABLE, "the connection broke at the commit"), True
    refused = await one.begin(ENTRY)
    one.failing = None

    again = await one.begin(SECOND)

    assert isinstance(refused, Failed)
    assert again == Fresh()


async def test_an_outcome_that_cannot_be_written_is_told_after_a_moment_and_written_later(one: Dispatcher, other: Dispatcher) -> None:
    await one.begin(ENTRY)
    one.failing = ParadeError(Reason.NO_CAPACITY, "full")
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(RECEIPT_PATIENCE + 5):
        await one.end(ENTRY)
    took = asyncio.get_running_loop().time() - began
    waiting = [one.begin(SECOND), other.begin(SECOND)]
    await asyncio.sleep(0.1)
    unwritten = not any(verdict.done() for verdict in waiting)

    one.failing = None

    assert took >= RECEIPT_PATIENCE * 0.9
    assert unwritten
    assert await asyncio.gather(*waiting) == [Receipt(ANSWER)] * 2


async def test_an_end_that_nobody_expects_is_harmless(one: Dispatcher) -> None:
    await one.begin(ENTRY)

    await asyncio.gather(one.end(ENTRY), one.end(ENTRY, ParadeError(Reason.OUTCOME_UNKNOWN, "?")))

    assert await one.begin(SECOND) == Receipt(ANSWER)


async def test_thousands_of_keys_share_their_commits(one: Dispatcher) -> None:
    entries = [replace(ENTRY, key=f"key-{number}", call_id=f"call-{number}") for number in range(3000)]

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(30))
        verdicts = await asyncio.gather(*(one.begin(entry) for entry in entries))
        await asyncio.gather(*(one.end(entry) for entry in entries))
        receipts = await asyncio.gather(*(one.begin(entry) for entry in entries))

    assert set(verdicts) == {Fresh()}
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
