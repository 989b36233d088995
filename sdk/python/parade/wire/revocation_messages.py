"""Revocations as the contract writes them; pure."""

from parade.v1 import certificate_pb2
from parade.wire.revocations import Revocation


def from_message(message: certificate_pb2.Revocation) -> Revocation | None:
    """Reads a revocation; None where it is of a kind that this version of Parade does not know."""
    until, reason = message.expire_time.ToNanoseconds() / 1e9, message.reason
    match message.WhichOneof("subject"):
        case "serial" if message.serial:
            return Revocation(until, reason, serial=message.serial)
        case "spiffe_id" if message.spiffe_id:
            return Revocation(until, reason, spiffe_id=message.spiffe_id)
    return None
