"""How a process becomes an instance: a join token and a fresh key for a certificate, which lives in memory only and is renewed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from parade.hosting.backoff import Backoff
from parade.hosting.settings import Settings
from parade.v1 import agent_manager_pb2
from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceStub
from parade.wire.certificates import Certificates, MemorySource, new_key_and_request, roots_in
from parade.wire.channel import Channel
from parade.wire.errors import ParadeError, Reason
from parade.wire.identity import Identity
from parade.wire.join_token import pinned_roots
from parade.wire.log import Log
from parade.wire.mesh_file import MeshFile
from parade.wire.peer import CERTIFICATE, Refusal
from parade.wire.replicas import Replicas

RPC_TIMEOUT = 5.0
LONGEST_PAUSE = 1.0
"""Seconds between two tries to join: an agent that waits for its mesh should be there as soon as it is."""
SAY_EVERY = 5.0
"""Seconds between two lines that say what is being waited for."""
LONGEST_RENEWAL_PAUSE = 60.0
"""Seconds between two tries to renew, once one has failed."""
PASSING = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.NO_CAPACITY, Reason.INTERNAL})
"""Failures that pass by themselves."""


class EnrolmentOverError(Exception):
    """The instance's identity is no longer accepted, or its mesh has gone elsewhere: it must join again as another instance."""


class RevokedError(Exception):
    """The mesh has revoked the instance: whoever runs the mesh wants it out, so it does not come back by itself as another one."""


class NotJoinedError(Exception):
    """The mesh could not be joined; the message says why and what to do."""


@dataclass(slots=True)
class Enrolled:
    """An instance's identity and the mesh that gave it."""

    identity: Identity
    source: MemorySource
    expires: datetime
    """When the newest certificate ends."""
    mesh: MeshFile

    def channel(self, service: str) -> Channel:
        """Returns a channel to a service on which the instance shows its certificate; its user closes it."""
        server_name = Identity.service(service, self.mesh.domain).server_name
        return Channel(self.mesh.services[service], self.source, server_name, peer=service)

    def replicas(self, service: str) -> Replicas:
        """Returns the channels to all replicas of a service, likewise; their user closes them."""
        server_name = Identity.service(service, self.mesh.domain).server_name
        return Replicas.at(self.mesh.services[service], self.source, server_name, peer=service)

    def over(self, find: Callable[[], MeshFile]) -> str:
        """Returns why this identity can be of no more use; empty where it still can.

        Args:
            find: Finds the mesh as it is now.
        """
        if datetime.now(UTC) >= self.expires:
            return "the certificate has expired"
        try:
            mesh = find()
            roots = _trust_bundle(mesh)
        except ParadeError:
            return ""  # the mesh is away, not another
        # While one root takes the place of another both are trusted, and the instance learns of the new one when it is renewed.
        if not roots_in(roots) & roots_in(self.source.current().trust_bundle):
            return "the mesh has a new authority"
        return "" if mesh.services == self.mesh.services else "the mesh has moved"


class Joining:
    """One attempt to join, in as many tries as it takes. Key and token stay the same, so that an answer that was lost can be had again."""

    def __init__(self, agent: str, settings: Settings, find: Callable[[], MeshFile], log: Log) -> None:
        """Makes a key.

        Args:
            agent: The agent's name.
            settings: What the process is told.
            find: Finds the mesh.
            log: Where waiting is told.
        """
        self._agent = agent
        self._find = find
        self._log = log
        self._given = bool(settings.join_token)
        self._token = settings.join_token
        self._key, self._request = new_key_and_request()

    async def join(self, patience: float | None) -> Enrolled:
        """Enrols, however often that takes.

        Args:
            patience: Seconds to go on trying while the mesh is not there; None to go on for ever.

        Raises:
            NotJoinedError: The mesh is not there, or does not let this agent in.
        """
        loop = asyncio.get_running_loop()
        started, said = loop.time(), float("-inf")
        backoff = Backoff(LONGEST_PAUSE)
        while True:
            try:
                return await self._enrol(self._find())
            except ParadeError as error:
                waited = loop.time() - started
                self._give_up(error)
                if patience is not None and waited >= patience:
                    raise NotJoinedError(
                        f"{error}\nNo mesh to join after {waited:.0f} s. Start one with `parade dev`, then start the agent again."
                    ) from error
                if loop.time() - said >= SAY_EVERY:
                    said = loop.time()
                    self._log.warning("waiting for the mesh", why=error.message, waited=f"{waited:.0f}s")
            await asyncio.sleep(backoff.pause())

    def _give_up(self, error: ParadeError) -> None:
        if error.reason is Reason.UNAUTHENTICATED and self._given:
            raise NotJoinedError(
                f"{error}\nThe token in PARADE_JOIN_TOKEN is not accepted: it lets one instance in, once, and soon ends. Ask for a new one."
            ) from error
        if error.reason is Reason.UNAUTHENTICATED and self._token:
            self._token = ""  # it ended while the mesh was away; the next try makes another
            return
        if error.reason not in PASSING:
            raise NotJoinedError(f"The mesh does not let {self._agent} in: {error}") from error

    async def _enrol(self, mesh: MeshFile) -> Enrolled:
        roots = _trust_bundle(mesh)
        server_name = Identity.service("agent_manager", mesh.domain).server_name
        if not self._token:
            async with Channel(mesh.services["agent_manager"], mesh.certificates(), server_name, peer="agent_manager") as channel:
                created = await AgentManagerServiceStub(channel.for_stubs()).CreateJoinToken(
                    agent_manager_pb2.CreateJoinTokenRequest(agent=self._agent), timeout=RPC_TIMEOUT
                )
            self._token = created.token
        async with Channel(mesh.enrolment, None, server_name, trust_bundle=_pinned(self._token, roots), peer="agent_manager") as channel:
            response = await AgentManagerServiceStub(channel.for_stubs()).Enroll(
                agent_manager_pb2.EnrollRequest(token=self._token, csr=self._request), timeout=RPC_TIMEOUT
            )
        identity = Identity.parse(response.spiffe_id)
        if identity is None or identity.name != self._agent:
            raise ParadeError(Reason.PERMISSION_DENIED, f"the join token is for {response.spiffe_id}, not for an agent {self._agent!r}")
        certificates = Certificates(response.trust_bundle, response.certificate_chain, self._key)
        return Enrolled(identity, MemorySource(certificates), response.expire_time.ToDatetime(UTC), mesh)


async def keep_renewed(enrolled: Enrolled, channel: Channel, log: Log) -> None:
    """Renews the certificate with a fresh key at half of its life; where that failed again every minute, and faster towards its end.

    A try that failed is repeated with the same key: its answer may have been lost, and another key would look like a thief's.

    Raises:
        EnrolmentOverError: The certificate has ended, or will not be renewed.
        RevokedError: The mesh wants the instance out.
    """
    fresh: tuple[bytes, bytes] | None = None
    while True:
        left = (enrolled.expires - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise EnrolmentOverError("the certificate has expired")
        await asyncio.sleep(max(1.0, left / 2) if fresh is None else min(max(1.0, left / 2), LONGEST_RENEWAL_PAUSE))
        key, request = fresh = fresh or new_key_and_request()
        try:
            response = await AgentManagerServiceStub(channel.for_stubs()).RenewCertificate(
                agent_manager_pb2.RenewCertificateRequest(csr=request), timeout=RPC_TIMEOUT
            )
        except ParadeError as error:
            if error.reason not in PASSING:
                raise ended(error) from error
            log.warning("certificate not renewed; it will be tried again", why=error.message, expires=enrolled.expires.isoformat())
            continue
        fresh = None
        enrolled.source.replace(Certificates(response.trust_bundle, response.certificate_chain, key))
        enrolled.expires = response.expire_time.ToDatetime(UTC)
        log.debug("certificate renewed", expires=enrolled.expires.isoformat())


def ended(error: ParadeError) -> EnrolmentOverError | RevokedError:
    """Returns what it means for an instance that the mesh does not let it in any more."""
    if error.metadata.get(CERTIFICATE) == Refusal.REVOKED:
        return RevokedError(f"{error.message}\nWhoever runs the mesh can let another instance in, with a new join token.")
    return EnrolmentOverError(error.message)


def _pinned(token: str, roots: bytes) -> bytes:
    """Returns those of the mesh's roots to which a token may be shown."""
    try:
        pinned = pinned_roots(token, roots)
    except ValueError as error:
        raise ParadeError(Reason.INVALID_ARGUMENTS, f"the join token is not usable: {error}") from error
    if not pinned:
        raise ParadeError(
            Reason.PERMISSION_DENIED,
            "the join token is not for the mesh that was found: none of its roots is the one that the token names, so it was not sent. "
            "Look whether PARADE_MESH names the right mesh, or ask for a new token",
        )
    return pinned


def _trust_bundle(mesh: MeshFile) -> bytes:
    try:
        return (mesh.folder / mesh.trust_bundle).read_bytes()
    except OSError as error:
        raise ParadeError(Reason.UNAVAILABLE, f"the roots of the mesh cannot be read: {error}") from error
