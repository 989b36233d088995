"""What the agent_manager says, read into the model. Pure; what is left open is read with care."""

from google.protobuf.duration_pb2 import Duration

from parade.v1 import agent_manager_pb2, function_pb2
from parade_dispatcher import model

MOST_ATTEMPTS = 10
LARGEST_MULTIPLIER = 100.0

_EFFECTS = {function_pb2.EFFECT_PURE: model.Effect.PURE, function_pb2.EFFECT_IDEMPOTENT: model.Effect.IDEMPOTENT}
_INSTANCE_STATES = {agent_manager_pb2.InstanceState.Value(f"INSTANCE_STATE_{state}"): state for state in model.InstanceState}


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
        labels=dict(message.labels),
        functions={function.name: _function(function) for function in message.functions},
    )


def _function(message: function_pb2.Function) -> model.Function:
    return model.Function(
        name=message.name,
        arguments_schema=message.arguments_schema.data,
        result_schema=message.result_schema.data,
        effect=_EFFECTS.get(message.effect, model.Effect.EFFECT),
        timeout=_seconds(message.timeout) or model.DEFAULT_FUNCTION_TIMEOUT,
        streaming=message.streaming,
        retry=_retry(message.retry) if message.HasField("retry") else None,
        durable=message.durable,
    )


def _retry(message: function_pb2.RetryPolicy) -> model.RetryPolicy:
    usual = model.RetryPolicy()
    return model.RetryPolicy(
        max_attempts=min(message.max_attempts, MOST_ATTEMPTS) if message.max_attempts > 0 else usual.max_attempts,
        initial_backoff=_seconds(message.initial_backoff) or usual.initial_backoff,
        max_backoff=_seconds(message.max_backoff) or usual.max_backoff,
        multiplier=message.multiplier if 1 <= message.multiplier <= LARGEST_MULTIPLIER else usual.multiplier,
    )


def _seconds(message: Duration) -> float:
    return max(0.0, message.seconds + message.nanos / 1e9)
