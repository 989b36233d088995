"""The parts of one dispatcher that make calls, put together."""

import asyncio
from datetime import timedelta
from random import Random

from parade.wire.channel import MAX_VALUE_BYTES, Channel
from parade.wire.deadlines import Deadlines
from parade.wire.mandate_issuer import Issuer
from parade.wire.mandate_verifier import Verifier
from parade.wire.session.acceptor import Acceptor
from parade_chassis.audit_decisions import Decisions
from parade_chassis.lifecycle import Process
from parade_dispatcher.config import Config
from parade_dispatcher.connections import Connections
from parade_dispatcher.directory import Directory
from parade_dispatcher.engine import Engine
from parade_dispatcher.gate import PolicyGate
from parade_dispatcher.keeping import Keeping
from parade_dispatcher.mandates import Mandates
from parade_dispatcher.measurements import CallMeasurements
from parade_dispatcher.parts import Parts
from parade_dispatcher.plugins import load_balancer, load_interceptors
from parade_dispatcher.pools import Pools
from parade_dispatcher.schemas import Schemas
from parade_dispatcher.session import SessionHandler
from parade_dispatcher.watch import Watch


class Calling:
    """The engine over the instances, and the sessions over the engine."""

    def __init__(self, process: Process[Config], keeping: Keeping, decisions: Decisions) -> None:
        """Puts the parts together.

        Args:
            process: What they work with.
            keeping: Writes effects and approvals down.
            decisions: Takes down who is refused.
        """
        config, loop, deadlines = process.config, asyncio.get_running_loop(), Deadlines()
        self._process = process
        self._connections = Connections(process.certificates, Issuer(process.certificates), process.tasks, process.log)
        self._pools = Pools(load_balancer(config.balancer), loop.time, loop.call_later, config.limits())
        self.approvals = keeping.approvals(deadlines, timedelta(seconds=config.approval_lifetime))
        parts = Parts(
            pools=self._pools,
            reach=self._connections,
            ledger=keeping.ledger,
            gate=PolicyGate(process.policies, process.standing),
            approvals=self.approvals,
            schemas=Schemas(MAX_VALUE_BYTES),
            mandates=Mandates(Verifier(process.peers), process.standing, config.max_depth),
            measurements=CallMeasurements(process.telemetry),
            deadlines=deadlines,
            now=loop.time,
            later=loop.call_later,
            chance=Random().random,  # noqa: S311  # it spreads pauses, and nobody gains by guessing them
            interceptors=load_interceptors(config.interceptors),
        )
        self.engine = Engine(parts, process.ids)
        handler = SessionHandler(self.engine, process.telemetry, decisions)
        self.acceptor = Acceptor(handler, max_calls=config.session_calls, max_age=config.session_age, log=process.log)

    def directory(self, agent_manager: Channel) -> Directory:
        """Returns what learns from the agent_manager which instances there are."""
        return Directory(Watch(agent_manager), self._process.clock, self._process.log, self._pools, self._connections.forget)

    async def drain(self) -> None:
        """Sends the sessions elsewhere, and gives the calls under way the time that the process has for its end."""
        await self.acceptor.drain(self._process.config.drain_timeout)

    async def close(self) -> None:
        """Closes the connections to the instances."""
        await self._connections.close()
