"""What is asked of a run twice, and whom an approval asks."""

from parade_scheduler.decider import SignalReceived
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, RunState
from tests.unit.scheduler.simulation import Simulation

WAITS = {
    "name": "flow",
    "steps": {
        "first": {"wait": {"signal": "go"}},
        "second": {"wait": {"signal": "go"}, "needs": ["first"]},
    },
    "outputs": {"values": ["${{ steps.first.output }}", "${{ steps.second.output }}"]},
}


def signal(value: object, request_id: str = "") -> SignalReceived:
    return SignalReceived("go", Document.of(value), "spiffe://mesh/client/default/ada", request_id)


def received(run: Simulation) -> int:
    return run.kinds().count(EventType.SIGNAL_RECEIVED)


def test_a_signal_that_a_step_took_is_not_taken_again() -> None:
    run = Simulation(WAITS)

    run.tell(signal(1, "once"))
    run.tell(signal(1, "once"))

    assert run.states() == {"first": "SUCCEEDED", "second": "RUNNING"}
    assert received(run) == 1


def test_a_signal_that_is_kept_is_not_kept_again() -> None:
    run = Simulation({"name": "flow", "steps": {"a": {"call": "x.a"}, "b": {"wait": {"signal": "go"}, "needs": ["a"]}}})

    run.tell(signal(1, "once"))
    run.tell(signal(1, "once"))

    assert run.execution.signals_waiting == 1


def test_a_signal_is_known_after_a_crash_whether_it_was_taken_at_once_later_or_not_yet() -> None:
    run = Simulation(WAITS)
    run.tell(signal(1, "at once"))
    run.crash()
    run.tell(signal(1, "at once"))
    assert run.states()["second"] == "RUNNING"

    run = Simulation({"name": "flow", "steps": {"a": {"call": "x.a"}, "b": {"wait": {"signal": "go"}, "needs": ["a"]}}})
    run.tell(signal(1, "later"))
    run.crash()
    run.tell(signal(1, "later"))
    assert run.execution.signals_waiting == 1

    run.succeed("a")
    run.tell(signal(1, "later"))
    assert run.state is RunState.SUCCEEDED
    assert received(run) == 1


def test_signals_without_a_request_are_different_ones() -> None:
    run = Simulation(WAITS)

    run.tell(signal(1))
    run.tell(signal(2))

    assert run.run_row.outputs == Document.of({"values": [1, 2]})


def test_a_task_that_waits_for_an_approval_says_whom_it_asks_and_what() -> None:
    approval = {"approvers": ["spiffe://mesh/client/default/*"], "message": "pay ${{ inputs.sum }} €?"}
    run = Simulation({"name": "flow", "inputs": {"sum": {}}, "steps": {"ask": {"wait": {"approval": approval}}}}, {"sum": 5})

    assert run.task_rows["ask", 0].arguments == Document.of({"approvers": ["spiffe://mesh/client/default/*"], "message": "pay 5 €?"})
