"""How long a request may take: what its caller says in `x-request-timeout`, else what the request itself says, else a default."""

import re
from collections.abc import Mapping

from google.protobuf.message import Message

from parade.wire.channel import DEFAULT_TIMEOUT
from parade.wire.errors import Violation, invalid

HEADER = "x-request-timeout"
MARGIN = 5.0
"""Seconds beyond the request's own `timeout` or `wait`, so that the service that keeps it can answer that it passed."""
DEFAULT_WAIT = 60.0
"""Seconds that a request with a `timeout` field waits where it is not set: the default of WaitRun."""
LONGEST = 3600.0


def timeout(headers: Mapping[str, str], request: Message, *, streams: bool) -> float | None:
    """Returns the seconds that an RPC may take; None for a stream without a limit.

    Raises:
        ParadeError: INVALID_ARGUMENTS where the header cannot be read.
    """
    said = stated(headers)
    if said is not None:
        return said
    fields = request.DESCRIPTOR.fields_by_name
    for field in ("timeout", "wait"):
        if field in fields and request.HasField(field):
            return max(0.0, min(float(getattr(request, field).ToTimedelta().total_seconds()), LONGEST)) + MARGIN
    if streams:
        return None
    return DEFAULT_WAIT + MARGIN if "timeout" in fields else DEFAULT_TIMEOUT


def stated(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds that a request's header allows it; None where it has none.

    Raises:
        ParadeError: INVALID_ARGUMENTS where the header cannot be read.
    """
    text = headers.get(HEADER)
    return None if text is None else _seconds(text)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s)?", text.strip())
    seconds = float(match.group(1)) / (1000 if match.group(2) == "ms" else 1) if match else 0.0
    if not 0 < seconds <= LONGEST:
        raise invalid([Violation(HEADER, 'must be above 0 and at most an hour, as "5s" or "250ms"')])
    return seconds
