"""What the agent_manager says of who is let in: followed by every service, for as long as it lives.

While the agent_manager is away what it said last stands: nobody can be revoked in that time, and no role taken away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from parade.v1 import access_watch_pb2 as pb
from parade.wire.errors import ParadeError
from parade.wire.revocation_messages import from_message
from parade.wire.revocations import Revocation
from parade.wire.role_numbers import role_of
from parade_chassis.grants import Granted
from parade_chassis.lifecycle import Process
from parade_chassis.policies import PolicyText
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
        self._policies = process.policies
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
        picture = _Picture()
        events: AsyncIterator[pb.WatchAccessResponse]
        async with asyncio.timeout(SYNC_TIMEOUT) as limit, aclosing(self._watch(pb.WatchAccessRequest())) as events:
            async for event in events:
                if self._synced:
                    self._follow(event)
                elif event.HasField("synced"):
                    limit.reschedule(None)
                    self._take(picture)
                else:
                    picture.note(event)

    def _take(self, picture: "_Picture") -> None:
        self._revocations.replace(picture.revoked, self._now())
        self._standing.replace_keys(picture.living)
        self._policies.replace(picture.policies)
        self._grants.replace(picture.granted)
        self._synced = True

    def _follow(self, event: pb.WatchAccessResponse) -> None:
        change = _Picture()
        change.note(event)
        for revocation in change.revoked:
            self._revocations.add(revocation, self._now())
        for grant in change.granted:
            self._grants.put(grant)
        for key in change.living:
            self._standing.put_key(key)
        for policy in change.policies:
            self._policies.put(policy)

    def _now(self) -> float:
        return self._clock.now().timestamp()


@dataclass(slots=True)
class _Picture:
    """What was said of access so far."""

    revoked: list[Revocation] = field(default_factory=list)
    granted: list[Granted] = field(default_factory=list)
    living: list[LivingKey] = field(default_factory=list)
    policies: list[PolicyText] = field(default_factory=list)

    def note(self, event: pb.WatchAccessResponse) -> None:
        """Takes up what one event says; of a kind that is not known, nothing."""
        match event.WhichOneof("event"):
            case "revocation" if (revocation := from_message(event.revocation)) is not None:
                self.revoked.append(revocation)
            case "client_role":
                role = event.client_role
                self.granted.append(Granted(role.subject, role.namespace, role_of(role.role)))
            case "living_key":
                self.living.append(_living_key(event.living_key))
            case "policy":
                policy = event.policy
                self.policies.append(PolicyText(policy.namespace, policy.name, policy.version, policy.text))


def _living_key(key: pb.LivingKey) -> LivingKey:
    return LivingKey(key.id, key.namespace, role_of(key.role), key.created_by, key.expire_time.ToNanoseconds() / 1e9)
