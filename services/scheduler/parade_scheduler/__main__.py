"""The scheduler's process: wires the parts together and serves."""

from random import SystemRandom

from parade_chassis.leading import leading
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_scheduler.caller import DispatcherCaller
from parade_scheduler.config import Config
from parade_scheduler.decider import Decider
from parade_scheduler.effects import Effects
from parade_scheduler.engine import Engine
from parade_scheduler.events import Events
from parade_scheduler.functions import AgentManagerFunctions
from parade_scheduler.journal import Journal
from parade_scheduler.operations import Operations
from parade_scheduler.schedules import Schedules
from parade_scheduler.servicer import Servicer
from parade_scheduler.store import Store
from parade_scheduler.tables import METADATA
from parade_scheduler.watchers import Watchers


async def serve(process: Process[Config]) -> None:
    """Serves, once no other process leads, until the process is asked to end."""
    async with leading(process, process.config.database_url, METADATA) as led:
        if led is not None:
            await _lead(process, Store(*led))


async def _lead(process: Process[Config], store: Store) -> None:
    config, clock, ids, log, watchers = process.config, process.clock, process.ids, process.log, Watchers()
    journal = Journal(store, Decider(SystemRandom().random), clock)
    async with process.channel("agent_manager", config.agent_manager) as agents, DispatcherCaller.connected(process) as caller:
        functions = AgentManagerFunctions(agents)
        engine = Engine(store, journal, watchers, functions, clock=clock, ids=ids, log=log, max_runs=config.max_runs)
        effects = Effects(process, caller, journal.report, watchers)
        await engine.recover()
        process.background(journal.lead(effects.release), "journal")
        async with running(process, Servicer(engine, Operations(engine, store), Schedules(), Events())):
            await process.stopped()
            watchers.end()
        await effects.end()
        await journal.written()


if __name__ == "__main__":
    run("scheduler", Config, serve)
