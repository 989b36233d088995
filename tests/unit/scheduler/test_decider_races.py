"""What becomes of steps that race."""

from datetime import timedelta

from parade.wire.errors import Reason
from parade_scheduler.decider import Dispatch, Recovered
from parade_scheduler.language import Retry, Template
from parade_scheduler.language.definition import Approval, Timer
from parade_scheduler.model import EventType, Kind
from tests.unit.scheduler.simulation import START, Simulation, flow, of, step


def test_the_first_that_succeeds_wins_and_the_others_are_cancelled() -> None:
    run = Simulation(
        flow(step("a"), step("b"), step("r", Kind.RACE, race=("a", "b")), step("c", needs=["r"], given={"r": of("steps.r.output")}))
    )

    run.succeed("b", 5)

    assert run.output("r") == {"step": "b", "output": 5}
    assert run.states() == {"a": "RUNNING", "b": "SUCCEEDED", "r": "SUCCEEDED", "c": "RUNNING"}
    assert run.arguments("c") == {"r": {"step": "b", "output": 5}}
    assert run.cancelled == {("a", 0, 1)}
    run.confirm_cancels()
    run.succeed("c")
    assert run.states()["a"] == "CANCELLED"
    assert run.state.value == "SUCCEEDED"


def test_a_racer_that_fails_fails_neither_the_race_nor_the_run() -> None:
    run = Simulation(
        flow(
            step("a"),
            step("b"),
            step("r", Kind.RACE, race=("a", "b")),
            step("c", needs=["r"], condition=of("failure"), decides_alone=True),
        )
    )
    run.fail("a")
    assert run.states()["r"] == "PENDING"

    run.succeed("b")

    assert run.states() == {"a": "FAILED", "b": "SUCCEEDED", "r": "SUCCEEDED", "c": "SKIPPED"}
    assert run.state.value == "SUCCEEDED"


def test_a_race_that_nobody_wins_fails_with_the_first_failure() -> None:
    run = Simulation(flow(step("a"), step("b"), step("c", condition=False), step("r", Kind.RACE, race=("a", "b", "c"))))

    run.fail("b", Reason.UNKNOWN_FUNCTION)
    run.advance(1)
    run.fail("a", Reason.AGENT_ERROR)

    assert run.states() == {"a": "FAILED", "b": "FAILED", "c": "SKIPPED", "r": "FAILED"}
    assert run.failure().reason is Reason.UNKNOWN_FUNCTION
    assert "none of the steps that raced succeeded; `b` failed first: no luck" in run.failure().message
    assert run.failure().metadata["step"] == "r"


def test_a_race_of_steps_that_do_not_run_fails() -> None:
    run = Simulation(flow(step("a", condition=False), step("b", condition=False), step("r", Kind.RACE, race=("a", "b"))))

    assert run.failure().reason is Reason.FAILED_PRECONDITION


def test_a_branch_that_has_lost_is_given_up_as_a_whole() -> None:
    run = Simulation(
        flow(
            step("a0", Kind.APPROVAL, wait=Approval()),
            step("a1", needs=["a0"]),
            step("a", needs=["a1"]),
            step("b", Kind.TIMER, wait=Timer(Template("1m"))),
            step("r", Kind.RACE, race=("a", "b")),
            step("after", needs=["a"]),
        )
    )

    run.advance(60)

    assert run.states() == {
        "a0": "CANCELLED",
        "a1": "SKIPPED",
        "a": "CANCELLED",
        "b": "SUCCEEDED",
        "r": "SUCCEEDED",
        "after": "SKIPPED",
    }
    assert run.state.value == "SUCCEEDED"


def test_what_others_need_too_is_not_given_up() -> None:
    run = Simulation(
        flow(step("shared"), step("a", needs=["shared"]), step("b"), step("r", Kind.RACE, race=("a", "b")), step("other", needs=["shared"]))
    )

    run.succeed("b")
    assert run.states()["shared"] == "RUNNING"
    assert run.states()["a"] == "CANCELLED"
    run.succeed("shared")
    run.succeed("other")

    assert run.state.value == "SUCCEEDED"


def test_a_racer_whose_own_race_is_open_goes_on_although_another_branch_has_lost() -> None:
    run = Simulation(
        flow(
            step("a"),
            step("b"),
            step("open", Kind.RACE, race=("a", "b")),
            step("x", needs=["a"]),
            step("c"),
            step("decided", Kind.RACE, race=("x", "c")),
        )
    )

    run.succeed("c")
    assert run.states()["x"] == "CANCELLED"
    assert run.states()["a"] == "RUNNING"
    assert run.cancelled == set()
    run.succeed("a", 1)

    assert run.output("open") == {"step": "a", "output": 1}


def test_a_run_that_is_cancelled_has_no_losers_any_more() -> None:
    run = Simulation(flow(step("a"), step("b"), step("r", Kind.RACE, race=("a", "b")), step("c", needs=["r"])))
    run.succeed("b")
    assert run.execution.lost == run.from_rows().lost == {"a"}

    run.cancel()

    assert run.execution.lost == run.from_rows().lost == set()


def test_a_race_within_a_race_is_given_up_with_its_racers() -> None:
    run = Simulation(
        flow(
            step("a"),
            step("b"),
            step("inner", Kind.RACE, race=("a", "b")),
            step("c"),
            step("outer", Kind.RACE, race=("inner", "c")),
        )
    )

    run.succeed("c")
    run.confirm_cancels()

    assert run.states() == {"a": "CANCELLED", "b": "CANCELLED", "inner": "CANCELLED", "c": "SUCCEEDED", "outer": "SUCCEEDED"}


def test_the_winner_of_a_race_within_a_race_wins_both() -> None:
    run = Simulation(
        flow(step("a"), step("b"), step("inner", Kind.RACE, race=("a", "b")), step("c"), step("outer", Kind.RACE, race=("inner", "c")))
    )

    run.succeed("b", 1)

    assert run.output("outer") == {"step": "inner", "output": {"step": "b", "output": 1}}
    assert run.cancelled == {("a", 0, 1), ("c", 0, 1)}


def test_a_race_waits_for_what_it_needs_besides_its_racers() -> None:
    run = Simulation(flow(step("first"), step("a"), step("b"), step("r", Kind.RACE, needs=["first"], race=("a", "b"))))
    run.succeed("a", 1)
    assert run.states()["r"] == "PENDING"

    run.succeed("first")

    assert run.output("r") == {"step": "a", "output": 1}


def test_a_race_that_lacks_what_it_needs_is_skipped_and_its_racers_go_on() -> None:
    run = Simulation(flow(step("first"), step("a"), step("b"), step("r", Kind.RACE, needs=["first"], race=("a", "b"))))
    run.fail("first")

    run.succeed("a")
    assert run.states() == {"first": "FAILED", "a": "SUCCEEDED", "b": "RUNNING", "r": "SKIPPED"}
    run.succeed("b")

    assert run.state.value == "FAILED"


def test_a_result_of_a_loser_is_kept() -> None:
    run = Simulation(flow(step("a"), step("b"), step("r", Kind.RACE, race=("a", "b"))))
    run.succeed("b", 1)

    run.succeed("a", 2)

    assert run.output("r") == {"step": "b", "output": 1}
    assert run.states()["a"] == "SUCCEEDED"


def test_a_loser_is_not_tried_again() -> None:
    run = Simulation(flow(step("a", retry=Retry(attempts=5)), step("b"), step("r", Kind.RACE, race=("a", "b"))))
    run.fail("a")

    run.succeed("b")
    run.advance(60)

    assert run.states()["a"] == "CANCELLED"
    assert run.out == {}


def test_after_a_crash_losers_stay_lost() -> None:
    run = Simulation(flow(step("a"), step("b"), step("r", Kind.RACE, race=("a", "b")), step("c", needs=["r"])))
    run.succeed("b")

    effects = run.decider.decide(run.from_rows(), Recovered(), START + timedelta(seconds=1)).effects
    run.crash()

    assert [effect.step for effect in effects if isinstance(effect, Dispatch)] == ["c"]
    assert run.states()["a"] == "CANCELLED"


def test_a_race_of_whole_lists_gives_the_list() -> None:
    run = Simulation(flow(step("a", items=Template([1, 2]), max_parallel=2), step("b"), step("r", Kind.RACE, race=("a", "b"))))

    run.succeed("a", "x", task=0)
    run.succeed("a", "y", task=1)

    assert run.output("r") == {"step": "a", "output": ["x", "y"]}
    assert EventType.STEP_STARTED in [event.type for event in run.events if event.step == "r"]
