"""The scheduler's process: wires the parts together and serves."""

from contextlib import AsyncExitStack
from datetime import timedelta

from parade_chassis.access import AccessWatch
from parade_chassis.audit_decisions import Decisions
from parade_chassis.audit_log import AuditLog
from parade_chassis.audit_servicer import AuditServicer
from parade_chassis.leading import sharing
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_scheduler.calls.caller import DispatcherCaller
from parade_scheduler.config import Config
from parade_scheduler.definitions.durables import Durables
from parade_scheduler.definitions.functions import AgentManagerFunctions
from parade_scheduler.effects import Effects
from parade_scheduler.engine import Engine
from parade_scheduler.leadership import Leadership
from parade_scheduler.operations import Operations
from parade_scheduler.rights import Rights
from parade_scheduler.servicer import Servicer
from parade_scheduler.starts.children import Children
from parade_scheduler.starts.starter import Starter
from parade_scheduler.storage.audit_table import AUDIT
from parade_scheduler.storage.store import Store
from parade_scheduler.storage.tables import METADATA
from parade_scheduler.triggers.triggers import Triggers


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    async with sharing(process, process.config.database_url, METADATA) as database, AsyncExitStack() as stack:
        if database is None:
            return
        store = Store(database)
        stack.push_async_callback(store.close)
        agents = await stack.enter_async_context(process.channel("agent_manager", process.config.agent_manager))
        process.background(AccessWatch(process, agents).follow(), "access watch")
        caller = await stack.enter_async_context(DispatcherCaller.connected(process))
        functions = AgentManagerFunctions(agents)
        patience = timedelta(days=process.config.agent_patience).total_seconds()
        leadership = Leadership(process, store, Durables(functions, process.clock, patience), alone=database.is_sqlite)
        triggers = Triggers(process, database, store, leadership)
        audit, decisions = AuditLog(database, AUDIT), Decisions(process.clock, process.log)
        rights = Rights(process, decisions)
        starter = Starter(process, store, leadership, triggers.limits, rights)
        engine = Engine(process, store, leadership, functions, starter, triggers.defined)
        children = Children(leadership.journal, starter, store, process.clock, process.log)
        effects = Effects(process, caller, children, leadership.journal.report, rights)
        await leadership.begin(effects)
        events = triggers.begin(starter, rights)
        operations = Operations(engine, store, leadership.catalogue, process.ids)
        process.background(decisions.keep(audit.record), "audit")
        servicers = (
            Servicer(engine, operations, triggers.schedules, events),
            AuditServicer("scheduler", audit, process.clock, process.grants),
        )
        async with running(process, *servicers, decisions=decisions):
            await process.stopped()
            leadership.watchers.end()
        await leadership.end(effects)
        await decisions.end(audit.record)


if __name__ == "__main__":
    run("scheduler", Config, serve)
