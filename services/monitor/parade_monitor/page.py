"""Page tokens: a place in the order of log records, sealed to the question that it was given for."""

import base64
import binascii
import hashlib
import struct

from parade_monitor.model import LogFilter, Position

_PLACE = struct.Struct(">QQ8s")


def to_token(position: Position, wanted: LogFilter) -> str:
    """Encodes the place of the last record that was returned for `wanted`."""
    return base64.urlsafe_b64encode(_PLACE.pack(position.time, position.id, _digest(wanted))).decode().rstrip("=")


def from_token(token: str, wanted: LogFilter) -> Position | None:
    """Decodes a token; None where it is none, or was given for another question."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        time, number, digest = _PLACE.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        return None
    if digest != _digest(wanted) or max(time, number) >= 2**63:
        return None
    return Position(time, number)


def _digest(wanted: LogFilter) -> bytes:
    return hashlib.blake2b(repr(wanted).encode(), digest_size=8).digest()
