"""The monitor as a process: `python -m parade_monitor`."""

import asyncio

from parade_chassis.access import AccessWatch
from parade_chassis.audit_decisions import Decisions
from parade_chassis.audit_log import AuditLog
from parade_chassis.audit_servicer import AuditServicer
from parade_chassis.lifecycle import Process, run
from parade_chassis.quotas import Quotas
from parade_chassis.server import running
from parade_chassis.store import Database
from parade_monitor.config import Config
from parade_monitor.engine import Engine
from parade_monitor.intake import Intake
from parade_monitor.rates import Rates, Rows
from parade_monitor.retention import Retention
from parade_monitor.servicer import RECEIVERS, LogsReceiver, MetricsReceiver, MonitorServicer, TraceReceiver
from parade_monitor.store import Store
from parade_monitor.tables import AUDIT, METADATA
from parade_monitor.tail import Tail


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config, clock = process.config, process.clock
    database = await Database.open(config.database_url, "parade_monitor", METADATA)
    store, audit, decisions = Store(database), AuditLog(database, AUDIT), Decisions(clock, process.log)
    tail = Tail(await store.newest_log())
    dropped = process.telemetry.meter.create_counter("parade.monitor.dropped", description="Records that were not kept")
    intake = Intake(store, tail, clock, process.log, dropped.add)
    engine = Engine(store, intake, tail, Rates(Quotas("monitor", config.quotas, Rows()), clock))
    retention = Retention(store, clock, process.log, days=config.retention_days, most_rows=config.max_rows)
    process.background(intake.run(), "writing")
    process.background(retention.run(), "retention")
    process.background(decisions.keep(audit.record), "audit")
    agent_manager = process.channel("agent_manager", config.agent_manager)
    if config.agent_manager:
        process.background(AccessWatch(process, agent_manager).follow(), "access watch")
    receivers = LogsReceiver(engine, clock), TraceReceiver(engine, clock), MetricsReceiver(engine, clock)
    servicers = MonitorServicer(engine, process.grants), AuditServicer("monitor", audit, clock, process.grants)
    async with running(process, *servicers, *receivers, foreign=RECEIVERS, decisions=decisions):
        await process.stopped()
        # What the monitor says of itself it sends to itself: that must end while somebody takes it.
        await asyncio.to_thread(process.telemetry.end)
        tail.close()
    await intake.finish()
    await decisions.end(audit.record)
    await agent_manager.close()
    await database.close()


if __name__ == "__main__":
    run("monitor", Config, serve)
