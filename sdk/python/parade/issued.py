"""The certificates that a mesh has issued, as a client sees them: a part of `parade.Mesh`."""

from typing import TYPE_CHECKING, Literal

from parade.pages import first
from parade.patience import patiently
from parade.v1 import certificate_pb2

if TYPE_CHECKING:
    from parade.v1.agent_manager_pb2_grpc import AgentManagerServiceAsyncStub

CertificateStateName = Literal["active", "superseded", "revoked", "expired"]
"""Whether a certificate is believed."""


class Issued:
    """Who holds a certificate, and who shall not; for admins. Answers come as the messages of `parade.v1`."""

    _agent_manager: "AgentManagerServiceAsyncStub"

    async def certificates(
        self, spiffe_id: str = "", *, state: CertificateStateName | None = None, limit: int = 1000
    ) -> list[certificate_pb2.Certificate]:
        """Returns the certificates that instances have been given, by serial number.

        Args:
            spiffe_id: Only those of this identity.
            state: Only those in this state.
            limit: How many at most.

        Raises:
            ParadeError: PERMISSION_DENIED.
        """
        number = certificate_pb2.CertificateState.Value(f"CERTIFICATE_STATE_{(state or 'unspecified').upper()}")
        request = certificate_pb2.ListCertificatesRequest(spiffe_id=spiffe_id, state=number)
        return await first(self._agent_manager.ListCertificates, request, "certificates", limit)

    async def revoke(self, subject: str, *, reason: str = "") -> certificate_pb2.Revocation:
        """Revokes a certificate, or an identity with all its certificates, for good: within 10 seconds nobody lets it in.

        Args:
            subject: The certificate's serial number in hexadecimal digits, or the identity's SPIFFE id.
            reason: Why; the holder is told.

        Raises:
            ParadeError: INVALID_ARGUMENTS; NOT_FOUND; PERMISSION_DENIED; FAILED_PRECONDITION (it is this client itself).
        """
        field = "spiffe_id" if subject.startswith("spiffe://") else "serial"
        request = certificate_pb2.RevokeCertificateRequest(**{field: subject}, reason=reason)
        response = await patiently(lambda: self._agent_manager.RevokeCertificate(request))
        return response.revocation
