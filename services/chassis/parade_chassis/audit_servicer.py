"""AuditService: decodes, asks the audit log, encodes. Every service that has a log serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from parade.v1 import audit_pb2 as pb
from parade.v1 import audit_pb2_grpc
from parade.wire.audit import Entry, Head
from parade.wire.errors import Violation, invalid
from parade.wire.roles import EVERYWHERE, Role
from parade_chassis import paging
from parade_chassis.context import OUTSIDERS, current, required_namespace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    import grpc

    from parade_chassis.audit_log import AuditLog
    from parade_chassis.clock import Clock
    from parade_chassis.grants import Grants

    Context = grpc.aio.ServicerContext[Any, Any]

HASH_BYTES: Final = 32


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """What `audit.proto` says."""

    def __init__(self, service: str, log: AuditLog | Callable[[], Awaitable[AuditLog]], clock: Clock, grants: Grants) -> None:
        """Takes the service that it belongs to, its log or what opens it, the time, and who is admin of all namespaces."""
        self._service = service
        self._opened = log
        self._clock = clock
        self._grants = grants

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:
        """See the contract."""
        self._check_service(request.service)
        namespace, everywhere = required_namespace(), self._is_everywhere()
        wanted = {name: value for name in ("action", "subject", "resource") if (value := getattr(request, name))}
        if request.kind not in pb.AuditKind.values():
            raise invalid([Violation("kind", "is none that this version knows")])
        if request.kind:
            wanted["kind"] = pb.AuditKind.Name(request.kind).removeprefix("AUDIT_KIND_")
        scope = f"audit {self._service} {namespace} {everywhere} {sorted(wanted.items())}"
        size, last = paging.size_of(request.page_size), paging.last_of(scope, request.page_token)
        log = await self._log()
        before = _places(last)
        found = await log.newest(namespace, wanted, before, size + 1, nowhere=everywhere)
        page, more = paging.page_of(found, size, scope, lambda entry: str(entry.sequence), lambda entry: 300 + 4 * len(entry.facts))
        # Each chain goes on where this page left it.
        before |= {entry.chain: entry.sequence for entry in page}
        return pb.ListAuditResponse(entries=map(_message, page), next_page_token=_token(scope, before) if more else "")

    async def ExportAudit(self, request: pb.ExportAuditRequest, context: Context) -> AsyncIterator[pb.ExportAuditResponse]:
        """See the contract."""
        self._check_service(request.service)
        shown = (required_namespace(), "") if self._is_everywhere() else (required_namespace(),)
        log = await self._log()
        heads = await log.heads()
        checkpoint = self._checkpoint(heads)
        async for entries in log.everything(heads):
            for entry in entries:
                yield pb.ExportAuditResponse(entry=_message(entry) if entry.namespace in shown else _sealed(entry))
        yield pb.ExportAuditResponse(checkpoint=checkpoint)

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        """See the contract."""
        self._check_service(request.service)
        checkpoint = _heads(request.heads)
        log = await self._log()
        count, faults, heads = await log.verify(checkpoint)
        return pb.VerifyAuditResponse(
            entry_count=count, faults=[pb.AuditFault(**fault._asdict()) for fault in faults], checkpoint=self._checkpoint(heads)
        )

    async def GetAuditCheckpoint(self, request: pb.GetAuditCheckpointRequest, context: Context) -> pb.GetAuditCheckpointResponse:
        """See the contract."""
        self._check_service(request.service)
        log = await self._log()
        return pb.GetAuditCheckpointResponse(checkpoint=self._checkpoint(await log.heads()))

    async def _log(self) -> AuditLog:
        return await self._opened() if callable(self._opened) else self._opened

    def _is_everywhere(self) -> bool:
        """Tells whether who asks is admin of all namespaces, and sees entries of none too: of services, and of whom nobody knows."""
        request = current()
        return request.caller.kind in OUTSIDERS and self._grants.role_of(request.principal, EVERYWHERE) is Role.ADMIN

    def _check_service(self, service: str) -> None:
        if service not in ("", self._service):
            raise invalid([Violation("service", f"is another one; this is the {self._service}")])

    def _checkpoint(self, heads: Mapping[int, Head]) -> pb.AuditCheckpoint:
        ends = [pb.AuditHead(chain=head.chain, sequence=head.sequence, hash=head.hash) for _, head in sorted(heads.items())]
        made = pb.AuditCheckpoint(service=self._service, heads=ends)
        made.time.FromDatetime(self._clock.now())
        return made


def _heads(messages: Sequence[pb.AuditHead]) -> list[Head]:
    faults = [
        Violation(f"heads[{place}]", f"is no end of a chain: a sequence from 1 on, and {HASH_BYTES} bytes of hash")
        for place, head in enumerate(messages)
        if head.chain < 0 or head.sequence < 1 or len(head.hash) != HASH_BYTES
    ]
    if faults:
        raise invalid(faults)
    return [Head(head.chain, head.sequence, 0, head.hash) for head in messages]


def _message(entry: Entry) -> pb.AuditEntry:
    # Only a log that somebody has tampered with holds what is no text, or of no kind.
    texts = {
        name: getattr(entry, name).encode("utf-8", "replace").decode() for name in ("action", "subject", "namespace", "resource", "facts")
    }
    name = f"AUDIT_KIND_{entry.kind}"
    kind = pb.AuditKind.Value(name) if name in pb.AuditKind.keys() else pb.AUDIT_KIND_UNSPECIFIED  # noqa: SIM118  # no mapping
    message = pb.AuditEntry(
        chain=entry.chain, sequence=entry.sequence, kind=kind, previous_hash=entry.previous_hash, hash=entry.hash, **texts
    )
    message.time.FromMicroseconds(entry.time)
    return message


def _sealed(entry: Entry) -> pb.AuditEntry:
    return pb.AuditEntry(chain=entry.chain, sequence=entry.sequence, previous_hash=entry.previous_hash, hash=entry.hash, sealed=True)


def _token(scope: str, before: Mapping[int, int]) -> str:
    return paging.token_of(scope, " ".join(f"{chain}:{sequence}" for chain, sequence in sorted(before.items())))


def _places(last: str) -> dict[int, int]:
    """Returns the sequence by chain before which a page ended."""
    return {paging.whole(chain): paging.whole(sequence) for chain, _, sequence in (place.partition(":") for place in last.split())}
