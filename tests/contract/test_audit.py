"""What an audit log promises, on every database: it is written with its change or not at all, and whoever tampers with it is found out."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.audit import Entry, Fault, Head, Kind, hash_of
from parade_chassis.audit import Record, chained, first_head
from parade_chassis.audit_log import AuditLog
from parade_chassis.store import Database
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.tables import METADATA

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
ENTRIES = 12
"""How many there are in each of two chains."""
TEXTS = ("kind", "action", "subject", "namespace", "resource", "facts")
HASHES = ("previous_hash", "hash")


def record(number: int, **others: Any) -> Record:
    made = Record(
        Kind.CHANGE, "/parade.v1.SchedulerService/PauseRun", f"spiffe://parade.local/ns/default/client/größe-{number}", "default",
        f"runs/run-{number}", NOW + timedelta(seconds=number), {"reason": "überfällig", "number": number},
    )  # fmt: skip
    return replace(made, **others)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, "parade_scheduler", METADATA)
    yield database
    await database.close()


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database, AUDIT)


async def write(database: Database, *records: Record) -> None:
    async with database.transaction() as connection:
        await AUDIT.append(connection, records)


async def fail(database: Database, *records: Record) -> None:
    async with database.transaction() as connection:
        await AUDIT.append(connection, records)
        raise RuntimeError


async def test_what_was_written_is_read_back_newest_first_and_verifies(database: Database, log: AuditLog) -> None:
    for number in range(5):
        await write(database, record(number), record(number, namespace="other"))

    newest = await log.newest("default", {}, {}, 2)
    assert [entry.resource for entry in newest] == ["runs/run-4", "runs/run-3"]
    last = newest[-1]
    older = await log.newest("default", {}, {last.chain: last.sequence}, 10)
    assert [entry.resource for entry in older] == ["runs/run-2", "runs/run-1", "runs/run-0"]
    assert [entry.resource for entry in await log.newest("default", {"resource": "runs/run-1"}, {}, 10)] == ["runs/run-1"]
    count, faults, heads = await log.verify()
    assert (count, faults, [head.sequence for head in heads.values()]) == (10, [], [10])


async def test_a_change_that_is_rolled_back_leaves_no_entry_and_no_gap(database: Database, log: AuditLog) -> None:
    await write(database, record(0))
    with pytest.raises(RuntimeError):
        await fail(database, record(1))
    await write(database, record(2))

    assert [entry.resource for entry in await log.newest("default", {}, {}, 10)] == ["runs/run-2", "runs/run-0"]
    assert (await log.verify())[1] == []


async def test_transactions_at_once_wait_for_nobody_and_every_chain_is_whole(database: Database, log: AuditLog) -> None:
    async def some(writer: int) -> None:
        for number in range(10):
            await write(database, record(writer * 10 + number))

    await asyncio.gather(*map(some, range(6)))

    count, faults, heads = await log.verify()
    assert (count, faults) == (60, [])
    assert sum(head.sequence for head in heads.values()) == 60
    if not database.is_sqlite:
        async with database.transaction() as first, database.transaction() as second:
            assert (await AUDIT.free_head(first)).chain != (await AUDIT.free_head(second)).chain


async def test_the_log_can_be_verified_while_it_is_written(database: Database, log: AuditLog) -> None:
    async def go_on() -> None:
        for number in range(60):
            await write(database, record(number))

    writing = asyncio.create_task(go_on())
    while not writing.done():
        _, faults, heads = await log.verify()
        assert faults == []
        assert (await log.verify(heads.values()))[1] == []
    await writing


@pytest.mark.parametrize("tamperings", [100, pytest.param(1_000, marks=[pytest.mark.full, pytest.mark.timeout(300)])])
async def test_every_tampering_is_found(database: Database, log: AuditLog, tamperings: int) -> None:
    """Each is undone before the next."""
    chance = random.Random(20260304)  # noqa: S311  # the same tamperings every time
    entries, heads = await two_chains(database)
    checkpoint = list((await log.heads()).values())
    missed, misplaced = [], []
    kinds = [change_text, change_number, change_hash, remove, add, swap, change_head, cut, write_anew, remove_chain]
    if database.is_sqlite:
        kinds.append(change_type)
    for number in range(tamperings):
        tamper = kinds[number % len(kinds)]
        async with database.transaction() as connection:
            place = await tamper(connection, chance, entries, heads)
        faults = (await log.verify(checkpoint))[1]
        if not faults:
            missed.append((number, tamper.__name__))
        elif place is not None and place not in [(fault.chain, fault.sequence) for fault in faults]:
            misplaced.append((number, tamper.__name__, place, faults))
        async with database.transaction() as connection:
            await restore(connection, entries, heads)

    assert missed == []
    assert misplaced == []
    assert (await log.verify(checkpoint))[1] == list[Fault]()


async def two_chains(database: Database) -> tuple[list[Entry], list[Head]]:
    """Writes two chains, as two processes would."""
    entries: list[Entry] = []
    heads: list[Head] = []
    async with database.transaction() as connection:
        await AUDIT.append(connection, [record(number) for number in range(ENTRIES)])
        row = (await connection.execute(select(AUDIT.heads))).one()
        heads.append(Head(*row))
        entries += [Entry(*row) for row in await connection.execute(select(AUDIT.entries))]
        others, head = chained(first_head(AUDIT.log, 1), [record(number) for number in range(ENTRIES)])
        await connection.execute(insert(AUDIT.heads).values(head._asdict()))
        await connection.execute(insert(AUDIT.entries), [entry._asdict() for entry in others])
    return [*entries, *others], [*heads, head]


async def restore(connection: AsyncConnection, entries: list[Entry], heads: list[Head]) -> None:
    await connection.execute(delete(AUDIT.entries))
    await connection.execute(delete(AUDIT.heads))
    await connection.execute(insert(AUDIT.entries), [entry._asdict() for entry in entries])
    await connection.execute(insert(AUDIT.heads), [head._asdict() for head in heads])


Place = tuple[int, int] | None
"""The chain and sequence at which the fault must be found; None where several would do."""
Tamper = Callable[[AsyncConnection, random.Random, list[Entry], list[Head]], Awaitable[Place]]


async def put(connection: AsyncConnection, entry: Entry, **values: Any) -> None:
    this = AUDIT.entries.c.chain == entry.chain, AUDIT.entries.c.sequence == entry.sequence
    await connection.execute(update(AUDIT.entries).where(*this).values(values))


async def change_text(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    entry, column = chance.choice(entries), chance.choice(TEXTS)
    value = getattr(entry, column)
    place = chance.randrange(len(value))
    ways = [value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :], value[:place] + value[place + 1 :], value + " ", ""]
    await put(connection, entry, **{column: chance.choice(ways)})
    return entry.chain, entry.sequence


async def change_number(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    entry, column = chance.choice(entries), chance.choice(("chain", "sequence", "time"))
    values = {"chain": [-1, 5], "sequence": [-1, 0, ENTRIES + 7], "time": [entry.time + 1, entry.time - 1, 0, -1]}[column]
    await put(connection, entry, **{column: chance.choice(values)})
    return entry.chain, entry.sequence


async def change_hash(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    entry, column = chance.choice(entries), chance.choice(HASHES)
    value = bytearray(getattr(entry, column))
    value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    await put(connection, entry, **{column: chance.choice([bytes(value), bytes(value[:-1]), b""])})
    return entry.chain, entry.sequence


async def change_type(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    """SQLite keeps a value of any type in any column, and bytes that are no text as text."""
    entry = chance.choice(entries)
    column = chance.choice([*TEXTS, *HASHES, "time", "sequence", "chain"])
    value = chance.choice(["x'ff00'", "CAST(x'fffe' AS TEXT)", "1.5", "'12x'", "9223372036854775807" if column != "time" else "0.25"])
    statement = f"UPDATE {AUDIT.entries.name} SET {column} = {value} WHERE chain = :chain AND sequence = :sequence"  # noqa: S608
    await connection.execute(text(statement), {"chain": entry.chain, "sequence": entry.sequence})
    return entry.chain, entry.sequence


async def remove(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    entry = chance.choice(entries)
    this = AUDIT.entries.c.chain == entry.chain, AUDIT.entries.c.sequence == entry.sequence
    await connection.execute(delete(AUDIT.entries).where(*this))
    return entry.chain, entry.sequence


async def add(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    """Adds an entry that fits on the end, or to a chain that nobody has begun, or before the first."""
    head = chance.choice(heads)
    [forged], _ = chained(head, [record(99)])
    forged = chance.choice([forged, forged._replace(chain=7), forged._replace(sequence=0), forged._replace(sequence=ENTRIES + 5)])
    forged = forged._replace(hash=hash_of(forged))
    await connection.execute(insert(AUDIT.entries).values(forged._asdict()))
    return forged.chain, forged.sequence


async def swap(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    one, other = chance.sample(entries, 2)
    for to, of in ((one, other), (other, one)):
        moved = of._asdict() if chance.random() < 0.5 else {name: getattr(of, name) for name in ("time", *TEXTS)}
        moved |= {"chain": to.chain, "sequence": to.sequence}
        if all(getattr(to, name) == value for name, value in moved.items()):
            moved["time"] = to.time + 1  # the two chains begin alike
        await put(connection, to, **moved)
    return (one if (one.chain, one.sequence) < (other.chain, other.sequence) or one.chain != other.chain else other)[:2]


async def change_head(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    head = chance.choice(heads)
    this = AUDIT.heads.c.chain == head.chain
    column = chance.choice([*Head._fields, ""])
    if not column:
        await connection.execute(delete(AUDIT.heads).where(this))
        return None
    value: Any = bytes(32) if column == "hash" else getattr(head, column) + chance.choice([-3, 3])
    await connection.execute(update(AUDIT.heads).where(this).values({column: value}))
    return None


async def cut(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    """Cuts a chain at its end, and has its head say that it always ended there."""
    last = chance.choice([entry for entry in entries if entry.sequence < ENTRIES])
    await connection.execute(delete(AUDIT.entries).where(AUDIT.entries.c.chain == last.chain, AUDIT.entries.c.sequence > last.sequence))
    head = Head(last.chain, last.sequence, last.time, last.hash)
    await connection.execute(update(AUDIT.heads).where(AUDIT.heads.c.chain == last.chain).values(head._asdict()))
    return last.chain, last.sequence + 1


async def write_anew(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    """Changes an entry, and computes all hashes from there on anew; perhaps with some entries more, so that it is as long as before."""
    place = chance.randrange(ENTRIES)
    chain = chance.choice(heads).chain
    whole = [entry for entry in entries if entry.chain == chain]
    changed = [whole[place]._replace(subject="spiffe://parade.local/ns/default/client/bob"), *whole[place + 1 :]]
    previous = whole[place].previous_hash
    for entry in changed:
        anew = entry._replace(previous_hash=previous)
        anew = anew._replace(hash=hash_of(anew))
        previous = anew.hash
        await put(connection, entry, **anew._asdict())
    head = AUDIT.heads.c.chain == chain
    await connection.execute(update(AUDIT.heads).where(head).values(hash=previous))
    return chain, ENTRIES


async def remove_chain(connection: AsyncConnection, chance: random.Random, entries: list[Entry], heads: list[Head]) -> Place:
    chain = chance.choice(heads).chain
    await connection.execute(delete(AUDIT.entries).where(AUDIT.entries.c.chain == chain))
    await connection.execute(delete(AUDIT.heads).where(AUDIT.heads.c.chain == chain))
    return chain, 1
