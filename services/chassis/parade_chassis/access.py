"""What the agent_manager says of who is let in: followed by every service, for as long as it lives.

While the agent_manager is away what it said last stands: nobody can be revoked in that time, and no role taken away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from parade.v1 import access_watch_pb2 as pb
from parade.wire.errors import ParadeError
from parade.wire.revocation_messages import from_message
from parade.wire.revocations import Revocation
from parade.wire.role_numbers import role_of
from parade_chassis.grants import Granted
from parade_chassis.lifecycle import Process
from parade_chassis.standing import LivingKey

METHOD = "/parade.v1.AgentManagerService/WatchAccess"
"""By its name: the agent_manager's whole contract takes a megabyte, and the monitor has no other use for it."""
SYNC_TIMEOUT = 30.0
"""Seconds that the agent_manager may take to say everything there is."""
START_PATIENCE = 10.0
"""Seconds in which nothing is said of an agent_manager that is not there yet: the services of a mesh start together."""
SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
"""Seconds between two attempts to watch, at first and at last."""


class Watched(Protocol):
    """The way to the agent_manager: a `Channel`, or the `Replicas` of it."""

    def unary_stream(self, path: str, request_serializer: Any, response_deserializer: Any) -> Any:
        """Returns the caller of a method with one request and a stream of responses."""
        ...


class AccessWatch:
    """Keeps what a process refuses as the agent_manager has it."""

    def __init__(self, process: Process[Any], agent_manager: Watched) -> None:
        """Takes the process that is to know, and the way to who tells."""
        self._revocations = process.revocations
        self._grants = process.grants
        self._standing = process.standing
        self._clock = process.clock
        self._log = process.log
        self._watch = agent_manager.unary_stream(METHOD, pb.WatchAccessRequest.SerializeToString, pb.WatchAccessResponse.FromString)
        self._synced = False

    async def follow(self) -> None:
        """Watches for as long as the process lives, and watches again when a watch has ended."""
        pause, away, patient_until = SHORTEST_PAUSE, False, self._clock.monotonic() + START_PATIENCE
        while True:
            self._synced = False
            try:
                await self._read()
                reason = "the watch ended"
            except (ParadeError, TimeoutError) as error:
                reason = str(error) or "no complete picture in time"
            if self._synced:
                pause, away, patient_until = SHORTEST_PAUSE, False, 0.0
            if not away and self._clock.monotonic() >= patient_until:
                self._log.warning("the agent_manager is away; what it said last of access stands", reason=reason)
                away = True
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _read(self) -> None:
        revoked: list[Revocation] = []
        granted: list[Granted] = []
        living: list[LivingKey] = []
        events: AsyncIterator[pb.WatchAccessResponse]
        async with asyncio.timeout(SYNC_TIMEOUT) as limit, aclosing(self._watch(pb.WatchAccessRequest())) as events:
            async for event in events:
                match event.WhichOneof("event"):
                    case "synced":
                        limit.reschedule(None)
                        self._revocations.replace(revoked, self._now())
                        self._standing.replace_keys(living)
                        self._grants.replace(granted)
                        self._synced = True
                    case "revocation" if (revocation := from_message(event.revocation)) is not None:
                        if self._synced:
                            self._revocations.add(revocation, self._now())
                        else:
                            revoked.append(revocation)
                    case "client_role":
                        grant = Granted(event.client_role.subject, event.client_role.namespace, role_of(event.client_role.role))
                        if self._synced:
                            self._grants.put(grant)
                        else:
                            granted.append(grant)
                    case "living_key":
                        key = _living_key(event.living_key)
                        if self._synced:
                            self._standing.put_key(key)
                        else:
                            living.append(key)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _living_key(key: pb.LivingKey) -> LivingKey:
    return LivingKey(key.id, key.namespace, role_of(key.role), key.created_by, key.expire_time.ToNanoseconds() / 1e9)
