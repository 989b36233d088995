"""The audit log of one service, as who asks for it sees it: entries, checkpoints, and whether it is what was written."""

from collections.abc import AsyncIterator, Iterable

from parade.v1 import audit_pb2, audit_pb2_grpc
from parade.wire.audit import Entry, Head
from parade.wire.replicas import Replicas

VERIFY_TIMEOUT = 3600.0
_PAGE = 1000


class AuditLog:
    """Reads it."""

    def __init__(self, service: str, replicas: Replicas) -> None:
        """Takes the service and how it is reached."""
        self.service = service
        self._stub = audit_pb2_grpc.AuditServiceStub(replicas.for_stubs())

    async def newest(self, wanted: audit_pb2.ListAuditRequest, limit: int) -> list[audit_pb2.AuditEntry]:
        """Returns entries of the caller's namespace, newest first.

        Args:
            wanted: Which; its page is chosen here.
            limit: How many at most.
        """
        entries: list[audit_pb2.AuditEntry] = []
        request = audit_pb2.ListAuditRequest()
        request.CopyFrom(wanted)
        request.service = self.service
        while len(entries) < limit:
            request.page_size = min(_PAGE, limit - len(entries))
            response = await self._stub.ListAudit(request)
            entries += response.entries
            request.page_token = response.next_page_token
            if not request.page_token:
                break
        return entries

    async def everything(self) -> AsyncIterator[audit_pb2.ExportAuditResponse]:
        """Yields the whole log, and at the end its checkpoint."""
        async for response in self._stub.ExportAudit(audit_pb2.ExportAuditRequest(service=self.service)):
            yield response

    async def verify(self, checkpoint: Iterable[Head] = ()) -> audit_pb2.VerifyAuditResponse:
        """Has the service read its whole log, and tells where it is not what was written.

        Args:
            checkpoint: Heads that its chains are known to have had.
        """
        heads = [audit_pb2.AuditHead(chain=head.chain, sequence=head.sequence, hash=head.hash) for head in checkpoint]
        request = audit_pb2.VerifyAuditRequest(service=self.service, heads=heads)
        return await self._stub.VerifyAudit(request, timeout=VERIFY_TIMEOUT)

    async def checkpoint(self) -> audit_pb2.AuditCheckpoint:
        """Returns where its chains end now."""
        response = await self._stub.GetAuditCheckpoint(audit_pb2.GetAuditCheckpointRequest(service=self.service))
        return response.checkpoint


def entry_of(message: audit_pb2.AuditEntry) -> Entry:
    """Reads an entry; of a sealed one only the place and the hashes are there."""
    kind = audit_pb2.AuditKind.Name(message.kind).removeprefix("AUDIT_KIND_")
    return Entry(
        message.chain, message.sequence, message.time.ToMicroseconds(), kind, message.action, message.subject, message.namespace,
        message.resource, message.facts, message.previous_hash, message.hash,
    )  # fmt: skip
