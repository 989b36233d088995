"""An instance's place in the mesh: registered, alive by heartbeat, and taken back whenever the agent_manager was away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from google.protobuf.duration_pb2 import Duration

from parade.hosting.backoff import Backoff
from parade.hosting.enrolment import PASSING, RPC_TIMEOUT, EnrolmentOverError, RevokedError, ended
from parade.hosting.instance import Instance
from parade.hosting.memory import resident_bytes
from parade.v1 import agent_manager_pb2, certificate_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log
from parade.wire.revocation_messages import from_message
from parade.wire.revocations import Revocations

GOODBYE_TIMEOUT = 1.0
"""Seconds that the agent_manager is given to hear that the instance leaves."""
LONGEST_PAUSE = 2.0
"""Seconds between two tries to come back: well within the lease, so that a restart of the agent_manager costs no instance."""


class Registration:
    """Registers one instance and keeps it registered."""

    def __init__(
        self,
        channel: Channel,
        offer: agent_manager_pb2.RegisterInstanceRequest,
        instance: Instance,
        over: Callable[[], str],
        revocations: Revocations,
        log: Log,
    ) -> None:
        """Makes a registration.

        Args:
            channel: To the agent_manager.
            offer: What the instance says of itself.
            instance: The instance: made ready once it is registered, and told to leave when the agent_manager says so.
            over: Tells why the instance's identity can be of no more use; empty where it still can.
            revocations: What the instance refuses; the agent_manager says it with its answers to heartbeats.
            log: Where coming and going is told.
        """
        self._stub = AgentManagerServiceStub(channel.for_stubs())
        self._offer = offer
        self._instance = instance
        self._over = over
        self._revocations = revocations
        self._log = log
        self._known_to_leave = asyncio.Event()
        self._away = False

    async def keep(self) -> None:
        """Registers and sends heartbeats, for ever; comes back whenever it was cut off.

        Raises:
            EnrolmentOverError: The instance must join again as another.
            RevokedError: The mesh wants it out.
            ParadeError: The mesh refuses what the instance says of itself.
        """
        backoff = Backoff(LONGEST_PAUSE)
        while True:
            try:
                registered = await self._stub.RegisterInstance(self._offer, timeout=RPC_TIMEOUT)
                backoff.reset()
                await self._beat(_seconds(registered.heartbeat_interval), _seconds(registered.lease_duration))
            except ParadeError as error:
                self._judge(error)
            await asyncio.sleep(backoff.pause())

    async def say_leaving(self) -> None:
        """Waits a moment for the mesh to know that the instance leaves, so that no new call is sent to it."""
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT):
                await self._known_to_leave.wait()
        except TimeoutError:
            self._log.debug("leaving unheard")

    async def deregister(self) -> None:
        """Takes the instance out of its agent, where that can be said."""
        try:
            await self._stub.Deregister(agent_manager_pb2.DeregisterRequest(), timeout=GOODBYE_TIMEOUT)
        except ParadeError as error:
            self._log.debug("left without deregistering", why=error.message)

    async def _beat(self, interval: float, lease: float) -> None:
        responses: Any = self._stub.Heartbeat(self._heartbeats(interval))  # a Channel's stream is an asynchronous generator
        first = True
        async with aclosing(responses):
            while True:
                try:
                    async with asyncio.timeout(lease):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise ParadeError(Reason.UNAVAILABLE, "the agent_manager does not answer heartbeats") from None
                self._refuse(response.revocations, first=first)
                first = False
                self._heed(response.state)

    async def _heartbeats(self, interval: float) -> AsyncIterator[agent_manager_pb2.HeartbeatRequest]:
        while True:
            load = agent_manager_pb2.Load(
                in_flight=self._instance.capacity.in_flight, completed=self._instance.capacity.completed, memory_bytes=resident_bytes()
            )
            leaving = self._instance.leaving.is_set()
            yield agent_manager_pb2.HeartbeatRequest(load=load, draining=leaving)
            try:
                async with asyncio.timeout(interval):
                    await (asyncio.sleep(interval) if leaving else self._instance.leaving.wait())
            except TimeoutError:
                continue

    def _refuse(self, told: Iterable[certificate_pb2.Revocation], *, first: bool) -> None:
        """Takes up what is revoked: with the first answer on a stream everything, then what is new."""
        revoked = [revocation for revocation in map(from_message, told) if revocation is not None]
        now = time.time()
        if first:
            self._revocations.replace(revoked, now)
            return
        for revocation in revoked:
            self._revocations.add(revocation, now)

    def _heed(self, state: "agent_manager_pb2.InstanceState.ValueType") -> None:
        if self._away:
            self._away = False
            self._log.info("the agent_manager is back")
        self._instance.ready.set()
        if state == agent_manager_pb2.INSTANCE_STATE_DRAINING:
            self._known_to_leave.set()
            if not self._instance.leaving.is_set():
                self._log.info("told to leave")
                self._instance.leaving.set()
        elif state == agent_manager_pb2.INSTANCE_STATE_GONE:
            raise EnrolmentOverError("the mesh has let this instance go")

    def _judge(self, error: ParadeError) -> None:
        """Decides what a failure means: try again, join again, or give up."""
        lost = ended(error)
        if isinstance(lost, RevokedError):
            raise lost from error
        over = self._over()
        if over:
            raise EnrolmentOverError(over) from error
        if error.reason is Reason.INVALID_ARGUMENTS:
            raise error
        if error.reason is not Reason.NOT_FOUND and error.reason not in PASSING:
            raise lost from error
        if not self._away:
            self._away = True
            self._log.warning("the agent_manager is away; calls go on", why=error.message)


def _seconds(duration: Duration) -> float:
    return max(0.1, duration.ToNanoseconds() / 1e9)
