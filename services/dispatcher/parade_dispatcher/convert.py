"""Between the contracts and the model. Pure; what is wrong with a request becomes one error that names every bad field."""

import re
from collections.abc import Mapping
from functools import lru_cache

from google.protobuf.duration_pb2 import Duration

from parade.v1 import agent_pb2, call_approval_pb2, call_pb2, dispatcher_pb2, progress_pb2, session_pb2, value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade.wire.identity import NAME, Kind
from parade.wire.mandate import MOST_FUNCTIONS, is_pattern
from parade.wire.role_numbers import role_of
from parade.wire.roles import Role
from parade.wire.status import to_record
from parade_chassis.context import RequestContext, not_a_namespace
from parade_chassis.grants import lacking
from parade_dispatcher import model

LONGEST_KEY = 255
"""Characters of a key, or of an id."""
MOST_LABELS = 64
MOST_SECRETS = 64
LARGEST_SECRETS = 64 * 1024
"""Bytes that the secrets of a call may have together."""
LARGEST_WINDOW = 4 * 1024 * 1024
"""Bytes of items that a caller may ask for at once: what may have to be kept for one call whose caller does not read."""
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
TRUSTED = frozenset({Kind.GATEWAY, Kind.SCHEDULER})
"""Who is believed when they say whom a call in a session is for."""

_FULL_NAME = re.compile(r"([a-z][a-z0-9-]{0,39})\.([A-Za-z][A-Za-z0-9_-]{0,62})")
_is_call_id = re.compile(r"[A-Za-z0-9_-]{8,64}").fullmatch
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEDIA_TYPES = ("", "application/json")
_NO_ARGUMENTS = b"{}"
_FIELD_BYTES = 2
"""What a short text takes in a message beside itself."""

_CANCELLATIONS: Mapping[int, str] = {number: name.removeprefix("CANCELLATION_") for name, number in call_pb2.Cancellation.items()}


class Names:
    """Full names taken apart. Those taken apart before are remembered, up to a bound."""

    def __init__(self, capacity: int = 10_000) -> None:
        """Starts with none, and remembers so many."""
        self._capacity = capacity
        self._known: dict[str, tuple[str, str]] = {}

    def __call__(self, full_name: str) -> tuple[str, str] | None:
        """Returns the agent and the function; None where the name is malformed."""
        known = self._known.get(full_name)
        if known is not None:
            return known
        match = _FULL_NAME.fullmatch(full_name)
        if match is None:
            return None
        if len(self._known) >= self._capacity:
            self._known.clear()
        self._known[full_name] = known = (match[1], match[2])
        return known


_names = Names().__call__


@lru_cache(maxsize=1024)  # every step of a run is looked at
def _is_namespace(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def request(
    message: dispatcher_pb2.CallRequest | dispatcher_pb2.CallStreamRequest,
    context: RequestContext,
    namespace: str,
    time_remaining: float | None,
    *,
    window: int = 0,
    traceparent: str = "",
) -> model.Request:
    """Decodes what a caller asks for.

    Args:
        message: The request.
        context: Who asks.
        namespace: The namespace that the request acts in.
        time_remaining: Seconds until the RPC's deadline; None where it has none.
        window: The bytes of items that may come before more are asked for; 0 for no events.
        traceparent: The trace that the call belongs to.

    Raises:
        ParadeError: INVALID_ARGUMENTS naming each bad field.
    """
    faults: list[Violation] = []
    timeout = time_remaining
    if message.HasField("timeout"):
        asked = message.timeout.seconds + message.timeout.nanos / 1e9
        if asked <= 0:
            faults.append(Violation("timeout", "must be longer than nothing"))
        timeout = asked if timeout is None else min(timeout, asked)
    step = None
    if message.HasField("step"):
        step = model.Step(message.step.run_id, message.step.step, message.step.redelivered)
        faults.extend(Violation(f"step.{field}", "is missing") for field in ("run_id", "step") if not getattr(step, field))
    return _request(
        message.function,
        message.arguments,
        message.options,
        context,
        namespace,
        context.principal,
        timeout,
        step,
        window,
        traceparent,
        faults,
    )


def session_request(message: session_pb2.SessionCall, context: RequestContext, traceparent: str) -> model.Request:
    """Decodes what a caller asks for in a session.

    Args:
        message: The call.
        context: Who opened the session.
        traceparent: The trace that the call belongs to, as the instance is to see it.

    Raises:
        ParadeError: INVALID_ARGUMENTS naming each bad field; PERMISSION_DENIED where somebody says whom the call is for and may not.
    """
    faults: list[Violation] = []
    namespace, principal, step = context.namespace, context.principal, None
    value, options = message.arguments, message.options
    if message.HasField("origin"):
        if context.caller.kind not in TRUSTED:
            raise ParadeError(Reason.PERMISSION_DENIED, f"{context.caller.uri} may not say whom a call is for")
        origin = message.origin
        namespace, principal = origin.namespace or namespace, origin.principal or principal
        if namespace and not _is_namespace(namespace):
            faults.append(not_a_namespace("origin.namespace", namespace))
        if context.caller.kind is Kind.GATEWAY and role_of(origin.role) < Role.DEVELOPER:
            raise lacking(principal, namespace, role_of(origin.role), Role.DEVELOPER, "to call functions")
        run_id, name = origin.run_id, origin.step
        if run_id or name:
            step = model.Step(run_id, name, message.step_redelivered)
            if not (run_id and name):
                faults.append(Violation("origin.step" if run_id else "origin.run_id", "is missing"))
    if not namespace:
        faults.append(Violation("origin.namespace", f"is missing; {context.caller.name} must say for which namespace it asks"))
    window = message.window
    if window > LARGEST_WINDOW:
        faults.extend(too_wide(window).violations)
    timeout = message.timeout or None
    if timeout is not None and not timeout > 0:
        faults.append(Violation("timeout", "must be longer than nothing"))
    return _request(message.function, value, options, context, namespace, principal, timeout, step, window, traceparent, faults)


def too_wide(window: int) -> ParadeError:
    """Makes the error for a caller that asks for more at once than is kept for it."""
    return invalid([Violation("window", f"is {window:,} bytes; at most {LARGEST_WINDOW:,} may be asked for at once")])


def _request(
    full_name: str,
    value: value_pb2.Value,
    options: call_pb2.CallOptions,
    context: RequestContext,
    namespace: str,
    principal: str,
    timeout: float | None,
    step: model.Step | None,
    window: int,
    traceparent: str,
    faults: list[Violation],
) -> model.Request:
    name = _names(full_name)
    if name is None:
        faults.insert(0, Violation("function", f'must be "agent.function", not {full_name[:120]!r}'))
        name = ("", "")
    data = value.data
    arguments: model.Content = data or _NO_ARGUMENTS
    if not data:
        if value.HasField("artifact"):
            arguments = _artifact(value.artifact, faults)
    elif len(data) > MAX_VALUE_BYTES:
        size = f"is {len(data) / 2**20:.1f} MiB; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent"
        faults.append(Violation("arguments", size))
    media_type = value.media_type
    if media_type and media_type not in _MEDIA_TYPES:
        faults.append(Violation("arguments.media_type", f"must be application/json, not {media_type[:120]!r}"))
    agent, function = name
    call_id = options.call_id
    # By place: naming fields would take as long again.
    request = model.Request(agent, function, arguments, context.caller, namespace, principal, timeout, step, window, traceparent, call_id)
    if call_id and _is_call_id(call_id) is None:
        faults.append(Violation("options.call_id", 'must be 8 to 64 letters, digits, "_" or "-"'))
    # Most calls have an id and no other option, which their size tells: reading each would take longer than all the rest.
    if options.ByteSize() != (len(call_id) + _FIELD_BYTES if call_id else 0):
        _read_options(options, request, faults)
    if faults:
        raise invalid(faults)
    return request


def _read_options(options: call_pb2.CallOptions, request: model.Request, faults: list[Violation]) -> None:
    request.idempotency_key, request.affinity_key = options.idempotency_key, options.affinity_key
    request.parent_call_id, request.redelivered = options.parent_call_id, options.redelivered
    request.approval_wait = options.approval != call_approval_pb2.APPROVAL_MODE_FAIL
    request.priority = priority = options.priority
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        faults.append(Violation("options.priority", f"must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {priority}"))
    for field in ("idempotency_key", "affinity_key", "parent_call_id"):
        length = len(getattr(request, field))
        if length > LONGEST_KEY:
            faults.append(Violation(f"options.{field}", f"has {length} characters; at most {LONGEST_KEY} are taken"))
    if options.labels:
        request.labels = dict(options.labels)
        if len(request.labels) > MOST_LABELS:
            faults.append(Violation("options.labels", f"are {len(request.labels)}; at most {MOST_LABELS} are taken"))
    if options.secrets:
        request.secrets = tuple(filter(None, options.secrets))
        size = sum(len(secret.encode()) for secret in request.secrets)
        if len(options.secrets) > MOST_SECRETS:
            faults.append(Violation("options.secrets", f"are {len(options.secrets)}; at most {MOST_SECRETS} are taken"))
        elif size > LARGEST_SECRETS:
            faults.append(Violation("options.secrets", f"have {size:,} bytes together; at most {LARGEST_SECRETS:,} are taken"))
    if options.functions:
        request.functions = tuple(options.functions)
        faults.extend(_function_faults(request.functions))
    request.mandate = options.mandate


def _function_faults(functions: tuple[str, ...]) -> list[Violation]:
    if len(functions) > MOST_FUNCTIONS:
        return [Violation("options.functions", f"are {len(functions)}; at most {MOST_FUNCTIONS} are taken")]
    how = 'must be "agent.function", "agent.*" or "*"'
    return [Violation("options.functions", f"{how}, not {one[:120]!r}") for one in functions if is_pattern(one) is None]


def answer(outcome: model.Answer) -> dispatcher_pb2.CallResponse:
    """Encodes a result."""
    response = dispatcher_pb2.CallResponse(call_id=outcome.call_id, instance_id=outcome.instance_id, timing=timing(outcome.timing))
    if outcome.result is not None:
        put(response.result, outcome.result)
    return response


def timing(took: model.Timing) -> call_pb2.Timing:
    """Encodes where the time went."""
    return call_pb2.Timing(queued=_duration(took.queued), transport=_duration(took.transport), executing=_duration(took.executing))


def session_failure(error: ParadeError, took: model.Timing | None = None) -> session_pb2.SessionResult:
    """Encodes how a call in a session failed."""
    message = session_pb2.SessionResult(
        error=to_record(error), call_id=error.metadata.get("call_id", ""), instance_id=error.metadata.get("instance", "")
    )
    if took is not None:
        message.queued_us = int(took.queued * 1e6)
        message.transport_us = int(took.transport * 1e6)
        message.executing_us = int(took.executing * 1e6)
    return message


def invoke_request(call: model.Call, mandate: bytes) -> agent_pb2.InvokeRequest:
    """Encodes what an instance is asked to run, and by which mandate."""
    origin = _origin(call, mandate)
    return agent_pb2.InvokeRequest(call_id=call.id, function=call.function, arguments=value(call.arguments), origin=origin)


def invoke_stream_request(call: model.Call, mandate: bytes) -> agent_pb2.InvokeStreamRequest:
    """Encodes what an instance is asked to run and to tell of, and by which mandate."""
    origin = _origin(call, mandate)
    return agent_pb2.InvokeStreamRequest(call_id=call.id, function=call.function, arguments=value(call.arguments), origin=origin)


def returned(message: value_pb2.Value, name: str) -> model.Content:
    """Decodes a value that an instance gave.

    Args:
        message: The value.
        name: What to call it in errors: `result` or `item`.

    Raises:
        ParadeError: AGENT_ERROR where it is not JSON by its own word, or names no artifact.
    """
    data, media_type = message.data, message.media_type
    if media_type not in _MEDIA_TYPES:
        raise ParadeError(Reason.AGENT_ERROR, f"the {name} is {media_type[:120]!r}; only application/json is taken")
    if data or not message.HasField("artifact"):
        return data
    faults: list[Violation] = []
    artifact = _artifact(message.artifact, faults)
    if faults:
        raise ParadeError(Reason.AGENT_ERROR, f"the {name} names no artifact", violations=faults)
    return artifact


def value(content: model.Content) -> value_pb2.Value:
    """Encodes a value."""
    message = value_pb2.Value()
    put(message, content)
    return message


def put(message: value_pb2.Value, content: model.Content) -> None:
    """Encodes a value in place."""
    if isinstance(content, bytes):
        message.data = content
    else:
        message.artifact.digest, message.artifact.size, message.artifact.media_type = content.digest, content.size, content.media_type


def progress(message: progress_pb2.Progress) -> model.Progress:
    """Decodes how far a call has come."""
    return model.Progress(message.fraction, message.message)


def progress_message(told: model.Progress) -> progress_pb2.Progress:
    """Encodes how far a call has come."""
    return progress_pb2.Progress(fraction=told.fraction, message=told.message)


def cancellation(number: int) -> str:
    """Decodes how far a cancellation has come."""
    return _CANCELLATIONS.get(number, "UNSPECIFIED")


def cancellation_number(state: str) -> call_pb2.Cancellation.ValueType:
    """Encodes how far a cancellation has come."""
    return call_pb2.Cancellation.Value(f"CANCELLATION_{state}")


def _artifact(message: value_pb2.ArtifactReference, faults: list[Violation]) -> model.Artifact:
    if _DIGEST.fullmatch(message.digest) is None:
        faults.append(Violation("artifact.digest", 'must be "sha256:" and 64 hexadecimal digits'))
    return model.Artifact(message.digest, message.size, message.media_type)


def _origin(call: model.Call, mandate: bytes) -> call_pb2.CallOrigin:
    return call_pb2.CallOrigin(namespace=call.namespace, principal=call.principal, run_id=call.run_id, step=call.step, mandate=mandate)


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
