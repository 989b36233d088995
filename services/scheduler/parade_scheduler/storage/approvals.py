"""What people ask about approvals. They are written with the runs that wait for them; see `approval_notes`."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Row, select, tuple_

from parade_scheduler.approval import Approval, ApprovalFilter, ApprovalState, may_resolve
from parade_scheduler.storage.approval_table import APPROVALS
from parade_scheduler.storage.connected import Connected
from parade_scheduler.storage.records import member_of, micros_of, time_of, to_time

_CHUNK: Final = 500
"""How many rows are read at once, where not all of them are wanted."""
_MAX_LOOKED_AT: Final = 10_000
"""How many rows one answer looks at, where few of them are for the one who asks."""
_ORDER: Final = (APPROVALS.c.created, APPROVALS.c.run, APPROVALS.c.step, APPROVALS.c.task)

Place = tuple[int, str, str, int]
"""Where an approval stands in a list: since when it waits, its run, step and task."""


class Approvals(Connected):
    """The approvals, for reading."""

    async def approval(self, namespace: str, run: str, step: str, task: int) -> Approval | None:
        """Returns one approval."""
        this = (APPROVALS.c.namespace == namespace, APPROVALS.c.run == run, APPROVALS.c.step == step, APPROVALS.c.task == task)
        async with self._reading() as connection:
            row = (await connection.execute(select(APPROVALS).where(*this))).one_or_none()
            return None if row is None else _approval(row)

    async def approvals(self, wanted: ApprovalFilter, after: Place | None, limit: int) -> tuple[list[Approval], Place | None]:
        """Returns approvals, the oldest first, from the one after `after` on where that is given.

        Returns:
            At most `limit` of them, and after which to go on; None where there are no more.
        """
        found: list[Approval] = []
        looked_at = 0
        while looked_at < _MAX_LOOKED_AT:
            size = min(_CHUNK, limit + 1) if not wanted.resolver else _CHUNK
            rows = await self._rows(wanted, after, size)
            for row in rows:
                approval = _approval(row)
                if not wanted.resolver or may_resolve(approval.approvers, wanted.resolver):
                    if len(found) == limit:
                        return found, place_of(found[-1])
                    found.append(approval)
                after = place_of(approval)
            looked_at += len(rows)
            if len(rows) < size:
                return found, None
        return found, after

    async def _rows(self, wanted: ApprovalFilter, after: Place | None, limit: int) -> Sequence[Row[Any]]:
        query = select(APPROVALS).where(APPROVALS.c.namespace == wanted.namespace, APPROVALS.c.state.in_(sorted(wanted.states)))
        if wanted.run:
            query = query.where(APPROVALS.c.run == wanted.run)
        if wanted.workflow:
            query = query.where(APPROVALS.c.workflow == wanted.workflow)
        if after is not None:
            query = query.where(tuple_(*_ORDER) > after)
        async with self._reading() as connection:
            return (await connection.execute(query.order_by(*_ORDER).limit(limit))).all()


def place_of(approval: Approval) -> Place:
    """Returns where an approval stands in a list."""
    return micros_of(approval.create_time), approval.run, approval.step, approval.task


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        row.namespace,
        row.run,
        row.step,
        row.task,
        row.workflow,
        row.message,
        tuple(orjson.loads(row.approvers)),
        member_of(ApprovalState, row.state),
        time_of(row.created),
        to_time(row.expires),
        to_time(row.resolved),
        row.resolver,
        row.note,
    )
