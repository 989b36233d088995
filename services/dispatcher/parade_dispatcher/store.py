"""What survives the process: effects, started calls, and which dispatchers live. Each method is one transaction; none decides anything.

Several dispatchers write into one database. Rows are written in the order of their keys, and kinds of rows in one order, so that on
PostgreSQL no two transactions wait for each other.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Table, Text, and_, bindparam, case, delete, exists, or_, select, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.errors import ParadeError, Reason
from parade_chassis.audit import Record
from parade_chassis.audit_log import AuditLog
from parade_chassis.store import Database, insert_into
from parade_dispatcher import records
from parade_dispatcher.approval_store import ApprovalStore
from parade_dispatcher.changes import (
    NOT_CANCELLED,
    AddCall,
    AssignEffect,
    Beat,
    BeginEffect,
    CallFilter,
    CallState,
    Change,
    EffectRecord,
    EndEffect,
    Given,
    Key,
    RequestCancel,
    SaveCall,
    Sign,
    Standing,
    StartedCall,
    TakeEffect,
    WithdrawEffect,
)
from parade_dispatcher.model import Content
from parade_dispatcher.reachable import reachable
from parade_dispatcher.tables import AUDIT, CALLS, DISPATCHERS, EFFECTS, ITEMS

_CHUNK: Final = 200
"""How many rows are looked up, taken over or deleted at once."""
_OWNING: Final = (BeginEffect, TakeEffect, AddCall, Beat)
"""The changes that make a dispatcher somebody whose end others must notice."""
_NEVER_ENDED: Final = timedelta(days=6)
"""How much longer than an effect that has ended one is kept of which nobody has learnt the outcome, while its owner lives."""
_SAVED: Final = ("state", "instance_id", "attempts", "progress", "item_count")
_ENDED: Final = ("result", "artifact", "error", "timing", "ended")
_BRIEF: Final = [column for column in CALLS.c if column.name not in ("arguments", "arguments_artifact", "result", "artifact")]

RowT = TypeVar("RowT")
ChangeT = TypeVar("ChangeT")


class Store:
    """The dispatchers' database, as one of them sees it. One that cannot be written is UNAVAILABLE, one that is full NO_CAPACITY."""

    def __init__(self, database: Database, id: str, name: str) -> None:
        """Takes the database.

        Args:
            database: The opened database.
            id: Names this process among all dispatchers.
            name: Which replica this is, the same over restarts.
        """
        self._database = database
        self.audit_log = AuditLog(database, AUDIT)
        self.approvals = ApprovalStore(database)
        self._id = id
        self._name = name
        engine = database.engine
        self._add_effect = insert_into(EFFECTS, engine).on_conflict_do_nothing().returning(EFFECTS.c.namespace, EFFECTS.c.key)
        self._add_call = insert_into(CALLS, engine).on_conflict_do_nothing().returning(CALLS.c.namespace, CALLS.c.id)
        self._add_items = insert_into(ITEMS, engine).on_conflict_do_nothing()  # a commit may have failed by all appearance, and was not
        self._beat = insert_into(DISPATCHERS, engine).on_conflict_do_update(index_elements=["id"], set_={"beat": DISPATCHERS.c.beat + 1})

    async def close(self) -> None:
        """Says that this dispatcher has ended, so that others take its calls at once, and closes the database."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(delete(DISPATCHERS).where(DISPATCHERS.c.id == self._id))
        except (DBAPIError, PoolTimeoutError, OSError):
            pass  # its lease will pass
        finally:
            await self._database.close()

    async def record(self, records: Sequence[Record]) -> None:
        """Writes into the audit log.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        async with reachable(), self._database.transaction() as connection:
            await AUDIT.append(connection, records)

    async def write(self, changes: Sequence[Change]) -> list[Given]:
        """Writes everything or nothing, and returns what each change gives.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where it is the database that fails.
            Exception: Something else, where it is a change that fails.
        """
        given: list[Given] = [None] * len(changes)
        async with reachable(), self._database.transaction() as connection:
            if any(isinstance(change, _OWNING) for change in changes):
                await connection.execute(self._beat, {"id": self._id, "name": self._name, "beat": 0})
            await self._write_effects(connection, changes, given)
            await self._write_calls(connection, changes, given)
        return given

    async def _write_effects(self, connection: AsyncConnection, changes: Sequence[Change], given: list[Given]) -> None:
        begun = _of(changes, BeginEffect)
        if begun:
            rows = [records.effect_row(change.entry, self._id, change.time) for _, change in begun]
            new = {(row.namespace, row.key) for row in await connection.execute(self._add_effect, _sorted(rows, "namespace", "key"))}
            known = [(place, change.entry) for place, change in begun if records.effect_key(change.entry) not in new]
            found = await self._effects(connection, [entry for _, entry in known])
            for place, entry in known:
                given[place] = _still_there(found.get(records.effect_key(entry)))
        taken = _of(changes, TakeEffect)
        if taken:
            rows = [{**_keyed(change.entry), "key_owner": change.owner_before, "new_owner": self._id} for _, change in taken]
            still = [EFFECTS.c.owner == bindparam("key_owner"), EFFECTS.c.ended.is_(None)]
            await _update(connection, EFFECTS, rows, ("owner",), *_KEY_OF_EFFECT, *still)
            found = await self._effects(connection, [change.entry for _, change in taken])
            for place, change in taken:
                given[place] = found.get(records.effect_key(change.entry))
        rows = [{**_keyed(change.entry), "new_instance_id": change.instance_id} for _, change in _of(changes, AssignEffect)]
        await _update(connection, EFFECTS, rows, ("instance_id",), *_KEY_OF_EFFECT, EFFECTS.c.ended.is_(None))
        receipts = [records.receipt_row(change.entry, change.outcome, change.time) for _, change in _of(changes, EndEffect)]
        rows = [{f"new_{name}": value for name, value in row.items()} for row in receipts]
        rows = [{**row, "key_namespace": row["new_namespace"], "key_key": row["new_key"]} for row in rows]
        await _update(connection, EFFECTS, rows, ("instance_id", "is_final", *_ENDED), *_KEY_OF_EFFECT, EFFECTS.c.is_final.is_(False))
        rows = [{**_keyed(change.entry), "key_call_id": change.entry.call_id} for _, change in _of(changes, WithdrawEffect)]
        if rows:
            open_still = [EFFECTS.c.call_id == bindparam("key_call_id"), EFFECTS.c.ended.is_(None)]
            await connection.execute(delete(EFFECTS).where(*_KEY_OF_EFFECT, *open_still), _sorted(rows, "key_namespace", "key_key"))

    async def _write_calls(self, connection: AsyncConnection, changes: Sequence[Change], given: list[Given]) -> None:
        added = _of(changes, AddCall)
        if added:
            for _, change in added:
                change.call.owner = self._id
            rows = _sorted([records.call_row(change.call) for _, change in added], "namespace", "id")
            new = {(row.namespace, row.id) for row in await connection.execute(self._add_call, rows)}
            known = {change.call.key: place for place, change in added if change.call.key not in new}
            for key, place in known.items():
                given[place] = _still_there(await _call(connection, key))
        rows = [
            {"key_namespace": change.key[0], "key_id": change.key[1], "new_cancel_requested": True}
            for _, change in _of(changes, RequestCancel)
        ]
        if rows:
            nobody_has = CALLS.c.cancellation == NOT_CANCELLED
            statement = update(CALLS).where(*_KEY_OF_CALL, CALLS.c.ended.is_(None))
            statement = statement.values(cancel_requested=True, cancellation=case((nobody_has, "REQUESTED"), else_=CALLS.c.cancellation))
            await connection.execute(statement, _sorted(rows, "key_namespace", "key_id"))
        await self._save_calls(connection, _of(changes, SaveCall), given)

    async def _save_calls(self, connection: AsyncConnection, saved: list[tuple[int, SaveCall]], given: list[Given]) -> None:
        if not saved:
            return
        keys = [change.call.key for _, change in saved]
        own: set[Key] = set()
        for chunk in _chunks(sorted(set(keys))):
            query = select(CALLS.c.namespace, CALLS.c.id).where(tuple_(CALLS.c.namespace, CALLS.c.id).in_(chunk))
            query = (
                query.where(CALLS.c.owner == self._id, CALLS.c.ended.is_(None)).order_by(CALLS.c.namespace, CALLS.c.id).with_for_update()
            )
            own |= {(row.namespace, row.id) for row in await connection.execute(query)}
        going_on: dict[Key, dict[str, Any]] = {}
        ended: dict[Key, dict[str, Any]] = {}
        counts: dict[Key, int] = {}
        items: list[dict[str, Any]] = []
        for place, change in saved:
            key = change.call.key
            given[place] = key in own
            if key not in own:
                continue
            row = {f"new_{name}": value for name, value in {**records.call_changes(change.call), **records.call_end(change.call)}.items()}
            row |= {"key_namespace": key[0], "key_id": key[1]}
            row["new_item_count"] = counts[key] = max(counts.get(key, change.call.item_count), change.first_position + len(change.items))
            (ended if change.call.ended else going_on)[key] = row
            items.extend(records.item_row(key, position, item) for position, item in enumerate(change.items, change.first_position))
        if items:
            await connection.execute(self._add_items, items)
        rows = [row for key, row in going_on.items() if key not in ended]
        await _update(connection, CALLS, rows, _SAVED, *_KEY_OF_CALL, cancellation=_FURTHER)
        await _update(connection, CALLS, list(ended.values()), (*_SAVED, *_ENDED), *_KEY_OF_CALL, cancellation=_FURTHER)

    async def _effects(self, connection: AsyncConnection, entries: Sequence[Any]) -> dict[tuple[str, bytes], EffectRecord]:
        found: dict[tuple[str, bytes], EffectRecord] = {}
        for chunk in _chunks([records.effect_key(entry) for entry in entries]):
            query = select(EFFECTS, DISPATCHERS.c.beat).join(DISPATCHERS, DISPATCHERS.c.id == EFFECTS.c.owner, isouter=True)
            rows = await connection.execute(query.where(tuple_(EFFECTS.c.namespace, EFFECTS.c.key).in_(chunk)))
            for row in rows:
                record = records.effect_of(row)
                found[records.effect_key(record.entry)] = record
        return found

    async def effects(self, keys: Collection[Key]) -> dict[Key, EffectRecord]:
        """Returns what is written of effects, by namespace and idempotency key."""
        found: dict[Key, EffectRecord] = {}
        async with self._reading() as connection:
            for chunk in _chunks([(namespace, key.encode()) for namespace, key in keys]):
                query = select(EFFECTS, DISPATCHERS.c.beat).join(DISPATCHERS, DISPATCHERS.c.id == EFFECTS.c.owner, isouter=True)
                for row in await connection.execute(query.where(tuple_(EFFECTS.c.namespace, EFFECTS.c.key).in_(chunk))):
                    record = records.effect_of(row)
                    found[record.entry.namespace, record.entry.key] = record
        return found

    async def call(self, key: Key) -> StartedCall | None:
        """Returns a started call."""
        async with self._reading() as connection:
            return await _call(connection, key)

    async def calls(self, wanted: CallFilter, before: tuple[datetime, str] | None, limit: int) -> list[StartedCall]:
        """Returns started calls without their values, newest first, from the one after `before` (its creation and id) on."""
        query = select(*_BRIEF).where(CALLS.c.namespace == wanted.namespace)
        if wanted.agent:
            query = query.where(CALLS.c.agent == wanted.agent)
        if wanted.function:
            query = query.where(CALLS.c.function == wanted.function)
        if wanted.states:
            query = query.where(CALLS.c.state.in_(sorted(state.value for state in wanted.states)))
        if wanted.since is not None:
            query = query.where(CALLS.c.created >= records.to_micros(wanted.since))
        if before is not None:
            created = records.to_micros(before[0])
            query = query.where(or_(CALLS.c.created < created, and_(CALLS.c.created == created, CALLS.c.id < before[1])))
        async with self._reading() as connection:
            rows = await connection.execute(query.order_by(CALLS.c.created.desc(), CALLS.c.id.desc()).limit(limit))
            return [records.call_of(row) for row in rows]

    async def items(self, key: Key, after: int, most_bytes: int) -> list[Content]:
        """Returns the items of a started call from position `after` on: as many as fit, and one at least where there is one."""
        this = and_(ITEMS.c.namespace == key[0], ITEMS.c.call == key[1])
        async with self._reading() as connection:
            sizes = await connection.execute(
                select(ITEMS.c.position, ITEMS.c.size).where(this, ITEMS.c.position >= after).order_by(ITEMS.c.position)
            )
            end, total = after, 0
            for row in sizes:
                total += row.size
                if total > most_bytes and end > after:
                    break
                end = row.position + 1
            query = select(ITEMS.c.value, ITEMS.c.artifact).where(this, ITEMS.c.position >= after, ITEMS.c.position < end)
            return [records.item_of(row) for row in await connection.execute(query.order_by(ITEMS.c.position))]

    async def standings(self, keys: Collection[Key]) -> dict[Key, Standing]:
        """Returns where started calls stand."""
        found: dict[Key, Standing] = {}
        async with self._reading() as connection:
            for chunk in _chunks(list(keys)):
                query = select(CALLS.c.namespace, CALLS.c.id, CALLS.c.state, CALLS.c.item_count, CALLS.c.owner)
                for row in await connection.execute(query.where(tuple_(CALLS.c.namespace, CALLS.c.id).in_(chunk))):
                    found[row.namespace, row.id] = Standing(CallState(row.state), row.item_count, row.owner)
        return found

    async def to_cancel(self) -> list[Key]:
        """Returns those of this dispatcher's open calls that somebody has cancelled."""
        query = select(CALLS.c.namespace, CALLS.c.id).where(CALLS.c.ended.is_(None), CALLS.c.owner == self._id, CALLS.c.cancel_requested)
        async with self._reading() as connection:
            return [(row.namespace, row.id) for row in await connection.execute(query)]

    async def own(self) -> list[StartedCall]:
        """Returns this dispatcher's open calls."""
        query = select(CALLS).where(CALLS.c.ended.is_(None), CALLS.c.owner == self._id)
        async with self._reading() as connection:
            return [records.call_of(row) for row in await connection.execute(query)]

    async def signs(self) -> tuple[list[Sign], bool]:
        """Returns the signs of life of all dispatchers, and whether there are open calls that nobody owns."""
        async with self._reading() as connection:
            signs = [Sign(row.id, row.name, row.beat) for row in await connection.execute(select(DISPATCHERS))]
            orphans = bool((await connection.execute(select(exists(select(CALLS.c.id).where(_ORPHAN))))).scalar_one())
        return signs, orphans

    async def bury(self, dead: Sequence[Sign]) -> None:
        """Strikes dispatchers off that have given no sign since; what they own is then nobody's."""
        async with reachable(), self._database.transaction() as connection:
            for sign in sorted(dead, key=lambda sign: sign.id):
                await connection.execute(delete(DISPATCHERS).where(DISPATCHERS.c.id == sign.id, DISPATCHERS.c.beat == sign.beat))

    async def adopt(self) -> list[StartedCall]:
        """Makes open calls that nobody owns this dispatcher's own, and returns them; a part of them where they are many."""
        query = select(CALLS).where(_ORPHAN).order_by(CALLS.c.namespace, CALLS.c.id).limit(_CHUNK)
        async with reachable(), self._database.transaction() as connection:
            await connection.execute(self._beat, {"id": self._id, "name": self._name, "beat": 0})
            adopted = [records.call_of(row) for row in await connection.execute(query.with_for_update(skip_locked=True))]
            if adopted:
                keys = tuple_(CALLS.c.namespace, CALLS.c.id).in_([call.key for call in adopted])
                await connection.execute(update(CALLS).where(keys).values(owner=self._id))
        for call in adopted:
            call.owner = self._id
        return adopted

    async def delete_ended(self, before: datetime) -> int:
        """Deletes a part of what ended before a time, and of the effects that nobody has brought to an end since; returns how many rows."""
        limit = records.to_micros(before)
        forgotten = and_(EFFECTS.c.created < limit, EFFECTS.c.owner.not_in(select(DISPATCHERS.c.id)))
        forgotten = or_(forgotten, EFFECTS.c.created < records.to_micros(before - _NEVER_ENDED))
        old = or_(EFFECTS.c.ended < limit, and_(EFFECTS.c.ended.is_(None), forgotten))
        effects = select(EFFECTS.c.namespace, EFFECTS.c.key).where(old).order_by(EFFECTS.c.namespace, EFFECTS.c.key).limit(_CHUNK)
        calls = select(CALLS.c.namespace, CALLS.c.id).where(CALLS.c.ended < limit).order_by(CALLS.c.namespace, CALLS.c.id).limit(_CHUNK)
        async with reachable(), self._database.transaction() as connection:
            old_effects = [tuple(row) for row in await connection.execute(effects.with_for_update(skip_locked=True))]
            if old_effects:
                await connection.execute(delete(EFFECTS).where(tuple_(EFFECTS.c.namespace, EFFECTS.c.key).in_(old_effects)))
            old_calls = [tuple(row) for row in await connection.execute(calls.with_for_update(skip_locked=True))]
            if old_calls:
                await connection.execute(delete(ITEMS).where(tuple_(ITEMS.c.namespace, ITEMS.c.call).in_(old_calls)))
                await connection.execute(delete(CALLS).where(tuple_(CALLS.c.namespace, CALLS.c.id).in_(old_calls)))
        return len(old_effects) + len(old_calls)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        async with reachable(), self._database.reading() as connection:
            yield connection


_KEY_OF_EFFECT: Final = (EFFECTS.c.namespace == bindparam("key_namespace"), EFFECTS.c.key == bindparam("key_key"))
_KEY_OF_CALL: Final = (CALLS.c.namespace == bindparam("key_namespace"), CALLS.c.id == bindparam("key_id"))
_ORPHAN: Final = and_(CALLS.c.ended.is_(None), CALLS.c.owner.not_in(select(DISPATCHERS.c.id)))
_CANCELLATION: Final[Any] = bindparam("new_cancellation", type_=Text)
_FURTHER: Final = case((_CANCELLATION == NOT_CANCELLED, CALLS.c.cancellation), else_=_CANCELLATION)
"""Another dispatcher may have written that a call is to be cancelled, which its owner does not know yet."""


def _of(changes: Sequence[Change], kind: type[ChangeT]) -> list[tuple[int, ChangeT]]:
    return [(place, change) for place, change in enumerate(changes) if isinstance(change, kind)]


def _keyed(entry: Any) -> dict[str, Any]:
    namespace, key = records.effect_key(entry)
    return {"key_namespace": namespace, "key_key": key}


def _sorted(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: tuple(row[name] for name in names))


def _chunks(rows: Sequence[RowT]) -> Iterable[Sequence[RowT]]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))


def _still_there(found: RowT | None) -> RowT:
    if found is None:  # its key was taken when this wanted to be written, and is free by now
        raise ParadeError(Reason.UNAVAILABLE, "what has this key has just been withdrawn; try again")
    return found


async def _update(
    connection: AsyncConnection, table: Table, rows: list[dict[str, Any]], names: Iterable[str], *conditions: Any, **values: Any
) -> None:
    if not rows:
        return
    statement = update(table).where(*conditions).values({**{name: bindparam(f"new_{name}") for name in names}, **values})
    await connection.execute(statement, sorted(rows, key=lambda row: (row["key_namespace"], row.get("key_key") or row.get("key_id"))))


async def _call(connection: AsyncConnection, key: Key) -> StartedCall | None:
    row = (await connection.execute(select(CALLS).where(CALLS.c.namespace == key[0], CALLS.c.id == key[1]))).one_or_none()
    return None if row is None else records.call_of(row)
