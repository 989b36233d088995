"""What is undone when a run does not succeed."""

from typing import Any

import pytest

from parade.wire.errors import Reason
from parade_scheduler.language import Retry, StepDefinition, Template
from parade_scheduler.model import EventType, Kind
from parade_scheduler.starts.seed import repeated
from tests.unit.scheduler.simulation import Simulation, flow, of, step


def undoable(id: str, kind: Kind = Kind.CALL, retry: Retry | None = None, **words: Any) -> StepDefinition:
    undo = step(f"{id}.compensate", kind, given={"of": of("output"), "n": of("inputs.n")}, retry=retry or Retry())
    return step(id, compensation=undo, **words)


def chain(*extra: StepDefinition, **facts: Any) -> Simulation:
    """Returns a run in which a and b have succeeded, in this order, and c is under way."""
    run = Simulation(
        flow(undoable("b", needs=["a"]), undoable("a"), step("c", needs=["b"], **facts), *extra),
        {"n": 1},
    )
    run.succeed("a", "of a")
    run.succeed("b", "of b")
    return run


def test_what_succeeded_is_undone_the_last_first() -> None:
    run = chain()

    run.fail("c")
    assert run.state.value == "COMPENSATING"
    assert list(run.out) == [("b.compensate", 0, 1)]
    assert run.arguments("b.compensate") == {"of": "of b", "n": 1}
    run.succeed("b.compensate")
    assert list(run.out) == [("a.compensate", 0, 1)]
    run.succeed("a.compensate")

    assert run.state.value == "FAILED"
    assert run.failure().message == "the step `c` failed: no luck"
    assert run.states()["b.compensate"] == "SUCCEEDED"
    assert [row.position for row in run.step_rows.values() if row.id.endswith(".compensate")] == [3, 4]
    kinds = run.kinds()
    assert kinds.count(EventType.RUN_COMPENSATING) == 1
    assert kinds.index(EventType.RUN_COMPENSATING) < kinds.index(EventType.RUN_FAILED)
    assert run.ends == 1


def test_a_cancelled_run_is_undone_and_then_cancelled() -> None:
    run = chain()

    run.cancel()
    run.confirm_cancels()
    assert run.state.value == "COMPENSATING"
    run.succeed("b.compensate")
    run.succeed("a.compensate")

    assert run.state.value == "CANCELLED"
    assert run.run_row.failure is None


def test_a_run_past_its_timeout_is_undone_without_one() -> None:
    run = Simulation(flow(undoable("a"), step("c", needs=["a"]), timeout=30), {"n": 1})
    run.succeed("a")
    run.advance(30)
    run.confirm_cancels()
    assert run.state.value == "COMPENSATING"

    run.advance(3600)
    assert run.state.value == "COMPENSATING"
    run.succeed("a.compensate")

    assert run.failure().reason is Reason.DEADLINE_EXCEEDED


def test_outputs_that_cannot_be_computed_undo_what_was_done() -> None:
    run = Simulation(flow(undoable("a"), outputs={"x": of("steps.a.output.missing")}), {"n": 1})

    run.succeed("a", {})
    run.succeed("a.compensate")

    assert run.failure().reason is Reason.INVALID_ARGUMENTS
    assert "outputs.x" in run.failure().message


def test_a_run_that_succeeds_undoes_nothing() -> None:
    run = chain()

    run.succeed("c")

    assert run.state.value == "SUCCEEDED"
    assert list(run.states()) == ["b", "a", "c"]


def test_a_compensation_that_fails_leaves_the_others_to_go_on() -> None:
    run = chain()
    run.fail("c")

    run.fail("b.compensate", Reason.UNKNOWN_FUNCTION)
    assert list(run.out) == [("a.compensate", 0, 1)]
    run.succeed("a.compensate")

    assert run.failure().reason is Reason.AGENT_ERROR
    assert run.failure().message == "the step `c` failed: no luck; `b` could not be undone: no luck"
    assert run.failure().metadata == {"step": "c", "not_undone": "b"}
    assert [event.step for event in run.events if event.type is EventType.STEP_FAILED] == ["c", "b.compensate"]


def test_a_cancelled_run_that_cannot_be_undone_has_failed() -> None:
    run = chain()
    run.cancel()
    run.confirm_cancels()

    run.fail("b.compensate", Reason.UNKNOWN_FUNCTION)
    run.succeed("a.compensate")

    assert run.state.value == "FAILED"
    assert run.failure().reason is Reason.UNKNOWN_FUNCTION
    assert run.failure().message == "the run was cancelled; `b` could not be undone: no luck"


def test_a_compensation_has_its_own_retry_and_outlasts_outages() -> None:
    run = Simulation(flow(undoable("a", retry=Retry(attempts=2)), step("c", needs=["a"])), {"n": 1})
    run.succeed("a")
    run.fail("c")

    run.fail("a.compensate", Reason.NO_CAPACITY)
    run.advance(1)
    run.fail("a.compensate")
    run.advance(1)
    run.succeed("a.compensate")

    assert run.step_rows["a.compensate"].attempts == 3
    assert run.failure().message == "the step `c` failed: no luck"


def test_a_compensation_that_cannot_be_computed_fails() -> None:
    undo = step("a.compensate", given={"x": of("output.missing")})
    run = Simulation(flow(step("a", compensation=undo), step("c", needs=["a"])))
    run.succeed("a", {})

    run.fail("c")

    assert run.failure().metadata["not_undone"] == "a"


def test_a_compensation_can_be_a_run() -> None:
    run = Simulation(flow(undoable("a", Kind.RUN), step("c", needs=["a"])), {"n": 1})
    run.succeed("a", 5)
    run.fail("c")

    assert run.children["a.compensate", 0, 1].inputs.value == {"of": 5, "n": 1}
    run.succeed("a.compensate")
    assert run.state.value == "FAILED"


def test_neither_cancel_nor_pause_nor_timeout_stops_undoing() -> None:
    run = chain()
    run.fail("c")

    assert run.cancel().events == ()
    assert run.pause().events == ()
    assert run.cancelled == set()
    run.succeed("b.compensate")
    run.succeed("a.compensate")
    assert run.state.value == "FAILED"


def test_after_a_crash_undoing_goes_on_where_it_was() -> None:
    run = chain()
    run.fail("c")
    run.succeed("b.compensate")

    run.crash()

    assert [(dispatch.step, dispatch.redelivered) for dispatch in run.out.values()] == [("a.compensate", True)]
    run.succeed("a.compensate")
    assert run.state.value == "FAILED"


def test_what_succeeds_while_the_run_is_cancelled_is_undone_too() -> None:
    run = Simulation(flow(undoable("a"), step("c")), {"n": 1})
    run.cancel()

    run.succeed("a")
    run.confirm_cancels()

    assert list(run.out) == [("a.compensate", 0, 1)]


@pytest.mark.parametrize(
    ("reason", "metadata", "uncertain"),
    [
        (Reason.OUTCOME_UNKNOWN, {}, "c"),
        (Reason.AGENT_ERROR, {}, None),
        (Reason.INVALID_ARGUMENTS, {}, None),
        (Reason.DEADLINE_EXCEEDED, {}, "c"),
    ],
)
def test_a_step_whose_effect_may_have_happened_is_named(reason: Reason, metadata: dict[str, str], uncertain: str | None) -> None:
    run = Simulation(flow(undoable("a"), undoable("c", needs=["a"])), {"n": 1})
    run.succeed("a")

    run.fail("c", reason, retryable=False, metadata=metadata)
    run.succeed("a.compensate")

    assert run.failure().metadata.get("uncertain") == uncertain
    assert "c.compensate" not in run.states()


def test_a_list_that_was_done_in_part_is_uncertain() -> None:
    run = Simulation(flow(undoable("a", items=Template([1, 2]), max_parallel=2)), {"n": 1})
    run.succeed("a", task=0)

    run.fail("a", task=1)

    assert run.failure().metadata["uncertain"] == "a"


def test_a_call_that_is_cancelled_with_its_outcome_unknown_is_uncertain() -> None:
    run = Simulation(flow(undoable("a"), timeout=5), {"n": 1})

    run.advance(5)
    run.fail("a", Reason.OUTCOME_UNKNOWN)

    assert run.failure().metadata["uncertain"] == "a"


def test_a_call_that_was_being_cancelled_when_its_process_went_is_uncertain() -> None:
    run = Simulation(flow(undoable("a"), timeout=5), {"n": 1})
    run.advance(5)

    run.crash()

    assert run.failure().metadata["uncertain"] == "a"


def test_what_was_taken_over_from_another_run_is_left_to_that_run() -> None:
    definition = flow(undoable("a"), undoable("b", needs=["a"]), step("c", needs=["b"]))
    earlier = Simulation(definition, {"n": 1})
    for name in "abc":
        earlier.succeed(name, name)
    kept = repeated(definition, earlier.run_row, earlier.step_rows.values(), "b").steps
    assert [row.id for row in kept] == ["a"]
    run = Simulation(definition, {"n": 1}, steps=kept)
    run.succeed("b", 2)

    run.fail("c")
    assert list(run.out) == [("b.compensate", 0, 1)]
    run.succeed("b.compensate")

    assert run.state.value == "FAILED"


def test_steps_that_end_at_the_same_time_are_undone_in_the_order_of_their_ends() -> None:
    run = Simulation(flow(undoable("a"), undoable("b"), undoable("c"), step("d")), {"n": 1})
    for name in "bca":
        run.succeed(name)

    run.fail("d")

    order = []
    while run.out:
        name = next(iter(run.out))[0]
        order.append(name)
        run.succeed(name)
    assert order == ["a.compensate", "c.compensate", "b.compensate"]
