"""Between the contracts and the model. Pure; what is wrong with a request becomes one error that names every bad field."""

import re

from parade.v1 import agent_manager_pb2, agent_pb2, call_pb2, dispatcher_pb2, function_pb2, progress_pb2, value_pb2
from parade.wire.channel import MAX_VALUE_BYTES
from parade.wire.errors import ParadeError, Reason, Violation, invalid
from parade_chassis.context import RequestContext
from parade_dispatcher import model

_FULL_NAME = re.compile(r"([a-z][a-z0-9-]{0,39})\.([A-Za-z][A-Za-z0-9_-]{0,62})")
_MEDIA_TYPES = ("", "application/json")
_NO_ARGUMENTS = b"{}"

_EFFECTS = {function_pb2.EFFECT_PURE: model.Effect.PURE, function_pb2.EFFECT_IDEMPOTENT: model.Effect.IDEMPOTENT}
_INSTANCE_STATES = {agent_manager_pb2.InstanceState.Value(f"INSTANCE_STATE_{state}"): state for state in model.InstanceState}


def request(
    message: dispatcher_pb2.CallRequest | dispatcher_pb2.CallStreamRequest,
    context: RequestContext,
    namespace: str,
    time_remaining: float | None,
) -> model.Request:
    """Decodes what a caller asks for.

    Args:
        message: The request.
        context: Who asks.
        namespace: The namespace that the request acts in.
        time_remaining: Seconds until the RPC's deadline; None where it has none.

    Raises:
        ParadeError: INVALID_ARGUMENTS naming each bad field.
    """
    faults = []
    name = _FULL_NAME.fullmatch(message.function)
    if name is None:
        faults.append(Violation("function", f'must be "agent.function", not {message.function[:120]!r}'))
    value = message.arguments
    if value.media_type not in _MEDIA_TYPES:
        faults.append(Violation("arguments.media_type", f"must be application/json, not {value.media_type[:120]!r}"))
    if len(value.data) > MAX_VALUE_BYTES:
        faults.append(Violation("arguments", f"is {len(value.data) / 2**20:.1f} MiB; at most {MAX_VALUE_BYTES // 2**20} MiB can be sent"))
    timeout = time_remaining
    if message.HasField("timeout"):
        asked = message.timeout.seconds + message.timeout.nanos / 1e9
        if asked <= 0:
            faults.append(Violation("timeout", "must be longer than nothing"))
        timeout = asked if timeout is None else min(timeout, asked)
    step = model.Step(message.step.run_id, message.step.step, message.step.redelivered) if message.HasField("step") else None
    if step is not None:
        faults.extend(Violation(f"step.{field}", "is missing") for field in ("run_id", "step") if not getattr(step, field))
    if faults or name is None:
        raise invalid(faults)
    return model.Request(
        agent=name[1],
        function=name[2],
        arguments=value.data or _NO_ARGUMENTS,
        caller=context.caller,
        namespace=namespace,
        principal=context.principal,
        timeout=timeout,
        step=step,
    )


def answer(outcome: model.Answer) -> dispatcher_pb2.CallResponse:
    """Encodes a result."""
    return dispatcher_pb2.CallResponse(result=_value(outcome.result), call_id=outcome.call_id, instance_id=outcome.instance_id)


def event(told: model.Event) -> dispatcher_pb2.CallStreamResponse:
    """Encodes what a caller is told of its call."""
    match told:
        case model.Assigned(call_id, instance_id):
            assigned = dispatcher_pb2.CallStreamResponse.Assigned(call_id=call_id, instance_id=instance_id)
            return dispatcher_pb2.CallStreamResponse(assigned=assigned)
        case model.Progress(fraction, message):
            return dispatcher_pb2.CallStreamResponse(progress=progress_pb2.Progress(fraction=fraction, message=message))
        case model.Item(data):
            return dispatcher_pb2.CallStreamResponse(item=_value(data))
        case model.Result(data):
            return dispatcher_pb2.CallStreamResponse(result=_value(data))


def invoke_request(call: model.Call) -> agent_pb2.InvokeRequest:
    """Encodes what an instance is asked to run."""
    return agent_pb2.InvokeRequest(call_id=call.id, function=call.function, arguments=_value(call.arguments), origin=_origin(call))


def invoke_stream_request(call: model.Call) -> agent_pb2.InvokeStreamRequest:
    """Encodes what an instance is asked to run and to tell of."""
    return agent_pb2.InvokeStreamRequest(call_id=call.id, function=call.function, arguments=_value(call.arguments), origin=_origin(call))


def result(message: agent_pb2.InvokeResponse) -> bytes:
    """Decodes an instance's result.

    Raises:
        ParadeError: AGENT_ERROR where there is none, or it is not JSON by its own word.
    """
    return _returned(message.result, "result")


def said(message: agent_pb2.InvokeStreamResponse) -> model.Said:
    """Decodes what an instance says while it runs a function.

    Raises:
        ParadeError: AGENT_ERROR where it says nothing that is known here, or a value is not JSON by its own word.
    """
    match message.WhichOneof("event"):
        case "progress":
            return model.Progress(message.progress.fraction, message.progress.message)
        case "item":
            return model.Item(_returned(message.item, "item"))
        case "result":
            return model.Result(_returned(message.result, "result"))
    raise ParadeError(Reason.AGENT_ERROR, "the agent sent an event without content")


def change(message: agent_manager_pb2.WatchAgentsResponse) -> model.Change | None:
    """Decodes what the agent_manager says; None where it is of a kind that is not known here."""
    match message.WhichOneof("event"):
        case "agent":
            return _agent(message.agent)
        case "instance":
            return _instance(message.instance)
        case "synced":
            return model.Synced()
    return None


def _agent(message: agent_manager_pb2.Agent) -> model.Agent:
    return model.Agent(
        namespace=message.namespace,
        name=message.name,
        paused=message.state == agent_manager_pb2.AGENT_STATE_PAUSED,
        functions={function.name: _function(function) for function in message.functions},
    )


def _instance(message: agent_manager_pb2.Instance) -> model.Instance:
    return model.Instance(
        id=message.id,
        namespace=message.namespace,
        agent=message.agent,
        address=message.address,
        server_name=message.server_name,
        # A state that is not known here is one of a newer contract: no reason to send calls.
        state=_INSTANCE_STATES.get(message.state, model.InstanceState.JOINING),
        max_concurrency=max(1, message.max_concurrency),
        functions={function.name: _function(function) for function in message.functions},
    )


def _function(message: function_pb2.Function) -> model.Function:
    timeout = message.timeout.seconds + message.timeout.nanos / 1e9
    return model.Function(
        name=message.name,
        arguments_schema=message.arguments_schema.data,
        result_schema=message.result_schema.data,
        effect=_EFFECTS.get(message.effect, model.Effect.EFFECT),
        timeout=timeout if timeout > 0 else model.DEFAULT_FUNCTION_TIMEOUT,
        streaming=message.streaming,
    )


def _origin(call: model.Call) -> call_pb2.CallOrigin:
    return call_pb2.CallOrigin(namespace=call.namespace, principal=call.principal, run_id=call.run_id, step=call.step)


def _value(data: bytes) -> value_pb2.Value:
    return value_pb2.Value(data=data)


def _returned(value: value_pb2.Value, name: str) -> bytes:
    if value.media_type not in _MEDIA_TYPES:
        raise ParadeError(Reason.AGENT_ERROR, f"the {name} is {value.media_type[:120]!r}; only application/json is taken")
    return value.data
