"""What is asked over the contract, in the scheduler's words, and every fault of it at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from parade.v1 import approval_pb2, schedule_pb2, step_kind_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.v1.value_pb2 import Value
from parade.wire.errors import ParadeError, Reason
from parade_scheduler import convert
from parade_scheduler.approval import Approval, ApprovalState, may_resolve
from parade_scheduler.document import Document
from parade_scheduler.language import examine
from parade_scheduler.model import EventType, Failure, Kind, Parent, Run, RunEvent, RunState, Step, StepState
from parade_scheduler.operations import Outcome
from parade_scheduler.schedule import CatchUp, Schedule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = "spiffe://mesh/client/default/ada"


def faults(read: Any, *arguments: Any) -> list[str]:
    """Returns the fields at fault."""
    with pytest.raises(ParadeError) as caught:
        read(*arguments)
    assert caught.value.reason is Reason.INVALID_ARGUMENTS
    return [violation.field for violation in caught.value.violations]


def test_a_start_is_read_with_its_priority_only_where_it_has_one() -> None:
    assert convert.start(pb.StartRunRequest(workflow="flow")).priority is None
    assert convert.start(pb.StartRunRequest(workflow="flow", priority=0)).priority == 0


def test_every_fault_of_a_start_is_named() -> None:
    request = pb.StartRunRequest(version=-1, request_id="\n", labels={"": "x", "a": "\n"}, priority=101, inputs=Value(data=b"{"))

    assert faults(convert.start, request) == ["version", "inputs", "request_id", "labels.", "labels.a", "priority"]
    assert faults(convert.start, pb.StartRunRequest(labels={f"k{number}": "" for number in range(33)})) == ["labels"]
    assert faults(convert.start, pb.StartRunRequest(inputs=Value(data=b"{}", media_type="text/plain"))) == ["inputs.media_type"]
    assert faults(convert.start, pb.StartRunRequest(inputs=Value(data=b'"' + b"x" * 4 * 1024 * 1024 + b'"'))) == ["inputs"]


def test_a_filter_is_read() -> None:
    request = pb.ListRunsRequest(workflow="flow", states=[pb.RUN_STATE_PAUSED], labels=["team=a=b"], inputs=["n=", "s=x=y"])
    request.start_time.FromDatetime(NOW)

    wanted = convert.run_filter("default", request)

    assert (wanted.namespace, wanted.workflow, wanted.states) == ("default", "flow", frozenset({RunState.PAUSED}))
    assert (wanted.labels, wanted.inputs) == (frozenset({("team", "a=b")}), frozenset({("n", ""), ("s", "x=y")}))
    assert (wanted.since, wanted.before) == (NOW, None)


def test_runs_are_looked_for_by_so_many_labels_and_no_more() -> None:
    assert len(convert.run_filter("default", pb.ListRunsRequest(labels=[f"k{n}=v" for n in range(32)])).labels) == 32
    with pytest.raises(ParadeError) as caught:
        convert.run_filter("default", pb.ListRunsRequest(labels=[f"k{n}=v" for n in range(33)], inputs=["n=1"] * 33))
    assert [fault.field for fault in caught.value.violations] == ["labels", "inputs"]


def test_every_fault_of_a_filter_is_named() -> None:
    request = pb.ListRunsRequest(labels=["x", "=y", "a=\0"], inputs=["n", f"n={'x' * 200}"])
    request.states.append(99)  # type: ignore[arg-type]  # as a newer client may send it
    request.end_time.seconds = 10**15

    assert faults(convert.run_filter, "default", request) == ["end_time", "states", "labels", "labels", "labels", "inputs", "inputs"]


@pytest.mark.parametrize("request_of", [pb.CancelRunsRequest, pb.RerunRunsRequest])
def test_a_filter_for_many_must_say_something(request_of: Any) -> None:
    assert faults(convert.many, "default", request_of()) == ["filter"]
    assert convert.many("default", request_of(filter=pb.RunFilter(states=[pb.RUN_STATE_FAILED]))).states == {RunState.FAILED}


def test_a_signal_without_a_value_carries_null() -> None:
    assert convert.signal(pb.SignalRunRequest(name="go")).value == Document(b"null")


def test_every_fault_of_a_signal_is_named() -> None:
    request = pb.SignalRunRequest(name="no name", value=Value(data=b"{"), request_id="x" * 129)

    assert faults(convert.signal, request) == ["name", "value", "request_id"]
    assert faults(convert.signal, pb.SignalRunRequest(name="go", value=Value(data=b'"' + b"x" * 1024 * 1024 + b'"'))) == ["value"]


def test_every_fault_of_a_repetition_or_a_branch_is_named() -> None:
    assert faults(convert.rerun, pb.RerunFromStepRequest(version=-1, request_id="\0", inputs=Value(data=b"[]"))) == [
        "run_id",
        "inputs",
        "request_id",
        "version",
    ]
    assert faults(convert.fork, pb.ForkRunRequest(inputs=Value(data=b"1"))) == ["after_sequence", "run_id", "inputs"]
    assert faults(convert.bulk_request_id, pb.RerunRunsRequest(request_id="x" * 101)) == ["request_id"]


def test_a_reason_for_people_has_no_control_characters() -> None:
    assert convert.reason(pb.PauseRunRequest(reason="look\nfirst\t!")) == "look\nfirst\t!"
    assert faults(convert.reason, pb.PauseRunRequest(reason="\x1b[31m")) == ["reason"]
    assert faults(convert.reason, pb.CancelRunRequest(reason="x" * 1001)) == ["reason"]


def test_approvals_that_wait_are_wanted_where_no_state_is_named() -> None:
    wanted = convert.approval_filter("default", ADA, pb.ListApprovalsRequest(mine=True))

    assert (wanted.states, wanted.resolver) == (frozenset({ApprovalState.PENDING}), ADA)
    assert convert.approval_filter("default", ADA, pb.ListApprovalsRequest()).resolver == ""
    request = pb.ListApprovalsRequest()
    request.states.append(9)  # type: ignore[arg-type]  # as a newer client may send it
    assert faults(convert.approval_filter, "default", ADA, request) == ["states"]


def test_an_approval_is_written_with_all_it_has() -> None:
    approval = Approval("default", "run-1", "ask", 2, "flow", "pay?", (ADA,), ApprovalState.REJECTED, NOW, NOW, NOW, ADA, "no")

    message = convert.to_approval(approval)

    assert all(message.HasField(field) for field in ("create_time", "expire_time", "resolve_time"))
    assert (message.state, list(message.approvers), message.note) == (approval_pb2.APPROVAL_STATE_REJECTED, [ADA], "no")


def test_a_run_and_its_events_are_written_with_what_is_new_of_them() -> None:
    parent = Parent("run-1", "sub", 0, 1)
    inputs = Document(b"{}")
    run = Run("run-2", "default", "flow", 1, inputs, NOW, RunState.QUEUED, priority=-5, parent=parent, group="g", origin="run-0")
    step = Step("wait", 0, "", StepState.RUNNING, kind=Kind.APPROVAL)

    message = convert.to_run(run, [step])
    event = convert.to_event(RunEvent(1, NOW, EventType.RUN_PAUSED, message="look", by=ADA, child="run-3"))

    assert (message.priority, message.parent_run_id, message.origin_run_id, message.concurrency_group) == (-5, "run-1", "run-0", "g")
    assert (message.state, message.steps[0].kind) == (pb.RUN_STATE_QUEUED, step_kind_pb2.STEP_KIND_APPROVAL)
    assert (event.by, event.message, event.child_run_id) == (ADA, "look", "run-3")


def test_every_word_of_the_model_has_its_name_in_the_contract() -> None:
    for state in RunState:
        assert pb.RunState.Value(f"RUN_STATE_{state}")
    for kind in EventType:
        assert pb.RunEventType.Value(f"RUN_EVENT_TYPE_{kind}")
    for kind_of_step in Kind:
        assert step_kind_pb2.StepKind.Value(f"STEP_KIND_{kind_of_step}")
    for approval_state in ApprovalState:
        assert approval_pb2.ApprovalState.Value(f"APPROVAL_STATE_{approval_state}")


def test_what_became_of_many_is_written() -> None:
    error = ParadeError(Reason.NOT_FOUND, "gone")

    one, two = convert.to_outcomes([Outcome("run-1", error), Outcome("run-2", new_run="run-3")])

    assert (one.run_id, one.error.message, one.HasField("error")) == ("run-1", "gone", True)
    assert (two.run_id, two.new_run_id, two.HasField("error")) == ("run-2", "run-3", False)


def test_a_schedule_is_read_and_written() -> None:
    message = schedule_pb2.Schedule(name="nightly", workflow="flow", cron="0 6 * * *", inputs=Value(data=b'{"n":1}'), paused=True)

    read = convert.schedule(message)

    assert read == Schedule("nightly", "flow", "0 6 * * *", "UTC", CatchUp.LAST, Document(b'{"n":1}'), paused=True)
    assert convert.to_schedule(read).catch_up == schedule_pb2.CATCH_UP_LAST
    bad = schedule_pb2.Schedule(catch_up=9, inputs=Value(data=b"{"))  # type: ignore[arg-type]  # as a newer client may send it
    assert faults(convert.schedule, bad) == ["schedule.catch_up", "schedule.inputs"]


def test_an_event_is_read() -> None:
    assert convert.event(pb.PublishEventRequest(type="order.paid", event_id="e-1")) == ("order.paid", Document(b"null"), "e-1")
    assert faults(convert.event, pb.PublishEventRequest(type="no type", value=Value(data=b"{"), event_id="\0")) == [
        "type",
        "value",
        "event_id",
    ]


def test_the_graph_tells_what_each_step_is() -> None:
    source = """
name: flow
steps:
  ask: {wait: {approval: {message: "pay ${{ inputs.n }}?"}}}
  go: {wait: {signal: go}}
  rest: {wait: {timer: 5m}}
  paid: {wait: {event: order.paid}}
  sub: {run: other, compensate: {call: x.undo}}
  turns: {call: x.a, loop: {until: "${{ output }}", limit: 3}}
  first: {race: [go, rest]}
inputs: {n: {}}
"""
    examined = examine(source)
    graph = convert.to_check(examined).graph

    assert examined.faults == ()
    told = {step.id: (step_kind_pb2.StepKind.Name(step.kind).removeprefix("STEP_KIND_"), step.call) for step in graph.steps}
    assert told == {
        "ask": ("APPROVAL", ""),
        "go": ("SIGNAL", ""),
        "rest": ("TIMER", ""),
        "paid": ("EVENT", ""),
        "sub": ("RUN", "other"),
        "turns": ("CALL", "x.a"),
        "first": ("RACE", ""),
    }
    steps = {step.id: step for step in graph.steps}
    assert [steps[name].detail for name in ("ask", "go", "paid")] == ["pay ${{ inputs.n }}?", "go", "order.paid"]
    assert "5m" in steps["rest"].detail
    assert (steps["sub"].compensation, steps["turns"].loop, list(steps["first"].race)) == ("x.undo", True, ["go", "rest"])


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        (ADA, True),
        ("spiffe://mesh/client/default/*", True),
        ("spiffe://mesh/client/*/ada", True),
        ("spiffe://mesh/client/*/*", True),
        ("spiffe://*/client/default/a*a", True),
        ("spiffe://mesh/client/default/a*d*a", True),
        ("spiffe://mesh/client/default/a", False),
        ("spiffe://mesh/client/*", False),
        ("spiffe://mesh/*/ada", False),
        ("*", False),
        ("spiffe://mesh/client/default/ada*a", False),
        ("spiffe://mesh/client/default/a*d*d*a", False),
        ("spiffe://mesh/client/default/bob", False),
        ("spiffe://mesh/client/default/" + "a*" * 20_000 + "b", False),
    ],
)
def test_a_star_stands_for_any_text_without_a_slash(pattern: str, *, fits: bool) -> None:
    assert may_resolve((pattern,), ADA) is fits
    assert may_resolve(("spiffe://nobody", pattern), ADA) is fits


@pytest.mark.parametrize(
    ("pattern", "principal", "fits"),
    [
        ("key:4fJk29sLq0", "key:4fJk29sLq0", True),
        ("key:*", "key:4fJk29sLq0", True),
        ("key:4fJk29sLq0", "key:4fJk29sLq1", False),
        ("spiffe://mesh/ns/default/client/*", "key:4fJk29sLq0", False),
        ("key:*", ADA, False),
        ("oidc:https://id.example/realm#42", "oidc:https://id.example/realm#42", True),
        ("oidc:https://id.example/realm#*", "oidc:https://id.example/realm#42", True),
        ("oidc:https://id.example/realm#*", "oidc:https://id.example/other#42", False),
    ],
)
def test_keys_and_people_are_named_as_they_are_known(pattern: str, principal: str, *, fits: bool) -> None:
    assert may_resolve((pattern,), principal) is fits


@pytest.mark.parametrize("principal", [ADA, "spiffe://mesh/ns/default/client/ada", "key:4fJk29sLq0", "oidc:https://id.example/realm#42"])
def test_anybody_outside_may_resolve_what_names_no_approver(principal: str) -> None:
    assert may_resolve((), principal)


def test_an_agent_resolves_what_names_it_and_nothing_else() -> None:
    agent = "spiffe://mesh/ns/default/agent/buyer/i-1"

    assert may_resolve(("spiffe://mesh/ns/default/agent/buyer/*",), agent)
    assert not may_resolve((), agent)


def test_an_error_on_record_is_the_error_again() -> None:
    failure = Failure(Reason.AGENT_ERROR, "no luck", metadata={"step": "a"}, retryable=True)

    error = convert.error_of(failure)

    assert (error.reason, error.message, error.metadata, error.retryable) == (Reason.AGENT_ERROR, "no luck", {"step": "a"}, True)
