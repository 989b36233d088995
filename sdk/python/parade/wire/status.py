"""`ParadeError` on the wire: as `google.rpc.Status` with `ErrorInfo` and `BadRequest`, and back. No credential leaves in its words."""

from collections.abc import Iterable

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from parade.v1 import error_pb2
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.redaction import scrubbed

DOMAIN = "parade"
DETAILS_KEY = "grpc-status-details-bin"
"""The trailer in which gRPC carries a `google.rpc.Status`."""

CODES: dict[Reason, grpc.StatusCode] = {
    Reason.INVALID_ARGUMENTS: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNKNOWN_FUNCTION: grpc.StatusCode.NOT_FOUND,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NO_CAPACITY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.CANCELLED: grpc.StatusCode.CANCELLED,
    Reason.AGENT_ERROR: grpc.StatusCode.UNKNOWN,
    Reason.AGENT_LOST: grpc.StatusCode.UNAVAILABLE,
    Reason.OUTCOME_UNKNOWN: grpc.StatusCode.ABORTED,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.APPROVAL_REQUIRED: grpc.StatusCode.ABORTED,
}
"""The gRPC code of each reason. Several reasons share a code, so the reason itself travels in the details."""

_REASONS: dict[grpc.StatusCode, Reason] = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_ARGUMENTS,
    grpc.StatusCode.OUT_OF_RANGE: Reason.INVALID_ARGUMENTS,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Reason.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.NO_CAPACITY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: Reason.CANCELLED,
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
}
"""What a status without details means: one made by gRPC itself, or by a server that is not ours."""


def to_status(error: ParadeError) -> status_pb2.Status:
    """Encodes an error as `google.rpc.Status`."""
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=_facts(error))
    info.metadata["retryable"] = "true" if error.retryable else "false"
    details = [_packed(info)]
    if error.violations:
        details.append(
            _packed(error_details_pb2.BadRequest(field_violations=[_field_violation(violation) for violation in error.violations]))
        )
    return status_pb2.Status(code=CODES[error.reason].value[0], message=scrubbed(error.message), details=details)


def from_status(status: status_pb2.Status) -> ParadeError:
    """Decodes a `google.rpc.Status`, ours or anybody's."""
    reason = _REASONS.get(_code(status.code), Reason.INTERNAL)
    violations: list[Violation] = []
    metadata: dict[str, str] = {}
    retryable: bool | None = None
    for detail in status.details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN:
            metadata = dict(info.metadata)
            retryable = metadata.pop("retryable", "false") == "true"
            reason = Reason.named(info.reason, reason)
        elif detail.Unpack(bad_request):
            violations.extend(_violation(item) for item in bad_request.field_violations)
    return ParadeError(reason, status.message, violations=violations, metadata=metadata, retryable=retryable)


def from_rpc_error(error: grpc.aio.AioRpcError, *, service: str = "") -> ParadeError:
    """Decodes what a failed RPC raised. `service` names the peer in the message when it could not be reached."""
    code = error.code()
    text = error.details() or ""
    encoded = _details(error.trailing_metadata() or ())
    if encoded:
        try:
            return from_status(status_pb2.Status.FromString(encoded))
        except DecodeError:
            pass
    reason = _REASONS.get(code, Reason.INTERNAL)
    if reason is Reason.UNAVAILABLE and service:
        text = f"{service} cannot be reached: {text}"
    if reason is Reason.DEADLINE_EXCEEDED and not text:
        text = "the deadline passed"
    return ParadeError(reason, text or code.name)


def to_record(error: ParadeError) -> error_pb2.Error:
    """Encodes an error for the record, for example in a run."""
    return error_pb2.Error(
        reason=error_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason.value}"),
        message=scrubbed(error.message),
        violations=[
            error_pb2.Violation(field=scrubbed(v.field), description=scrubbed(v.description), line=v.line) for v in error.violations
        ],
        metadata=_facts(error),
        retryable=error.retryable,
    )


def from_record(record: error_pb2.Error) -> ParadeError:
    """Decodes an error from the record."""
    known = record.reason in error_pb2.ErrorReason.values()
    name = error_pb2.ErrorReason.Name(record.reason).removeprefix("ERROR_REASON_") if known else ""
    return ParadeError(
        Reason.named(name, Reason.INTERNAL),
        record.message,
        violations=[Violation(v.field, v.description, v.line) for v in record.violations],
        metadata=record.metadata,
        retryable=record.retryable,
    )


def _facts(error: ParadeError) -> dict[str, str]:
    return {name: scrubbed(value) for name, value in error.metadata.items()}


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _field_violation(violation: Violation) -> error_details_pb2.BadRequest.FieldViolation:
    # FieldViolation has no place for a line; its `reason` is free for the domain's use.
    return error_details_pb2.BadRequest.FieldViolation(
        field=scrubbed(violation.field),
        description=scrubbed(violation.description),
        reason=f"LINE_{violation.line}" if violation.line else "",
    )


def _violation(item: error_details_pb2.BadRequest.FieldViolation) -> Violation:
    line = item.reason.removeprefix("LINE_")
    return Violation(item.field, item.description, int(line) if line.isdecimal() else 0)


def _code(number: int) -> grpc.StatusCode:
    return next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    return next((value for key, value in metadata if key == DETAILS_KEY and isinstance(value, bytes)), b"")
