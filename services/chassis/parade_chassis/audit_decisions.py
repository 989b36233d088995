"""Who was let in and who was refused, on the way into the audit log.

No transaction goes with a decision, and anybody may cause as many as they like. So decisions that are alike are counted for some seconds
and written as one entry, and of different ones only so many; of the rest, how many there were. A process that is killed loses those.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from parade.wire.audit import Kind
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Kind as KindOfCaller
from parade.wire.log import Log
from parade_chassis.audit import Record
from parade_chassis.clock import Clock
from parade_chassis.context import RequestContext

INTERVAL: Final = 2.0
"""Seconds between two writes."""
MOST: Final = 20
"""How many different decisions one write takes."""
MAX_MESSAGE: Final = 300
"""Characters of the reason of a refusal."""
DENIED: Final = frozenset({Reason.UNAUTHENTICATED, Reason.PERMISSION_DENIED})
"""The reasons of refusals that are recorded. The others are about what was asked, and not about who asked."""

OUTSIDE: Final = frozenset({KindOfCaller.CLIENT, KindOfCaller.AGENT})
"""Of whom it is recorded that they were let in."""

Write = Callable[[Sequence[Record]], Awaitable[None]]
"""Writes records into the audit log."""
Key = tuple[Kind, str, str, str, str, str, str, str]
"""Kind, action, subject, namespace, resource, caller, reason and message."""


class Decisions:
    """Takes what was decided. It never waits."""

    def __init__(self, clock: Clock, log: Log, interval: float = INTERVAL) -> None:
        """Takes the time, the log, and the seconds between two writes."""
        self._clock = clock
        self._log = log
        self._interval = interval
        self._counts: dict[Key, int] = {}
        self._left_out = 0
        self._some = asyncio.Event()

    def allowed(self, request: RequestContext) -> None:
        """Notes that somebody was let in for longer than one request. Services, which make up the mesh, are not noted."""
        if request.caller.kind in OUTSIDE:
            self._note(Kind.ALLOW, request.method, request, "", "", "")

    def denied(self, action: str, request: RequestContext | None, error: ParadeError, resource: str = "") -> None:
        """Notes that somebody was refused. Errors that are no refusals are left alone.

        Args:
            action: The method's full name.
            request: Who asked; None where their certificate was not believed.
            error: What they were told.
            resource: What they wanted, where the method does not say it.
        """
        if error.reason in DENIED:
            self._note(Kind.DENY, action, request, resource, error.reason.value, error.message[:MAX_MESSAGE])

    async def keep(self, write: Write) -> None:
        """Writes until it is cancelled."""
        failing = False
        while True:
            await self._some.wait()
            await self._clock.sleep(self._interval)
            try:
                await self.flush(write)
            except ParadeError as error:
                if not failing:
                    self._log.warning("audit log cannot be written", error=error.message)
                failing = True
            else:
                failing = False

    async def end(self, write: Write) -> None:
        """Writes what there is, as the last act; what cannot be written is lost."""
        try:
            await self.flush(write)
        except ParadeError as error:
            self._log.warning("audit log cannot be written", error=error.message)

    async def flush(self, write: Write) -> None:
        """Writes what there is now.

        Raises:
            ParadeError: It could not be written, and is kept for the next time.
        """
        if not self._some.is_set():
            return
        counts, left_out = self._counts, self._left_out
        self._counts, self._left_out = {}, 0
        self._some.clear()
        try:
            await write(self._records(counts, left_out))
        except BaseException:
            for key, count in self._counts.items():
                counts[key] = counts.get(key, 0) + count
            self._counts, self._left_out = counts, left_out + self._left_out
            self._some.set()
            raise

    def _note(self, kind: Kind, action: str, request: RequestContext | None, resource: str, reason: str, message: str) -> None:
        subject, namespace, caller = "", "", ""
        if request is not None:
            subject, namespace, caller = request.principal, request.namespace, request.caller.uri
        key = (kind, action, subject, namespace, resource, caller if caller != subject else "", reason, message)
        if key in self._counts or len(self._counts) < MOST:
            self._counts[key] = self._counts.get(key, 0) + 1
        else:
            self._left_out += 1
        self._some.set()

    def _records(self, counts: dict[Key, int], left_out: int) -> list[Record]:
        now = self._clock.now()
        records = []
        for (kind, action, subject, namespace, resource, caller, reason, message), count in counts.items():
            facts = {"count": count, "caller": caller, "reason": reason, "message": message}
            told = {name: value for name, value in facts.items() if value}
            records.append(Record(kind, action, subject, namespace, resource, now, told))
        if left_out:
            records.append(Record(Kind.DENY, "", "", "", "", now, {"left_out": left_out}))
        return records
