"""The dispatcher's process: `python -m parade_dispatcher`."""

import asyncio
from random import Random

from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.deadlines import Deadlines
from parade.wire.event_loop import new_event_loop
from parade.wire.session.acceptor import Acceptor
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_dispatcher.config import Config
from parade_dispatcher.connections import Connections
from parade_dispatcher.directory import Directory
from parade_dispatcher.engine import Engine
from parade_dispatcher.keeping import Keeping
from parade_dispatcher.measurements import CallMeasurements
from parade_dispatcher.parts import Parts
from parade_dispatcher.plugins import load_balancer, load_interceptors
from parade_dispatcher.pools import Pools
from parade_dispatcher.schemas import Schemas
from parade_dispatcher.servicer import DispatcherServicer
from parade_dispatcher.session import SessionHandler
from parade_dispatcher.watch import Watch

LAST_CALLS = 0.5
"""Seconds that started calls may still take at the end of the process; another dispatcher, or the next process, goes on with the rest."""


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config, clock, log = process.config, process.clock, process.log
    loop, chance = asyncio.get_running_loop(), Random().random  # noqa: S311  # it spreads pauses, and nobody gains by guessing them
    keeping = Keeping(config.database_url, config.instance_id, clock, process.ids, log)
    await keeping.start()
    connections = Connections(process.certificates, process.tasks, log)
    pools = Pools(load_balancer(config.balancer), loop.time, loop.call_later)
    schemas, measurements = Schemas(MAX_VALUE_BYTES), CallMeasurements(process.telemetry)
    parts = Parts(
        pools, connections, keeping.ledger, schemas, measurements, Deadlines(), loop.time, loop.call_later, chance,
        load_interceptors(config.interceptors),
    )  # fmt: skip
    engine = Engine(parts, process.ids)
    acceptor = Acceptor(SessionHandler(engine, process.telemetry), max_calls=config.session_calls, max_age=config.session_age, log=log)
    started = keeping.started_calls(engine)
    for part, name in keeping.loops():
        process.background(part, name)
    async with process.channel("agent_manager", config.agent_manager) as channel:
        directory = Directory(Watch(channel), clock, log, pools, connections.forget)
        process.background(directory.follow(), "agent watch")
        process.background(started.keep(), "started calls")
        servicer = DispatcherServicer(engine, acceptor, started, clock)
        async with running(process, servicer, drain=lambda: acceptor.drain(config.drain_timeout)):
            await process.stopped()
        await started.close(LAST_CALLS)
        await connections.close()
    await keeping.close(config.drain_timeout)


if __name__ == "__main__":
    run("dispatcher", Config, serve, new_event_loop)
