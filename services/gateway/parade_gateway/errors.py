"""Failures as HTTP shows them: the status of a `google.rpc.Status`, and its JSON as the body.

Sources: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto for the HTTP status of each code,
https://google.aip.dev/193 for the body.
"""

import math
import re
from collections.abc import Mapping

import grpc
import orjson
from google.protobuf.json_format import MessageToDict

from parade.wire.errors import ParadeError, Reason
from parade.wire.status import CODES, to_status

CLIENT_CLOSED_REQUEST = 499

HTTP_STATUSES: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNKNOWN: 422,  # AGENT_ERROR, see below
    grpc.StatusCode.CANCELLED: CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""The HTTP status of every code that a reason has.

All are those of the code but one. UNKNOWN is AGENT_ERROR alone: a function raised. Neither the gateway nor the mesh is at fault, and what
stands in between sends a request that was answered by 5xx again (502 to 504 first of all), which a function with effects must not see.
"""

DEFAULT_RETRY_AFTER = 1
"""Seconds to wait where a refusal for want of capacity does not say how long."""


class HttpError(ParadeError):
    """A failure of HTTP's own, whose status follows from no reason: a wrong method, a body too large.

    Attributes:
        status: The HTTP status.
        headers: Headers that belong to it.
    """

    def __init__(self, status: int, reason: Reason, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Makes the error."""
        super().__init__(reason, message)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: ParadeError) -> int:
    """Returns the HTTP status that an error is shown as."""
    return error.status if isinstance(error, HttpError) else HTTP_STATUSES[CODES[error.reason]]


def headers_of(error: ParadeError) -> dict[str, str]:
    """Returns the headers that go with an error."""
    if isinstance(error, HttpError):
        return error.headers
    if error.reason is Reason.NO_CAPACITY:
        return {"retry-after": str(_seconds(error.metadata.get("retry_after", "")))}
    return {}


def body_of(error: ParadeError) -> bytes:
    """Returns the body: `{"error": {"code", "status", "message", "details"}}`."""
    encoded = MessageToDict(to_status(error))
    status = CODES[error.reason].name
    body = {"code": status_of(error), "status": status, "message": encoded.get("message", ""), "details": encoded.get("details", [])}
    return orjson.dumps({"error": body})


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)s?", text)
    return max(1, math.ceil(float(match.group(1)))) if match else DEFAULT_RETRY_AFTER
