"""The scheduler's process: wires the parts together and serves."""

from contextlib import AsyncExitStack
from random import SystemRandom

from parade.wire.channel import targets
from parade.wire.session.link import Link
from parade.wire.session.methods import DISPATCHER_SESSION
from parade_chassis.lifecycle import Process, run
from parade_chassis.ownership import Ownership
from parade_chassis.server import running
from parade_chassis.store import Database
from parade_scheduler.caller import DispatcherCaller
from parade_scheduler.config import Config
from parade_scheduler.decider import Decider
from parade_scheduler.dispatch import Dispatches
from parade_scheduler.effects import Effects
from parade_scheduler.engine import Engine
from parade_scheduler.functions import AgentManagerFunctions
from parade_scheduler.journal import Journal
from parade_scheduler.servicer import Servicer
from parade_scheduler.store import Store
from parade_scheduler.tables import METADATA
from parade_scheduler.timers import Timers
from parade_scheduler.watchers import Watchers


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config, clock, log = process.config, process.clock, process.log
    database = await Database.open(config.database_url, "parade_scheduler", METADATA)
    ownership = await process.unless_stopped(Ownership.acquire(database, "scheduler", clock, log))
    if ownership is None:
        await database.close()
        return
    store, watchers = Store(database, ownership), Watchers()
    journal = Journal(store, Decider(SystemRandom().random), clock)
    async with AsyncExitStack() as stack:
        agents = await stack.enter_async_context(process.channel("agent_manager", config.agent_manager))
        channels = [process.channel("dispatcher", target) for target in targets(config.dispatcher)]
        for channel in channels:
            stack.push_async_callback(channel.close)
        link = Link(channels, DISPATCHER_SESSION, log=log)
        stack.push_async_callback(link.close)
        caller = DispatcherCaller(link, process.telemetry)
        dispatches = Dispatches(caller, journal.report, clock, log, process.tasks, config.max_calls)
        timers = Timers(clock, journal.report)
        engine = Engine(
            store=store, journal=journal, watchers=watchers, functions=AgentManagerFunctions(agents), clock=clock, ids=process.ids, log=log,
            max_runs=config.max_runs,
        )  # fmt: skip
        await engine.recover()
        process.background(journal.lead(Effects(dispatches, timers, watchers).release), "journal")
        process.background(ownership.keep(clock), "ownership")
        async with running(process, Servicer(engine)):
            await process.stopped()
            watchers.end()
        timers.end()
        await dispatches.drain(config.drain_timeout)
        await journal.written()
    await ownership.release()
    await database.close()


if __name__ == "__main__":
    run("scheduler", Config, serve)
