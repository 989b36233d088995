"""The parts of one dispatcher that write things down, put together."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from parade.wire.log import Log
from parade.wire.session.limits import room_taken
from parade_chassis.audit import Record
from parade_chassis.clock import Clock
from parade_chassis.ids import Ids
from parade_dispatcher import convert
from parade_dispatcher.approvals import Approvals
from parade_dispatcher.calls import Engine, StartedCalls
from parade_dispatcher.follow import Follower
from parade_dispatcher.journal import Journal
from parade_dispatcher.leases import Leases
from parade_dispatcher.ledger import Ledger
from parade_dispatcher.ports import Deadlines
from parade_dispatcher.storage import Storage

if TYPE_CHECKING:
    # Of SQLAlchemy, which is imported when the store is opened.
    from parade_chassis.audit_log import AuditLog
    from parade_dispatcher.approval_store import ApprovalStore


class Keeping:
    """The ledger for the engine, then the started calls over the engine."""

    def __init__(self, url: str, name: str, clock: Clock, ids: Ids, log: Log) -> None:
        """Puts the parts together; `start` looks whether the database is of use.

        Args:
            url: Where the database is.
            name: Which replica this is, the same over restarts.
            clock: The time of day.
            ids: Names this process, and calls that come without a name.
            log: Says what goes wrong.
        """
        loop = asyncio.get_running_loop()
        self._now, self._later = loop.time, loop.call_later
        self._clock = clock
        self._ids = ids
        self._log = log
        self._storage = Storage(url, ids.new("dispatcher"), name)
        self._journal = Journal(self._storage.write, self._later, log)
        self._leases = Leases(self._now)
        self._effects = Follower(self._storage.effects, self._now, log)
        self._standings = Follower(self._storage.standings, self._now, log)
        self.ledger = Ledger(self._storage.id, self._journal, self._effects, self._leases, clock, self._now, self._later)

    async def start(self) -> None:
        """Looks whether the database is of use.

        Raises:
            ValueError: It is not; the message says why.
        """
        await self._storage.start()

    def started_calls(self, engine: Engine) -> StartedCalls:
        """Returns the started calls, which this engine makes."""
        return StartedCalls(
            engine=engine,
            storage=self._storage,
            journal=self._journal,
            ledger=self.ledger,
            leases=self._leases,
            follower=self._standings,
            clock=self._clock,
            now=self._now,
            later=self._later,
            ids=self._ids,
            log=self._log,
            room=lambda content: room_taken(convert.value(content)),
        )

    def approvals(self, deadlines: Deadlines, lifetime: timedelta) -> Approvals:
        """Returns the approvals that calls wait for; each can be given, and used, for `lifetime`."""
        return Approvals(self._approval_store, self._clock, deadlines, self._log, lifetime)

    async def _approval_store(self) -> "ApprovalStore":
        return (await self._storage.store()).approvals

    async def record(self, records: Sequence[Record]) -> None:
        """Writes into the audit log.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        await self._storage.record(records)

    async def audit_log(self) -> "AuditLog":
        """Returns the audit log.

        Raises:
            ParadeError: UNAVAILABLE or NO_CAPACITY, where the database fails.
        """
        return await self._storage.audit_log()

    def loops(self) -> list[tuple[Coroutine[Any, Any, None], str]]:
        """Returns what must run in the background, with names."""
        return [(self._journal.keep(), "journal"), (self._effects.keep(), "effect watch"), (self._standings.keep(), "call watch")]

    async def close(self, limit: float) -> None:
        """Writes what waits, for up to `limit` seconds, and closes the database. The loops must still run."""
        await self._journal.flush(limit)
        await self._storage.close()
