"""The approvals of calls in the dispatchers' database. Each method is one transaction; none decides anything."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parade.wire.roles import Role
from parade_chassis.audit import Record
from parade_chassis.store import Database, insert_into
from parade_dispatcher.approval import Approval, ApprovalFilter, ApprovalState
from parade_dispatcher.reachable import reachable
from parade_dispatcher.records import to_micros, to_time
from parade_dispatcher.tables import AUDIT, CALL_APPROVALS

_CHUNK: Final = 200
"""How many rows are looked up or deleted at once."""
_TABLE: Final = CALL_APPROVALS.c
_DETAILS: Final = ("arguments_hash", "arguments", "arguments_size", "actors", "call_id", "run_id", "step", "rules")


class ApprovalStore:
    """The approvals."""

    def __init__(self, database: Database) -> None:
        """Takes the opened database."""
        self._database = database
        self._add = insert_into(CALL_APPROVALS, database.engine).on_conflict_do_nothing()

    async def ask(self, approvals: Sequence[Approval], most: int, now: datetime) -> dict[str, Approval]:
        """Writes down approvals that are not there yet, where fewer than `most` wait in their namespace, and returns what then is there.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        async with reachable(), self._database.transaction() as connection:
            found = await _by_id(connection, [approval.id for approval in approvals])
            new = {approval.id: approval for approval in approvals if approval.id not in found}
            for namespace in sorted({approval.namespace for approval in new.values()}):
                waiting = and_(_TABLE.namespace == namespace, _waits(now))
                room = most - (await connection.execute(select(func.count()).select_from(CALL_APPROVALS).where(waiting))).scalar_one()
                rows = [_row(approval) for _, approval in sorted(new.items()) if approval.namespace == namespace][: max(0, room)]
                if rows:
                    await connection.execute(self._add, rows)
            return found | await _by_id(connection, list(new))

    async def standings(self, ids: Collection[str]) -> dict[str, Approval]:
        """Returns approvals by their ids.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        async with reachable(), self._database.reading() as connection:
            return await _by_id(connection, list(ids))

    async def find(self, wanted: ApprovalFilter, after: tuple[datetime, str] | None, limit: int, now: datetime) -> list[Approval]:
        """Returns approvals, the oldest first, from the one after `after` (its creation and id) on.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        query = select(CALL_APPROVALS).where(_TABLE.namespace == wanted.namespace)
        query = query.where(or_(*(_stands(state, now) for state in sorted(wanted.states))))
        if wanted.function:
            query = query.where(_TABLE.function == wanted.function)
        if wanted.resolver:
            query = query.where(_TABLE.approver <= wanted.role, _TABLE.principal != wanted.resolver.encode())
        if after is not None:
            created = to_micros(after[0])
            query = query.where(or_(_TABLE.created > created, and_(_TABLE.created == created, _TABLE.id > after[1])))
        async with reachable(), self._database.reading() as connection:
            rows = await connection.execute(query.order_by(_TABLE.created, _TABLE.id).limit(limit))
            return [_approval(row) for row in rows]

    async def resolve(self, approval: Approval, record: Record) -> bool:
        """Writes down how an approval was resolved, and that somebody did so, and returns whether it still waited for that.

        Args:
            approval: The approval, with how it was resolved.
            record: What the audit log is to say, and when that was.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        said = orjson.dumps({"by": approval.by, "note": approval.note})
        waits = and_(_TABLE.id == approval.id, _TABLE.namespace == approval.namespace, _waits(record.time))
        change = update(CALL_APPROVALS).where(waits).returning(_TABLE.id)
        change = change.values(state=approval.state.value, resolved=to_micros(record.time), resolution=said)
        async with reachable(), self._database.transaction() as connection:
            if (await connection.execute(change)).one_or_none() is None:
                return False
            await AUDIT.append(connection, [record])
        return True

    async def withdraw(self, ids: Collection[str], now: datetime) -> None:
        """Ends the wait for approvals that are not wanted any more.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        withdrawn = {"state": ApprovalState.WITHDRAWN.value, "resolved": to_micros(now)}
        async with reachable(), self._database.transaction() as connection:
            for id in sorted(ids):
                await connection.execute(update(CALL_APPROVALS).where(_TABLE.id == id, _waits(now)).values(withdrawn))

    async def delete_expired(self, before: datetime) -> int:
        """Deletes a part of those whose time was over before a time, and returns how many.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        old = select(_TABLE.id).where(_TABLE.expires < to_micros(before)).order_by(_TABLE.id).limit(_CHUNK)
        async with reachable(), self._database.transaction() as connection:
            ids = [row.id for row in await connection.execute(old.with_for_update(skip_locked=True))]
            if ids:
                await connection.execute(delete(CALL_APPROVALS).where(_TABLE.id.in_(ids)))
        return len(ids)


async def _by_id(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Approval]:
    found: dict[str, Approval] = {}
    for start in range(0, len(ids), _CHUNK):
        query = select(CALL_APPROVALS).where(_TABLE.id.in_(ids[start : start + _CHUNK]))
        found |= {row.id: _approval(row) for row in await connection.execute(query)}
    return found


def _waits(now: datetime) -> Any:
    return and_(_TABLE.state == ApprovalState.PENDING.value, _TABLE.expires > to_micros(now))


def _stands(state: ApprovalState, now: datetime) -> Any:
    if state is ApprovalState.PENDING:
        return _waits(now)
    stands = _TABLE.state == state.value
    if state is ApprovalState.WITHDRAWN:
        stands = or_(stands, and_(_TABLE.state == ApprovalState.PENDING.value, _TABLE.expires <= to_micros(now)))
    return stands


def _row(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "namespace": approval.namespace,
        "function": approval.function,
        "principal": approval.principal.encode(),
        "approver": approval.approver.value,
        "details": orjson.dumps({name: getattr(approval, name) for name in _DETAILS}),
        "state": approval.state.value,
        "created": to_micros(approval.create_time),
        "expires": to_micros(approval.expire_time),
    }


def _approval(row: Row[Any]) -> Approval:
    details: dict[str, Any] = orjson.loads(row.details)
    said: dict[str, Any] = orjson.loads(row.resolution) if row.resolution is not None else {}
    return Approval(
        id=row.id,
        namespace=row.namespace,
        function=row.function,
        principal=row.principal.decode(),
        approver=Role(row.approver),
        **{**details, "rules": tuple(details["rules"]), "actors": tuple(details["actors"])},
        create_time=to_time(row.created),
        expire_time=to_time(row.expires),
        state=ApprovalState(row.state),
        resolve_time=None if row.resolved is None else to_time(row.resolved),
        **said,
    )
