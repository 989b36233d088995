"""The dispatcher's process: `python -m parade_dispatcher`."""

from parade_chassis.access import AccessWatch
from parade_chassis.audit_decisions import Decisions
from parade_chassis.audit_servicer import AuditServicer
from parade_chassis.lifecycle import Process, run
from parade_chassis.server import running
from parade_dispatcher.calling import Calling
from parade_dispatcher.config import Config
from parade_dispatcher.keeping import Keeping
from parade_dispatcher.servicer import DispatcherServicer

LAST_CALLS = 0.5
"""Seconds that started calls may still take at the end of the process; another dispatcher, or the next process, goes on with the rest."""


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config, clock, log = process.config, process.clock, process.log
    decisions = Decisions(clock, log)
    keeping = Keeping(config.database_url, config.instance_id, clock, process.ids, log)
    await keeping.start()
    calling = Calling(process, keeping, decisions)
    started = keeping.started_calls(calling.engine)
    for part, name in keeping.loops():
        process.background(part, name)
    process.background(decisions.keep(keeping.record), "audit")
    process.background(calling.approvals.keep(), "approvals")
    async with process.channel("agent_manager", config.agent_manager) as channel:
        process.background(AccessWatch(process, channel).follow(), "access watch")
        process.background(calling.directory(channel).follow(), "agent watch")
        process.background(started.keep(), "started calls")
        servicer = DispatcherServicer(
            calling.engine, calling.acceptor, started, calling.approvals, process.peers, decisions, config.limits()
        )
        audit = AuditServicer("dispatcher", keeping.audit_log, clock, process.grants)
        async with running(process, servicer, audit, drain=calling.drain, decisions=decisions):
            await process.stopped()
        await started.close(LAST_CALLS)
        await calling.close()
    await decisions.end(keeping.record)
    await keeping.close(config.drain_timeout)


if __name__ == "__main__":
    run("dispatcher", Config, serve)
