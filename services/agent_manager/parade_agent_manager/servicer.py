"""The agent_manager's methods: decode, one call, encode."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc.aio import EOF

from parade.v1 import access_watch_pb2, agent_manager_pb2_grpc, certificate_pb2
from parade.v1 import agent_manager_pb2 as pb
from parade.wire.identity import Kind
from parade.wire.roles import EVERYWHERE, Role
from parade_agent_manager import certificates, convert
from parade_agent_manager.access_feed import AccessFeed
from parade_agent_manager.catalogue import Catalogue
from parade_agent_manager.engine import Engine
from parade_agent_manager.enrolment import Enrolment
from parade_agent_manager.model import AgentKey, AgentState
from parade_agent_manager.revoker import Revoker
from parade_agent_manager.tokens import DEFAULT_LIFETIME
from parade_agent_manager.waits import Waits
from parade_chassis.context import current, required_namespace
from parade_chassis.grants import Grants

SILENT_LEASES = 5
"""After how many leases without a heartbeat a stream is closed; its instance has been LOST for long then."""

Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(agent_manager_pb2_grpc.AgentManagerServiceServicer):
    """What `agent_manager.proto` says."""

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        enrolment: Enrolment,
        revoker: Revoker,
        feed: AccessFeed,
        grants: Grants,
        waits: Waits,
        trust_bundle: Callable[[], bytes],
    ) -> None:
        """Takes what decides and answers.

        Args:
            engine: Takes orders and heartbeats.
            catalogue: Answers questions.
            enrolment: Gives tokens and certificates.
            revoker: Takes certificates back.
            feed: Tells services of access.
            grants: Who is admin of more than a namespace.
            waits: Bounds the waiting on streams.
            trust_bundle: Gives the roots that instances are to trust, PEM.
        """
        self._engine = engine
        self._catalogue = catalogue
        self._enrolment = enrolment
        self._revoker = revoker
        self._feed = feed
        self._grants = grants
        self._waits = waits
        self._trust_bundle = trust_bundle

    async def CreateJoinToken(self, request: pb.CreateJoinTokenRequest, context: Context) -> pb.CreateJoinTokenResponse:
        """See the contract."""
        lifetime = convert.seconds(request.ttl) if request.HasField("ttl") else DEFAULT_LIFETIME
        token = await self._enrolment.create_token(required_namespace(), request.agent, lifetime, current().principal)
        return pb.CreateJoinTokenResponse(token=token.secret, expire_time=convert.to_timestamp(token.expires))

    async def Enroll(self, request: pb.EnrollRequest, context: Context) -> pb.EnrollResponse:
        """See the contract."""
        enrolled = await self._enrolment.enrol(request.token, request.csr)
        return pb.EnrollResponse(
            certificate_chain=enrolled.certificate.chain.encode(),
            trust_bundle=self._trust_bundle(),
            instance_id=enrolled.identity.instance,
            spiffe_id=enrolled.identity.uri,
            expire_time=convert.to_timestamp(enrolled.certificate.expires),
        )

    async def RenewCertificate(self, request: pb.RenewCertificateRequest, context: Context) -> pb.RenewCertificateResponse:
        """See the contract."""
        shown = next(iter(context.auth_context()["x509_pem_cert"]))
        renewed = await self._enrolment.renew(current().caller, shown, request.csr)
        return pb.RenewCertificateResponse(
            certificate_chain=renewed.chain.encode(),
            trust_bundle=self._trust_bundle(),
            expire_time=convert.to_timestamp(renewed.expires),
        )

    async def RegisterInstance(self, request: pb.RegisterInstanceRequest, context: Context) -> pb.RegisterInstanceResponse:
        """See the contract."""
        instance = await self._engine.register(current().caller, convert.registration(request))
        return pb.RegisterInstanceResponse(
            instance=convert.to_instance(instance),
            heartbeat_interval=convert.to_duration(self._engine.timings.heartbeat_interval),
            lease_duration=convert.to_duration(self._engine.timings.lease_duration),
        )

    async def Heartbeat(
        self, request_iterator: AsyncIterator[pb.HeartbeatRequest], context: Context
    ) -> AsyncIterator[pb.HeartbeatResponse]:
        """See the contract."""
        identity = current().caller
        told = 0
        wait = self._waits.bounded(SILENT_LEASES * self._engine.timings.lease_duration)
        try:
            while True:
                with wait:
                    request = await context.read()
                if request is EOF:
                    return
                instance, lease_end = self._engine.heartbeat(identity, convert.heartbeat(request))
                news, told = self._revoker.of_services(told)
                yield pb.HeartbeatResponse(
                    state=convert.to_state(instance),
                    lease_expire_time=convert.to_timestamp(lease_end),
                    revocations=map(certificates.to_revocation, news),
                )
        finally:
            wait.forget()

    async def Deregister(self, request: pb.DeregisterRequest, context: Context) -> pb.DeregisterResponse:
        """See the contract."""
        await self._engine.deregister(current().caller)
        return pb.DeregisterResponse()

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        """See the contract."""
        return pb.GetAgentResponse(agent=convert.to_roster(self._catalogue.roster(_key(request.name))))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """See the contract."""
        found, token = self._catalogue.agents(required_namespace(), request.page_size, request.page_token)
        return pb.ListAgentsResponse(agents=map(convert.to_roster, found), next_page_token=token)

    async def ListFunctions(self, request: pb.ListFunctionsRequest, context: Context) -> pb.ListFunctionsResponse:
        """See the contract."""
        found, token = self._catalogue.functions(required_namespace(), request.agent, request.page_size, request.page_token)
        return pb.ListFunctionsResponse(functions=map(convert.to_entry, found), next_page_token=token)

    async def WatchAgents(self, request: pb.WatchAgentsRequest, context: Context) -> AsyncIterator[pb.WatchAgentsResponse]:
        """See the contract."""
        # A dispatcher that acts for itself sees all namespaces; everybody else must be in one.
        namespace = current().namespace if current().caller.kind is Kind.DISPATCHER else required_namespace()
        with self._engine.watch(namespace) as watcher:
            for change in watcher.picture():
                yield convert.to_change(change)
            yield convert.SYNCED
            async for change in watcher.changes():
                yield convert.to_change(change)

    async def PauseAgent(self, request: pb.PauseAgentRequest, context: Context) -> pb.PauseAgentResponse:
        """See the contract."""
        roster = await self._engine.set_state(_key(request.name), AgentState.PAUSED, current().principal)
        return pb.PauseAgentResponse(agent=convert.to_roster(roster))

    async def ResumeAgent(self, request: pb.ResumeAgentRequest, context: Context) -> pb.ResumeAgentResponse:
        """See the contract."""
        roster = await self._engine.set_state(_key(request.name), AgentState.ACTIVE, current().principal)
        return pb.ResumeAgentResponse(agent=convert.to_roster(roster))

    async def DrainInstance(self, request: pb.DrainInstanceRequest, context: Context) -> pb.DrainInstanceResponse:
        """See the contract."""
        instance = await self._engine.drain(_key(request.agent), request.instance_id)
        return pb.DrainInstanceResponse(instance=convert.to_instance(instance))

    async def ListCertificates(self, request: certificate_pb2.ListCertificatesRequest, context: Context) -> Any:
        """See the contract."""
        state = certificates.state(request.state)
        found, token = await self._revoker.certificates(self._scope(), request.spiffe_id, state, request.page_size, request.page_token)
        return certificate_pb2.ListCertificatesResponse(certificates=map(certificates.to_certificate, found), next_page_token=token)

    async def RevokeCertificate(self, request: certificate_pb2.RevokeCertificateRequest, context: Context) -> Any:
        """See the contract."""
        certificates.require_one_subject(request)
        scope, reason, by = self._scope(), request.reason, current().principal
        if request.serial:
            revocation = await self._revoker.revoke_serial(request.serial, scope, reason, by, current().peer.serial)
        else:
            revocation = await self._revoker.revoke_identity(request.spiffe_id, scope, reason, by)
        return certificate_pb2.RevokeCertificateResponse(revocation=certificates.to_revocation(revocation))

    async def WatchAccess(
        self, request: access_watch_pb2.WatchAccessRequest, context: Context
    ) -> AsyncIterator[access_watch_pb2.WatchAccessResponse]:
        """See the contract."""
        with self._feed.watch() as watcher:
            for change in watcher.picture():
                yield certificates.to_news(change)
            yield certificates.SYNCED
            async for change in watcher.changes():
                yield certificates.to_news(change)

    def _scope(self) -> str:
        """Returns the namespace whose certificates may be seen and taken back; empty for all of them and for the services themselves."""
        caller, principal = current().caller, current().principal
        if caller.kind is Kind.AGENT_MANAGER:
            return ""
        everywhere = caller.kind is Kind.CLIENT and self._grants.role_of(principal, EVERYWHERE) is Role.ADMIN
        return "" if everywhere else required_namespace()


def _key(name: str) -> AgentKey:
    return required_namespace(), name
