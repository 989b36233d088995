"""The agent_manager's process: wires the parts together and serves."""

from datetime import timedelta

from parade.wire.ca import FileAuthority
from parade.wire.identity import Identity
from parade.wire.join_token import root_fingerprint
from parade_agent_manager import first_key
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.catalogue import Catalogue
from parade_agent_manager.config import Config
from parade_agent_manager.credential_store import CredentialStore
from parade_agent_manager.engine import Engine, Timings
from parade_agent_manager.enrolment import Enrolment
from parade_agent_manager.key_servicer import KeyServicer
from parade_agent_manager.permissions import Permissions
from parade_agent_manager.policy_administration import PolicyAdministration
from parade_agent_manager.policy_servicer import PolicyServicer
from parade_agent_manager.policy_store import PolicyStore
from parade_agent_manager.policy_trial import PolicyTrial
from parade_agent_manager.quotas import AgentLimits
from parade_agent_manager.refusal_servicer import RefusalServicer
from parade_agent_manager.registry import Registry
from parade_agent_manager.revoker import Revoker
from parade_agent_manager.rights_store import RightsStore
from parade_agent_manager.servicer import Servicer
from parade_agent_manager.store import Store
from parade_agent_manager.tables import AUDIT, METADATA
from parade_agent_manager.upkeep import Upkeep
from parade_agent_manager.waits import Waits
from parade_chassis.audit_decisions import Decisions
from parade_chassis.audit_log import AuditLog
from parade_chassis.audit_recorder import Recorder
from parade_chassis.audit_servicer import AuditServicer
from parade_chassis.lifecycle import Process, run
from parade_chassis.ownership import Ownership
from parade_chassis.quotas import Quotas
from parade_chassis.server import MANY_CONNECTIONS, running
from parade_chassis.store import Database


async def serve(process: Process[Config]) -> None:
    """Serves until the process is asked to end."""
    config, clock, log, trusted = process.config, process.clock, process.log, process.certificates
    lifetime = timedelta(seconds=config.certificate_lifetime)
    timings = Timings(config.heartbeat_interval, config.lease_duration, config.lost_retention, config.certificate_lifetime)
    authority = FileAuthority(config.ca_private_key, config.ca_certificate)
    database = await Database.open(config.database_url, "parade_agent_manager", METADATA)
    ownership = await process.unless_stopped(Ownership.acquire(database, "agent_manager", clock, log))
    if ownership is None:
        await database.close()
        return
    recorder, decisions = Recorder(clock, Identity.service("agent_manager", config.domain).uri), Decisions(clock, log)
    audit = AuditLog(database, AUDIT)
    store, credentials, waits = Store(database, recorder), CredentialStore(database, recorder), Waits()
    registry = Registry(config.watch_capacity, waits)
    quotas = Quotas("agent_manager", config.quotas, AgentLimits())
    engine = Engine(store=store, registry=registry, clock=clock, log=log, timings=timings, quotas=quotas)
    feed = AccessFeed(config.watch_capacity, waits)
    permissions = Permissions(
        store=RightsStore(database, recorder), feed=feed, own=process.standing, clock=clock, log=log, domain=config.domain
    )  # fmt: skip
    revoker = Revoker(
        store=credentials, feed=feed, own=process.revocations, dismiss=engine.dismiss, disown=permissions.disown, clock=clock,
        log=log, domain=config.domain, retention=timedelta(seconds=config.revocation_retention),
    )  # fmt: skip
    enrolment = Enrolment(
        store=credentials, registry=registry, revoker=revoker, authority=authority,
        fingerprint=lambda: root_fingerprint(trusted.current()), clock=clock, ids=process.ids, log=log, domain=config.domain,
        certificate_lifetime=lifetime, quotas=quotas,
    )  # fmt: skip
    policies = PolicyAdministration(store=PolicyStore(database, recorder), feed=feed, own=process.policies, clock=clock, log=log)
    await engine.load()
    await permissions.load()
    await policies.load()
    await revoker.load()
    await first_key.let_in(permissions, config.initial_admin, config.initial_key_file, clock)
    upkeep = Upkeep(engine, enrolment, revoker, clock, log)
    process.background(upkeep.end_leases(), "lease")
    process.background(upkeep.write(), "writing")
    process.background(ownership.keep(clock), "ownership")
    process.background(decisions.keep(audit.record), "audit")
    servicer = Servicer(
        engine, Catalogue(registry), enrolment, revoker, feed, process.grants, waits, lambda: trusted.current().trust_bundle
    )  # fmt: skip
    own = AuditServicer("agent_manager", audit, clock, process.grants)
    policy_servicer = PolicyServicer(policies, PolicyTrial(registry, policies.told, process.standing.of))
    servicers = servicer, KeyServicer(permissions), policy_servicer, RefusalServicer(audit.record, clock), own
    enrolment_listen = config.enrolment_listen
    served = running(process, *servicers, enrolment_listen=enrolment_listen, options=MANY_CONNECTIONS, decisions=decisions)
    async with served as server:
        log.info("enrolment open", address=server.enrolment_address)
        await process.stopped()
        waits.end()
    await decisions.end(audit.record)
    engine.note_heartbeats()
    await engine.save()
    await ownership.release()
    await database.close()


if __name__ == "__main__":
    run("agent_manager", Config, serve)
