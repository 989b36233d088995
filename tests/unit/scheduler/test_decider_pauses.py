"""What becomes of runs that are paused, or wait for their concurrency group."""

from datetime import timedelta

from parade.wire.errors import Reason
from parade_scheduler.decider import Admitted, CancelRequested
from parade_scheduler.language import Retry, Template
from parade_scheduler.language.definition import Loop, Signal, Timer
from parade_scheduler.model import EventType, Kind, RunState
from tests.unit.scheduler.simulation import START, Simulation, flow, of, step


def test_a_paused_run_takes_results_and_begins_nothing() -> None:
    run = Simulation(flow(step("a"), step("b", needs=["a"]), step("c", items=Template([1, 2, 3]))))

    run.pause()
    run.succeed("a", 1)
    run.succeed("c", task=0)

    assert run.states() == {"a": "SUCCEEDED", "b": "PENDING", "c": "RUNNING"}
    assert run.out == {}
    run.resume()
    assert sorted(run.out) == [("b", 0, 1), ("c", 1, 1)]
    told = [(event.type, event.by, event.message) for event in run.events if event.type in (EventType.RUN_PAUSED, EventType.RUN_RESUMED)]
    assert told == [(EventType.RUN_PAUSED, "spiffe://parade/ana", "lunch"), (EventType.RUN_RESUMED, "spiffe://parade/ana", "")]


def test_a_run_whose_steps_all_end_while_paused_ends_when_it_goes_on() -> None:
    run = Simulation(flow(step("a")))
    run.pause()
    run.succeed("a")
    assert run.state.value == "PAUSED"

    run.resume()

    assert run.state.value == "SUCCEEDED"


def test_timers_that_ring_in_a_pause_are_dealt_with_after_it() -> None:
    run = Simulation(
        flow(
            step("a", retry=Retry(attempts=2)),
            step("b", Kind.TIMER, wait=Timer(Template("10s"))),
            step("c", Kind.SIGNAL, wait=Signal("go"), timeout=10),
            step("d", Kind.TIMER, wait=Timer(Template("100s"))),
        )
    )
    run.fail("a")
    run.pause()
    assert run.execution.sleeping_until() is None

    run.advance(60)
    assert run.states() == {"a": "RUNNING", "b": "RUNNING", "c": "RUNNING", "d": "RUNNING"}
    run.resume()
    run.advance(0)

    assert run.states() == {"a": "RUNNING", "b": "SUCCEEDED", "c": "FAILED", "d": "RUNNING"}
    assert list(run.out) == [("a", 0, 2)]
    run.advance(40)
    assert run.states()["d"] == "SUCCEEDED"


def test_a_failure_in_a_pause_is_tried_again_after_it() -> None:
    run = Simulation(flow(step("a", retry=Retry(attempts=2))))
    run.pause()

    run.fail("a")
    run.advance(10)
    assert run.out == {}
    run.resume()
    run.advance(0)

    assert list(run.out) == [("a", 0, 2)]


def test_a_signal_in_a_pause_is_taken() -> None:
    run = Simulation(flow(step("a", Kind.SIGNAL, wait=Signal("go")), step("b", Kind.SIGNAL, needs=["a"], wait=Signal("go"))))
    run.pause()

    run.signal("go", 1)
    run.signal("go", 2)
    assert run.states() == {"a": "SUCCEEDED", "b": "PENDING"}
    run.resume()

    assert run.output("b") == 2


def test_a_loop_takes_no_turn_in_a_pause() -> None:
    run = Simulation(flow(step("a", loop=Loop(of("index == 1"), 9))))
    run.pause()
    run.succeed("a", task=0)
    assert run.states() == {"a": "RUNNING"}

    run.crash()
    run.resume()
    run.succeed("a", task=1)

    assert run.state.value == "SUCCEEDED"


def test_a_race_is_decided_after_a_pause_for_who_was_first() -> None:
    run = Simulation(flow(step("a"), step("b"), step("r", Kind.RACE, race=("a", "b"))))
    run.pause()
    run.succeed("b")
    run.advance(1)
    run.succeed("a")

    run.resume()

    assert run.output("r")["step"] == "b"


def test_the_timeout_of_a_run_goes_on_in_a_pause() -> None:
    run = Simulation(flow(step("a"), timeout=30))
    run.pause()
    assert run.execution.sleeping_until() == START + timedelta(seconds=30)

    run.advance(30)
    run.confirm_cancels()

    assert run.failure().reason is Reason.DEADLINE_EXCEEDED


def test_a_paused_run_can_be_cancelled() -> None:
    run = Simulation(flow(step("a"), step("b", needs=["a"])))
    run.pause()

    run.cancel()
    run.confirm_cancels()

    assert run.state.value == "CANCELLED"


def test_after_a_crash_a_paused_run_stays_paused_and_keeps_its_calls() -> None:
    run = Simulation(flow(step("a"), step("b", needs=["a"])))
    run.pause()

    run.crash()
    assert run.out["a", 0, 1].redelivered
    run.succeed("a")

    assert run.states() == {"a": "SUCCEEDED", "b": "PENDING"}
    run.resume()
    assert run.handed_out("b") == [0]


def test_only_a_running_run_is_paused_and_only_a_paused_one_resumed() -> None:
    run = Simulation(flow(step("a")))
    assert run.resume().events == ()
    run.pause()
    assert run.pause().events == ()
    run.cancel()

    assert run.pause().events == ()
    assert run.resume().events == ()


def test_a_queued_run_begins_when_it_is_admitted() -> None:
    run = Simulation(flow(step("a"), timeout=30), state=RunState.QUEUED)
    assert (run.kinds(), run.out, run.timers) == ([EventType.RUN_QUEUED], {}, [])
    assert run.execution.idle
    run.advance(100)
    assert run.pause().events == ()
    run.crash()

    run.tell(Admitted())

    assert run.kinds()[1:3] == [EventType.RUN_STARTED, EventType.STEP_STARTED]
    assert run.run_row.deadline == START + timedelta(seconds=130)
    assert run.tell(Admitted()).events == ()
    run.succeed("a")
    assert run.state.value == "SUCCEEDED"


def test_a_queued_run_is_cancelled_at_once() -> None:
    run = Simulation(flow(step("a"), step("b", needs=["a"])), state=RunState.QUEUED)

    run.tell(CancelRequested("no need", "spiffe://parade/ana"))

    assert run.state.value == "CANCELLED"
    told = next(event for event in run.events if event.type is EventType.RUN_CANCELLING)
    assert (told.message, told.by) == ("no need", "spiffe://parade/ana")
    assert run.states() == {"a": "CANCELLED", "b": "CANCELLED"}
    assert run.ends == 1


def test_a_queued_run_keeps_signals() -> None:
    run = Simulation(flow(step("a", Kind.SIGNAL, wait=Signal("go"))), state=RunState.QUEUED)
    run.signal("go", 1)

    run.tell(Admitted())

    assert run.output("a") == 1


def test_who_cancels_is_on_record() -> None:
    run = Simulation(flow(step("a")))

    run.tell(CancelRequested("late", "spiffe://parade/ana"))

    told = next(event for event in run.events if event.type is EventType.RUN_CANCELLING)
    assert (told.message, told.by) == ("late", "spiffe://parade/ana")
