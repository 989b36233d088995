"""Workflows as people write them, from the text to the end of the run: the reader and the decider mean the same."""

from parade.wire.errors import Reason
from tests.unit.scheduler.simulation import Simulation

TRIP = """
name: trip
inputs: {city: {type: string}}
env: {AUTHORIZATION: "Bearer ${{ secrets.AIRLINE }}"}
timeout: 1h
steps:
  flight:
    call: travel.flight
    with: {city: "${{ inputs.city }}", authorization: "${{ env.AUTHORIZATION }}"}
    compensate: {call: travel.cancel_flight, with: {ticket: "${{ output.ticket }}"}, retry: {attempts: 2, delay: 1s}}
  hotel:
    run: book-hotel
    needs: flight
    with: {city: "${{ inputs.city }}"}
    compensate: {run: cancel-hotel, with: {booking: "${{ output }}", ticket: "${{ steps.flight.output.ticket }}"}}
  agreed:
    needs: hotel
    wait: {approval: {approvers: ["spiffe://mesh/client/default/*"], message: "${{ inputs.city }}?"}}
    timeout: 10m
  late:
    needs: hotel
    wait: {timer: 5m}
  answer:
    race: [agreed, late]
  report:
    needs: answer
    when: always
    call: travel.report
    with: {of: "${{ steps.answer.state }}"}
outputs: {answer: "${{ steps.answer.output }}"}
"""


def trip() -> Simulation:
    """Returns a run whose flight and hotel are booked."""
    run = Simulation(TRIP, {"city": "Rome"}, secrets={"AIRLINE": "k3y"})
    assert run.arguments("flight") == {"city": "Rome", "authorization": "Bearer k3y"}
    run.succeed("flight", {"ticket": 7})
    assert run.children["hotel", 0, 1].workflow == "book-hotel"
    run.succeed("hotel", {"room": 12})
    return run


def test_who_approves_first_wins_against_the_timer() -> None:
    run = trip()

    run.resolve("agreed", approved=True)
    assert run.arguments("report") == {"of": "SUCCEEDED"}
    run.succeed("report")

    assert run.states()["late"] == "CANCELLED"
    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value["answer"]["step"] == "agreed"


def test_what_was_booked_is_cancelled_when_the_report_fails() -> None:
    run = trip()
    run.advance(300)
    assert run.states()["agreed"] == "CANCELLED"

    run.fail("report", Reason.INVALID_ARGUMENTS)
    undone = run.children["hotel.compensate", 0, 1]
    assert (undone.workflow, undone.inputs.value) == ("cancel-hotel", {"booking": {"room": 12}, "ticket": 7})
    run.succeed("hotel.compensate")
    assert run.arguments("flight.compensate") == {"ticket": 7}
    run.fail("flight.compensate")
    run.advance(2)
    run.succeed("flight.compensate")

    assert run.state.value == "FAILED"
    assert "k3y" not in repr((run.run_row, run.step_rows, run.task_rows, run.events))


def test_a_rejection_loses_to_the_timer() -> None:
    run = trip()
    run.resolve("agreed", approved=False)
    assert run.states()["answer"] == "PENDING"

    run.advance(300)
    run.succeed("report")

    assert run.output("answer") == {"step": "late", "output": None}
    assert run.state.value == "SUCCEEDED"


def test_a_job_is_polled_until_it_is_done() -> None:
    run = Simulation(
        """
name: poll
steps:
  begin: {call: jobs.begin}
  poll:
    needs: begin
    call: jobs.state
    with: {job: "${{ steps.begin.output.id }}", after: "${{ output }}", turn: "${{ index }}"}
    loop: {until: "output.done", limit: 10}
    retry: {attempts: 3, delay: 1s, jitter: 0, on: [ConnectionError], never: [ValueError]}
  result:
    needs: poll
    wait: {event: {type: job-stored, if: "event.id == steps.begin.output.id"}}
    timeout: 1h
  released:
    needs: poll
    for-each: [eu, us]
    wait: {signal: {name: released}}
outputs: {turns: "${{ steps.poll.output }}", by: "${{ steps.released.output }}"}
"""
    )
    run.succeed("begin", {"id": 3})

    run.fail("poll", retryable=False, metadata={"exception_type": "ConnectionError"})
    run.advance(1)
    assert run.arguments("poll", 0) == {"job": 3, "after": None, "turn": 0}
    run.succeed("poll", {"done": False})
    assert run.arguments("poll", 1) == {"job": 3, "after": {"done": False}, "turn": 1}
    run.succeed("poll", {"done": True}, task=1)
    run.signal("released", "ana")
    run.publish("job-stored", {"id": 4})
    run.publish("job-stored", {"id": 3})
    run.signal("released", "ben")

    assert run.run_row.outputs is not None
    assert run.run_row.outputs.value == {"turns": {"done": True}, "by": ["ana", "ben"]}
