"""An agent's functions and calls as messages of the contract, and back."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from parade.function import Function
from parade.hosting.executor import Call
from parade.hosting.reports import Note
from parade.retry_policy import RetryPolicy
from parade.v1 import agent_pb2, function_pb2, progress_pb2, value_pb2
from parade.wire.errors import ParadeError, Reason, Violation
from parade.wire.telemetry import remote_parent

JSON = "application/json"

_EFFECTS = {
    "pure": function_pb2.EFFECT_PURE,
    "idempotent": function_pb2.EFFECT_IDEMPOTENT,
    "effect": function_pb2.EFFECT_EFFECT,
}


def functions(served: Iterable[Function]) -> list[function_pb2.Function]:
    """Encodes functions as an agent registers them."""
    return [_function(function) for function in served]


def call(request: agent_pb2.InvokeRequest | agent_pb2.InvokeStreamRequest, context: Any) -> Call:
    """Decodes a call.

    Args:
        request: The request.
        context: gRPC's context of the RPC, for the deadline and the caller's span.

    Raises:
        ParadeError: INVALID_ARGUMENTS where the arguments are not JSON by their media type.
    """
    if request.arguments.media_type not in ("", JSON):
        fault = Violation("arguments", f"are {request.arguments.media_type}; only {JSON} is accepted")
        raise ParadeError(Reason.INVALID_ARGUMENTS, "the arguments are not JSON", violations=[fault])
    metadata = dict(context.invocation_metadata() or ())
    return Call(
        call_id=request.call_id,
        function=request.function,
        arguments=request.arguments.data,
        namespace=request.origin.namespace,
        principal=request.origin.principal,
        run_id=request.origin.run_id,
        step=request.origin.step,
        remaining=context.time_remaining(),
        parent=remote_parent(lambda key: value if isinstance(value := metadata.get(key), str) else None),
    )


def event(said: Note | bytes) -> agent_pb2.InvokeStreamResponse:
    """Encodes a progress note or an item."""
    if isinstance(said, Note):
        return agent_pb2.InvokeStreamResponse(progress=progress_pb2.Progress(fraction=said.fraction, message=said.message))
    return agent_pb2.InvokeStreamResponse(item=value_pb2.Value(data=said))


def _function(function: Function) -> function_pb2.Function:
    return function_pb2.Function(
        name=function.name,
        description=function.description,
        arguments_schema=value_pb2.Value(data=function.arguments_schema),
        result_schema=value_pb2.Value(data=function.result_schema),
        effect=_EFFECTS[function.effect],
        timeout=_duration(function.timeout),
        streaming=function.streaming,
        retry=_retry(function.retry) if function.retry is not None else None,
    )


def _retry(policy: RetryPolicy) -> function_pb2.RetryPolicy:
    return function_pb2.RetryPolicy(
        max_attempts=policy.max_attempts,
        initial_backoff=_duration(policy.initial_backoff),
        max_backoff=_duration(policy.max_backoff),
        multiplier=policy.multiplier,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
