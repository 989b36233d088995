"""What the agent_manager says, and words of a newer contract."""

import pytest
from google.protobuf.duration_pb2 import Duration

from parade.v1 import agent_manager_pb2, function_pb2
from parade_dispatcher import model, news


def instance(**fields: object) -> model.Instance:
    message = agent_manager_pb2.Instance(id="i", **fields)  # type: ignore[arg-type]
    change = news.change(agent_manager_pb2.WatchAgentsResponse(instance=message))
    assert isinstance(change, model.Instance)
    return change


def test_what_an_instance_leaves_open_is_read_with_care() -> None:
    known = instance(functions=[function_pb2.Function(name="send")], state=99)

    assert known.state is model.InstanceState.JOINING
    assert known.max_concurrency == 1
    assert known.functions["send"].effect is model.Effect.EFFECT
    assert known.functions["send"].timeout == 60
    assert known.functions["send"].retry is None


def test_a_workflow_in_code_is_known_as_one() -> None:
    functions = instance(functions=[function_pb2.Function(name="trip", durable=True), function_pb2.Function(name="send")]).functions

    assert functions["trip"].durable
    assert not functions["send"].durable


def test_an_instance_keeps_its_labels() -> None:
    assert instance(labels={"zone": "a"}).labels == {"zone": "a"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (function_pb2.RetryPolicy(), model.RetryPolicy()),
        (
            function_pb2.RetryPolicy(
                max_attempts=5, initial_backoff=Duration(nanos=5_000_000), max_backoff=Duration(seconds=1), multiplier=3
            ),
            model.RetryPolicy(5, 0.005, 1.0, 3.0),
        ),
        (function_pb2.RetryPolicy(max_attempts=99, multiplier=float("nan")), model.RetryPolicy(max_attempts=10)),
        (function_pb2.RetryPolicy(max_attempts=-1, initial_backoff=Duration(seconds=-1), multiplier=0.5), model.RetryPolicy()),
    ],
)
def test_a_retry_policy_is_kept_within_bounds(policy: function_pb2.RetryPolicy, expected: model.RetryPolicy) -> None:
    assert instance(functions=[function_pb2.Function(name="send", retry=policy)]).functions["send"].retry == expected


def test_news_of_an_unknown_kind_is_passed_over() -> None:
    assert news.change(agent_manager_pb2.WatchAgentsResponse()) is None
