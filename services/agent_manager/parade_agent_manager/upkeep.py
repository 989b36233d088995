"""The loops in the background: one ends leases, the other writes what was observed and forgets what is over.

They are two, because a store that is slow or away must not keep a lost instance from being seen as lost.
"""

from collections.abc import Awaitable, Callable

from parade.wire.errors import ParadeError
from parade.wire.log import Log
from parade_agent_manager.engine import Engine
from parade_agent_manager.enrolment import Enrolment
from parade_agent_manager.revoker import Revoker
from parade_chassis.clock import Clock

INTERVAL = 1.0
"""Seconds between two looks at the leases, and between two writes."""
HEARTBEATS_INTERVAL = 30.0
"""Seconds between two writes of the times of heartbeats."""
FORGET_INTERVAL = 60.0


class Upkeep:
    """What has to be done from time to time."""

    def __init__(self, engine: Engine, enrolment: Enrolment, revoker: Revoker, clock: Clock, log: Log) -> None:
        """Takes what it works on."""
        self._engine = engine
        self._enrolment = enrolment
        self._revoker = revoker
        self._clock = clock
        self._log = log
        self._unwritten = False

    async def end_leases(self) -> None:
        """Ends leases until it is cancelled."""
        interval = min(INTERVAL, self._engine.timings.lease_duration / 4)
        while True:
            started = self._clock.monotonic()
            await self._clock.sleep(interval)
            slept = self._clock.monotonic() - started
            if slept > 2 * interval:
                # The process stood still: heartbeats that came meanwhile wait to be read, and nobody is to be lost for it.
                self._engine.excuse(slept)
            self._engine.expire()

    async def write(self) -> None:
        """Writes and forgets until it is cancelled."""
        noted = forgotten = self._clock.monotonic()
        while True:
            await self._clock.sleep(INTERVAL)
            now = self._clock.monotonic()
            if now - noted >= HEARTBEATS_INTERVAL:
                noted = now
                self._engine.note_heartbeats()
            if now - forgotten >= FORGET_INTERVAL:
                forgotten = now
                await self._engine.forget()
                await self._attempt(self._enrolment.forget_expired)
                await self._attempt(self._revoker.forget_expired)
            await self._attempt(self._engine.save)

    async def _attempt(self, write: Callable[[], Awaitable[None]]) -> None:
        """Writes. A store that cannot be reached is no reason to lose the picture of what lives: the next attempt takes up the same."""
        try:
            await write()
        except ParadeError as error:
            if not self._unwritten:
                self._log.warning("the store cannot be written", error=error.message)
            self._unwritten = True
        else:
            if self._unwritten:
                self._log.info("the store can be written again")
            self._unwritten = False
