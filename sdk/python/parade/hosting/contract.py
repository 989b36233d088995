"""An agent's functions as messages of the contract."""

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from parade.function import Function
from parade.retry_policy import RetryPolicy
from parade.v1 import function_pb2, value_pb2

_EFFECTS = {
    "pure": function_pb2.EFFECT_PURE,
    "idempotent": function_pb2.EFFECT_IDEMPOTENT,
    "effect": function_pb2.EFFECT_EFFECT,
}


def functions(served: Iterable[Function]) -> list[function_pb2.Function]:
    """Encodes functions as an agent registers them."""
    return [_function(function) for function in served]


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
        durable=function.durable,
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
