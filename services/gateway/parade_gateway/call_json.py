"""Calls in JSON: arguments are cut out of a request's body as they came, and results are put into an answer as they came."""

import json
import re
from typing import Any

import orjson

from parade.v1 import dispatcher_pb2, session_pb2
from parade.wire.errors import ParadeError, Violation
from parade_gateway.transcode import decode, item_bytes

ARGUMENTS = "arguments"

_skip: Any = re.compile(r"[ \t\n\r]*").match


def _refuse(name: str) -> Any:
    raise ValueError(name)


_decoder: Any = json.JSONDecoder(parse_constant=_refuse)
_scan = _decoder.scan_once
"""Reads the value that begins at a place of a text; returns it and where it ends."""


def cut(body: bytes) -> tuple[bytes | None, dict[str, Any]] | None:
    """Cuts a JSON object in two: the bytes of its arguments, as they came, and its other members.

    Returns:
        Both; None for the bytes where there are no arguments. None alone for what is not as it should be: the careful reader of `transcode`
        then says why.
    """
    try:
        text = body.decode()
        raw = None
        rest: dict[str, Any] = {}
        at = _after(text, 0, "{")
        more = text[at] != "}"
        while more:
            key, at = _scan(text, at)
            begin = _after(text, at, ":")
            value, end = _scan(text, begin)
            if not isinstance(key, str) or key in rest or (key == ARGUMENTS and raw is not None):
                return None
            if key == ARGUMENTS:
                raw = body[begin:end] if len(body) == len(text) else text[begin:end].encode()
            else:
                rest[key] = value
            at = _skip(text, end).end()
            more = text[at] == ","
            if more:
                at = _skip(text, at + 1).end()
        if _after(text, at, "}") != len(text):
            return None
        if raw is not None:
            orjson.loads(raw)  # refuses what the careful reader does too: half a surrogate pair, a number that is too large
    except (ValueError, IndexError, StopIteration, RecursionError):
        return None
    return raw, rest


def read(document: dict[str, Any], function: str, faults: list[Violation], place: str = "") -> dispatcher_pb2.CallRequest:
    """Reads what a call says beside its arguments.

    Args:
        document: The members of its JSON object.
        function: The function that stands in the path; empty where none does.
        faults: Where what is wrong is put.
        place: What goes before the name of every field in them.
    """
    request = dispatcher_pb2.CallRequest()
    if function and document.get("function", function) != function:
        faults.append(Violation(f"{place}function", f"is {function} in the path"))
    try:
        decode({key: value for key, value in document.items() if key != "function" or not function}, request)
    except ParadeError as error:
        faults.extend(Violation(place + fault.field, fault.description) for fault in error.violations)
    return request


def arguments_of(document: dict[str, Any], faults: list[Violation], place: str) -> bytes | None:
    """Takes the arguments out of a call's JSON object and returns their bytes; None where there are none."""
    if ARGUMENTS not in document:
        return None
    return item_bytes(document.pop(ARGUMENTS), place + ARGUMENTS, faults)


def response(call: session_pb2.SessionCall, result: session_pb2.SessionResult, value: bytes | None) -> bytes:
    """Writes what came of a call, as `transcode` writes a `parade.v1.CallResponse`.

    Args:
        call: The call, whose id was made here or came from the client.
        result: What came.
        value: The result's JSON; None where there is none.
    """
    shown = b'"result":%b,' % value if value is not None else b""
    return b'{%b"callId":%b,"instanceId":%b,"timing":{"queued":"%b","transport":"%b","executing":"%b"}}' % (
        shown,
        orjson.dumps(result.call_id or call.options.call_id),
        orjson.dumps(result.instance_id),
        seconds(result.queued_us),
        seconds(result.transport_us),
        seconds(result.executing_us),
    )


def seconds(microseconds: int) -> bytes:
    """Writes a duration as protobuf's JSON does: with 0, 3 or 6 digits of a second's parts."""
    whole, part = divmod(microseconds, 1_000_000)
    if part == 0:
        return b"%ds" % whole
    return b"%d.%03ds" % (whole, part // 1000) if part % 1000 == 0 else b"%d.%06ds" % (whole, part)


def _after(text: str, at: int, token: str) -> int:
    """Returns where to go on after a token, and after spaces around it."""
    at = _skip(text, at).end()
    if text[at] != token:
        raise ValueError(token)
    end: int = _skip(text, at + 1).end()
    return end
