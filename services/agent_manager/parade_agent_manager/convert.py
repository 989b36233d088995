"""Between the contract and the model, both ways; pure."""

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import agent_manager_pb2 as pb
from parade.v1 import function_pb2, value_pb2
from parade.wire.errors import Violation, invalid
from parade_agent_manager.model import (
    Agent,
    Effect,
    Function,
    Heartbeat,
    Instance,
    InstanceState,
    KnownFunction,
    Load,
    Registration,
    RetryPolicy,
    Roster,
)
from parade_agent_manager.watchers import Change

JSON = "application/json"
SYNCED = pb.WatchAgentsResponse(synced=pb.WatchAgentsResponse.Synced())


def registration(request: pb.RegisterInstanceRequest) -> Registration:
    """Reads a registration; whether it can be accepted is not decided here.

    Raises:
        ParadeError: INVALID_ARGUMENTS where a schema is of a media type that is not JSON.
    """
    violations = [
        Violation(f"functions[{index}].{name}.media_type", f'must be "{JSON}"')
        for index, described in enumerate(request.functions)
        for name in ("arguments_schema", "result_schema")
        if getattr(described, name).media_type not in ("", JSON)
    ]
    if violations:
        raise invalid(violations)
    return Registration(
        address=request.address,
        functions=tuple(_function(described) for described in request.functions),
        version=request.version,
        labels=dict(request.labels),
        max_concurrency=request.max_concurrency,
        pid=request.pid,
        host=request.host,
    )


def heartbeat(request: pb.HeartbeatRequest) -> Heartbeat:
    """Reads a heartbeat."""
    load = Load(request.load.in_flight, request.load.completed, request.load.memory_bytes)
    return Heartbeat(load, request.degraded, request.draining)


def seconds(duration: Duration) -> float:
    """Reads a duration."""
    return duration.seconds + duration.nanos / 1e9


def to_duration(seconds: float) -> Duration:
    """Writes a duration."""
    duration = Duration()
    duration.FromMicroseconds(round(seconds * 1e6))
    return duration


def to_timestamp(time: datetime) -> Timestamp:
    """Writes a time."""
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def to_agent(agent: Agent, instances: tuple[Instance, ...] = ()) -> pb.Agent:
    """Writes an agent, with instances where they are wanted."""
    return pb.Agent(
        name=agent.name,
        namespace=agent.namespace,
        state=pb.AgentState.Value(f"AGENT_STATE_{agent.state}"),
        instances=map(to_instance, instances),
        functions=map(to_function, agent.functions),
    )


def to_roster(roster: Roster) -> pb.Agent:
    """Writes an agent with its instances."""
    return to_agent(roster.agent, roster.instances)


def to_state(instance: Instance) -> pb.InstanceState.ValueType:
    """Writes an instance's state."""
    return _STATES[instance.state]


def to_instance(instance: Instance) -> pb.Instance:
    """Writes an instance."""
    said = instance.registration
    return pb.Instance(
        id=instance.id,
        namespace=instance.namespace,
        agent=instance.agent,
        address=said.address,
        server_name=instance.server_name,
        state=to_state(instance),
        version=said.version,
        labels=said.labels,
        max_concurrency=said.max_concurrency,
        load=pb.Load(in_flight=instance.load.in_flight, completed=instance.load.completed, memory_bytes=instance.load.memory_bytes),
        functions=map(to_function, said.functions),
        pid=said.pid,
        host=said.host,
        register_time=to_timestamp(instance.registered),
        heartbeat_time=None if instance.heartbeat is None else to_timestamp(instance.heartbeat),
    )


def to_function(function: Function) -> function_pb2.Function:
    """Writes a function."""
    return function_pb2.Function(
        name=function.name,
        description=function.description,
        arguments_schema=value_pb2.Value(data=function.arguments_schema, media_type=JSON),
        result_schema=value_pb2.Value(data=function.result_schema, media_type=JSON),
        effect=function_pb2.Effect.Value(f"EFFECT_{function.effect}"),
        timeout=to_duration(function.timeout),
        streaming=function.streaming,
        retry=None if function.retry is None else _to_retry(function.retry),
        durable=function.durable,
    )


def to_entry(known: KnownFunction) -> pb.ListFunctionsResponse.Entry:
    """Writes a known function."""
    return pb.ListFunctionsResponse.Entry(
        full_name=known.full_name, function=to_function(known.function), ready_instances=known.ready_instances
    )


def to_change(change: Change) -> pb.WatchAgentsResponse:
    """Writes what a watcher is told."""
    if isinstance(change, Agent):
        return pb.WatchAgentsResponse(agent=to_agent(change))
    return pb.WatchAgentsResponse(instance=to_instance(change))


_STATES = {state: pb.InstanceState.Value(f"INSTANCE_STATE_{state}") for state in InstanceState}
_EFFECTS = {function_pb2.EFFECT_PURE: Effect.PURE, function_pb2.EFFECT_IDEMPOTENT: Effect.IDEMPOTENT}


def _function(described: function_pb2.Function) -> Function:
    return Function(
        name=described.name,
        description=described.description,
        arguments_schema=described.arguments_schema.data,
        result_schema=described.result_schema.data,
        effect=_EFFECTS.get(described.effect, Effect.EFFECT),  # the careful choice for what is not given or not known
        timeout=seconds(described.timeout),
        streaming=described.streaming,
        retry=_retry(described.retry) if described.HasField("retry") else None,
        durable=described.durable,
    )


def _retry(described: function_pb2.RetryPolicy) -> RetryPolicy:
    return RetryPolicy(described.max_attempts, seconds(described.initial_backoff), seconds(described.max_backoff), described.multiplier)


def _to_retry(policy: RetryPolicy) -> function_pb2.RetryPolicy:
    return function_pb2.RetryPolicy(
        max_attempts=policy.max_attempts,
        initial_backoff=to_duration(policy.initial_backoff),
        max_backoff=to_duration(policy.max_backoff),
        multiplier=policy.multiplier,
    )
