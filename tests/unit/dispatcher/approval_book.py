"""The approvals of calls, in memory: what the dispatchers' database keeps of them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from parade.wire.errors import ParadeError
from parade_chassis.audit import Record
from parade_dispatcher.approval import Approval, ApprovalFilter, ApprovalState


class TestBook:
    """Approvals in memory, which several dispatchers may share."""

    __test__ = False

    def __init__(self) -> None:
        self.approvals: dict[str, Approval] = {}
        self.records: list[Record] = []
        self.refusal: ParadeError | None = None
        """Why nothing can be read or written."""

    async def opened(self) -> "TestBook":
        if self.refusal is not None:
            raise self.refusal
        return self

    async def ask(self, approvals: Sequence[Approval], most: int, now: datetime) -> dict[str, Approval]:
        for approval in approvals:
            waiting = [one for one in self.approvals.values() if one.at(now).state is ApprovalState.PENDING]
            if len(waiting) < most:
                self.approvals.setdefault(approval.id, approval)
        return await self.standings([approval.id for approval in approvals])

    async def standings(self, ids: Collection[str]) -> dict[str, Approval]:
        return {id: self.approvals[id] for id in ids if id in self.approvals}

    async def find(self, wanted: ApprovalFilter, after: tuple[datetime, str] | None, limit: int, now: datetime) -> list[Approval]:
        return [one for one in self.approvals.values() if one.at(now).state in wanted.states][:limit]

    async def resolve(self, approval: Approval, record: Record) -> bool:
        if self.approvals[approval.id].at(record.time).state is not ApprovalState.PENDING:
            return False
        self.approvals[approval.id] = approval
        self.records.append(record)
        return True

    async def withdraw(self, ids: Collection[str], now: datetime) -> None:
        for id in ids:
            self.approvals[id] = replace(self.approvals[id], state=ApprovalState.WITHDRAWN, resolve_time=now)
