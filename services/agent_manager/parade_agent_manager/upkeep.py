"""The one loop in the background: ends leases, writes what was observed, forgets what is over."""

from structlog.stdlib import BoundLogger

from parade.wire.errors import ParadeError
from parade_agent_manager.engine import Engine
from parade_agent_manager.enrolment import Enrolment
from parade_chassis.clock import Clock

HEARTBEATS_INTERVAL = 30.0
"""Seconds between two writes of the times of heartbeats."""
FORGET_INTERVAL = 60.0


class Upkeep:
    """What has to be done from time to time."""

    def __init__(self, engine: Engine, enrolment: Enrolment, clock: Clock, log: BoundLogger) -> None:
        """Takes what it works on."""
        self._engine = engine
        self._enrolment = enrolment
        self._clock = clock
        self._log = log
        self._interval = min(1.0, engine.timings.lease_duration / 4)
        self._unwritten = False

    async def run(self) -> None:
        """Works until it is cancelled."""
        last = noted = forgotten = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._interval)
            now = self._clock.monotonic()
            if now - last > 2 * self._interval:
                # The process stood still: heartbeats that came meanwhile wait to be read, and nobody is to be lost for it.
                self._engine.excuse(now - last)
            last = now
            self._engine.expire()
            if now - noted >= HEARTBEATS_INTERVAL:
                noted = now
                self._engine.note_heartbeats()
            await self._write(forget=now - forgotten >= FORGET_INTERVAL)
            if now - forgotten >= FORGET_INTERVAL:
                forgotten = now

    async def _write(self, *, forget: bool) -> None:
        """Writes what is to be written. A store that cannot be reached is no reason to lose the picture of what lives."""
        try:
            if forget:
                await self._engine.forget()
                await self._enrolment.forget_expired()
            await self._engine.save()
        except ParadeError as error:
            if not self._unwritten:
                self._log.warning("the store cannot be written", error=error.message)
            self._unwritten = True
        else:
            if self._unwritten:
                self._log.info("the store can be written again")
            self._unwritten = False
