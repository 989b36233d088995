"""What becomes of steps that wait for a time, an approval, a signal or an event."""

from datetime import timedelta
from typing import Any

import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import MAX_SIGNALS, ApprovalResolved, EventReceived, SignalReceived, WaitDue
from parade_scheduler.document import Document
from parade_scheduler.language import StepDefinition, Template
from parade_scheduler.language.definition import Approval, Event, Signal, Timer
from parade_scheduler.model import EventType, Kind, TaskState
from tests.unit.scheduler.simulation import START, Simulation, flow, of, step

ANA = "spiffe://parade/ana"


def timer(id: str = "a", *, duration: Any = None, until: Any = None, **words: Any) -> StepDefinition:
    wait = Timer(None if duration is None else Template(duration), None if until is None else Template(until))
    return step(id, Kind.TIMER, wait=wait, **words)


def approval(id: str = "a", **words: Any) -> StepDefinition:
    return step(id, Kind.APPROVAL, wait=Approval(message=Template("ship it?")), **words)


def signal(id: str = "a", name: str = "go", **words: Any) -> StepDefinition:
    return step(id, Kind.SIGNAL, wait=Signal(name), **words)


def event(id: str = "a", type: str = "paid", condition: str = "", **words: Any) -> StepDefinition:
    return step(id, Kind.EVENT, wait=Event(type, of(condition) if condition else None), **words)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ({"duration": "5m"}, 300),
        ({"duration": 90}, 90),
        ({"duration": of("inputs.pause")}, 1.5),
        ({"until": "2026-01-01T02:00:00+01:00"}, 3600),
        ({"until": of("inputs.time")}, 60),
    ],
)
def test_a_timer_rings_at_its_time(words: dict[str, Any], seconds: float) -> None:
    run = Simulation(flow(timer(**words), step("b", needs=["a"])), {"pause": 1.5, "time": "2026-01-01T00:01:00Z"})

    assert run.execution.sleeping_until() == START + timedelta(seconds=seconds)
    assert run.execution.idle
    run.advance(seconds - 0.001)
    assert run.states() == {"a": "RUNNING", "b": "PENDING"}
    run.advance(0.002)

    assert run.states() == {"a": "SUCCEEDED", "b": "RUNNING"}
    assert run.output("a") is None
    assert not run.execution.idle


def test_a_time_that_has_passed_rings_at_once() -> None:
    run = Simulation(flow(timer(until="2025-12-31T00:00:00Z")))

    run.advance(0)

    assert run.state.value == "SUCCEEDED"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ({"duration": "soon"}, "not `soon`"),
        ({"duration": -1}, "not -1"),
        ({"duration": 1e12}, "not 1e+12"),
        ({"duration": True}, "not true or false"),
        ({"until": "2026-01-01"}, "not `2026-01-01`"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "a time with its zone"),
        ({"until": of("inputs")}, "not an object"),
        ({"until": of("inputs.nothing")}, "no `nothing`"),
    ],
)
def test_a_timer_without_a_time_fails(words: dict[str, Any], part: str) -> None:
    run = Simulation(flow(timer(**words)))

    assert run.state.value == "FAILED"
    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert part in run.failure().message


def test_an_approval_gives_who_approved() -> None:
    run = Simulation(flow(approval()))
    waiting = next(event for event in run.events if event.type is EventType.TASK_WAITING)
    assert (waiting.message, waiting.retry_time, run.execution.sleeping_until()) == ("ship it?", None, None)

    run.resolve("a", approved=True)

    assert run.output("a") == {"approved": True, "by": ANA, "note": "as agreed"}
    told = next(event for event in run.events if event.type is EventType.TASK_SUCCEEDED)
    assert (told.by, told.message, run.task_rows["a", 0].by) == (ANA, "as agreed", ANA)
    assert run.state.value == "SUCCEEDED"


def test_a_rejection_is_a_failure_that_other_steps_can_see() -> None:
    run = Simulation(flow(approval(), step("b", needs=["a"], condition=of("failure"), decides_alone=True)))

    run.resolve("a", approved=False)

    assert run.states() == {"a": "FAILED", "b": "RUNNING"}
    failure = run.step_rows["a"].failure
    assert failure is not None
    assert (failure.reason, failure.message) == (Reason.FAILED_PRECONDITION, f"rejected by {ANA}: as agreed")


def test_a_message_to_approvers_has_a_bound() -> None:
    long = step("a", Kind.APPROVAL, wait=Approval(message=Template({"all": "x" * 20_000})))

    run = Simulation(flow(long))

    told = next(event.message for event in run.events if event.type is EventType.TASK_WAITING)
    assert (len(told), told[:10], told[-1]) == (10_000, '{"all":"xx', "…")


def test_what_is_resolved_is_not_resolved_again() -> None:
    run = Simulation(flow(approval(), approval("b")))
    run.resolve("a", approved=True)

    assert run.resolve("a", approved=False).events == ()
    assert run.tell(ApprovalResolved("a", 7, approved=True)).events == ()
    assert run.tell(ApprovalResolved("nowhere", 0, approved=True)).events == ()


@pytest.mark.parametrize(
    ("waiting", "message"),
    [
        (approval(timeout=5), "nobody approved or rejected it within 5s"),
        (signal(timeout=5), "no signal `go` came within 5s"),
        (event(timeout=5), "no event `paid` that it waits for came within 5s"),
    ],
)
def test_a_wait_that_is_not_met_in_time_fails(waiting: StepDefinition, message: str) -> None:
    run = Simulation(flow(waiting))
    assert run.execution.sleeping_until() == START + timedelta(seconds=5)

    run.advance(5)

    assert run.failure().reason is Reason.DEADLINE_EXCEEDED
    assert message in run.failure().message
    assert run.kinds()[-3:] == [EventType.TASK_FAILED, EventType.STEP_FAILED, EventType.RUN_FAILED]


def test_a_retry_policy_is_not_for_waits() -> None:
    run = Simulation(flow(signal(timeout=5, retry=step("x").retry.__class__(attempts=5))))

    run.advance(5)

    assert run.state.value == "FAILED"


def test_a_signal_goes_to_the_step_that_waits_for_it() -> None:
    run = Simulation(flow(signal(), signal("b", "stop")))

    run.signal("stop", {"why": "late"})
    assert run.states() == {"a": "RUNNING", "b": "SUCCEEDED"}
    run.signal("go", [1])

    assert (run.output("a"), run.output("b")) == ([1], {"why": "late"})
    told = [event for event in run.events if event.type is EventType.SIGNAL_RECEIVED]
    assert [(event.message, event.by, event.output) for event in told] == [
        ("stop", ANA, Document(b'{"why":"late"}')),
        ("go", ANA, Document(b"[1]")),
    ]


def test_of_two_steps_the_first_of_the_definition_takes_a_signal() -> None:
    run = Simulation(flow(signal(needs=["z"]), signal("b"), step("z")))
    run.succeed("z")

    run.signal("go", 1)

    assert run.states() == {"a": "SUCCEEDED", "b": "RUNNING", "z": "SUCCEEDED"}


def test_signals_are_kept_in_order_until_steps_take_them() -> None:
    run = Simulation(flow(step("a"), signal("b", needs=["a"]), signal("c", needs=["b"])))
    for number in range(3):
        run.signal("go", number)
    run.signal("other")

    assert run.execution.signals_waiting == 4
    run.crash()
    run.succeed("a")

    assert (run.output("b"), run.output("c"), run.state.value) == (0, 1, "SUCCEEDED")
    assert run.execution.signals_waiting == 2
    kept = [row for (name, _), row in sorted(run.task_rows.items()) if name == ""]
    assert [(row.index, row.state, row.output) for row in kept] == [
        (0, TaskState.SUCCEEDED, None),
        (1, TaskState.SUCCEEDED, None),
        (2, TaskState.WAITING, Document(b"2")),
        (3, TaskState.WAITING, Document(b"null")),
    ]


def test_more_signals_than_a_run_keeps_change_nothing() -> None:
    run = Simulation(flow(step("a"), signal("b", needs=["a"])))
    for _ in range(MAX_SIGNALS):
        run.signal("go")

    assert run.signal("go").events == ()
    assert run.execution.signals_waiting == MAX_SIGNALS


def test_a_signal_to_a_run_that_is_ending_changes_nothing() -> None:
    run = Simulation(flow(step("a")))
    run.cancel()

    assert run.tell(SignalReceived("go", Document(b"1"))).events == ()


def test_each_item_of_a_for_each_waits_for_its_own() -> None:
    run = Simulation(flow(signal(items=Template([10, 20, 30]), max_parallel=2)))

    run.signal("go", "x")
    assert [run.task_rows["a", index].state.value for index in range(3)] == ["SUCCEEDED", "WAITING", "WAITING"]
    run.signal("go", "y")
    run.signal("go", "z")

    assert run.output("a") == ["x", "y", "z"]


def test_an_event_goes_to_all_that_wait_for_one_like_it() -> None:
    run = Simulation(
        flow(event(condition="event.order == inputs.order"), event("b"), event("c", "shipped"), event("d", condition="event.amount > 5")),
        {"order": 7},
    )

    run.publish("paid", {"order": 8})
    assert run.states() == {"a": "RUNNING", "b": "SUCCEEDED", "c": "RUNNING", "d": "RUNNING"}
    run.publish("paid", {"order": 7, "amount": 6})
    run.tell(EventReceived("event-2", "shipped", Document(b"true")))

    assert [run.output(name) for name in "abcd"] == [{"order": 7, "amount": 6}, {"order": 8}, True, {"order": 7, "amount": 6}]


def test_an_event_that_is_no_json_is_not_meant() -> None:
    run = Simulation(flow(event(condition="event.order == 7")))

    assert run.tell(EventReceived("event-1", "paid", Document(b"{"))).events == ()


def test_a_wait_sees_its_item() -> None:
    run = Simulation(flow(event(condition="event == item", items=Template([1, 2]), max_parallel=2)))

    run.publish("paid", 2)

    assert [run.task_rows["a", index].state.value for index in range(2)] == ["WAITING", "SUCCEEDED"]


def test_a_cancelled_run_waits_for_nothing_more() -> None:
    run = Simulation(flow(approval(), signal("b"), timer("c", duration="1h"), event("d")))

    run.cancel()

    assert run.state.value == "CANCELLED"
    assert run.kinds().count(EventType.TASK_CANCELLED) == 4
    assert run.tell(WaitDue("c", 0, START + timedelta(hours=1))).events == ()


def test_after_a_crash_waits_go_on() -> None:
    run = Simulation(flow(timer(duration="1h"), approval("b", timeout=60), signal("c"), event("d")))

    run.crash()

    assert sorted(timer.time for timer in run.timers) == [START + timedelta(minutes=1), START + timedelta(hours=1)]
    run.signal("go")
    run.publish("paid", 1)
    run.resolve("b", approved=True)
    run.advance(3600)
    assert run.state.value == "SUCCEEDED"


def test_a_timer_of_another_wait_is_not_meant() -> None:
    run = Simulation(flow(timer(duration="1h")))

    assert run.tell(WaitDue("a", 0, START)).events == ()
    assert run.tell(WaitDue("b", 0, START)).events == ()
