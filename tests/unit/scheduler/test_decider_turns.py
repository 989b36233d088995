"""Durable functions in the decider: turns, and what is asked for in them.

One file, though a long one: it follows one function through every kind of wait and every way that a turn can go.
"""

from datetime import timedelta
from typing import Any

import orjson
import pytest

from parade.wire.errors import Reason
from parade_scheduler.decider import CancelTask, Dispatch, StartChild, TaskSucceeded
from parade_scheduler.decider.asks import MAX_ASKS, Entries, envelope_of
from parade_scheduler.decider.execution import Execution
from parade_scheduler.definitions.durables import PATIENCE, definition_of
from parade_scheduler.document import Document
from parade_scheduler.model import EventType, RunState, TaskState
from tests.unit.scheduler.simulation import START, Simulation

MICROS = int(START.timestamp()) * 1_000_000


def ask(kind: str = "CALL", name: str = "a.b", **words: Any) -> dict[str, Any]:
    return {"kind": kind, "name": name, "digest": "d", **words}


class Durable(Simulation):
    """A run of a durable function; the test says what its turns answer."""

    def __init__(self, inputs: Any = None, *, patience: float = PATIENCE) -> None:
        super().__init__(definition_of("travel.trip", patience=patience), inputs)

    def envelope(self) -> Any:
        """Returns what the turn under way was given, the whole journal where that only told what is new."""
        return self._whole

    def _hand_out(self, effect: Dispatch | StartChild) -> None:
        if effect.task == 0 and isinstance(effect, Dispatch):
            self._whole = envelope_of(self.run_row, self.execution.tasks["main"], Entries()).value
            given = effect.arguments.value
            if "news" in given:
                entries = [{"index": index, **entry} for index, entry in enumerate(self._whole["journal"], 1)]
                unheard = [entry for entry in entries if entry.get("ended", 0) > self._whole["seen"]]
                assert given["news"] == sorted(unheard, key=lambda entry: entry["ended"])
                assert given["known"]["count"] == len(entries)
                assert (given["seen"], given["time"]) == (self._whole["seen"], self._whole["time"])
            else:
                assert given == self._whole
        super()._hand_out(effect)

    def has_turn(self) -> bool:
        return 0 in self.handed_out("main")

    def waits(self, *asks: dict[str, Any], cancels: tuple[int, ...] = (), seen: int | None = None) -> None:
        """Answers a turn with what is asked for next, having seen everything that it was given."""
        journal = self.envelope()["journal"]
        newest = max((entry.get("ended", 0) for entry in journal), default=0)
        numbered = [{"index": index, **one} for index, one in enumerate(asks, len(journal) + 1)]
        self.succeed("main", {"asks": numbered, "cancels": list(cancels), "seen": newest if seen is None else seen})

    def returns(self, value: Any) -> None:
        self.succeed("main", {"result": value})

    def check_rows(self) -> None:
        """Checks that the rows say everything."""
        made, held = self.from_rows(), self.execution
        for name in vars(Execution(self.definition, self.run_row)):
            if name != "bindings":
                assert getattr(made, name) == getattr(held, name), name


def test_a_function_that_returns_at_once_takes_one_turn() -> None:
    run = Durable({"city": "Rome"})

    assert run.envelope() == {"arguments": {"city": "Rome"}, "journal": [], "seen": 0, "time": MICROS}
    run.returns([1, "x"])

    assert run.state is RunState.SUCCEEDED
    assert run.run_row.outputs == Document(b'[1,"x"]')
    assert run.ends == 1


def test_what_it_asks_for_is_handed_out_and_its_end_gives_it_another_turn() -> None:
    run = Durable()

    run.waits(ask(arguments={"city": "Rome"}, timeout=5))
    assert not run.has_turn()
    [dispatch] = run.out.values()
    assert (dispatch.function, dispatch.arguments.value, dispatch.timeout, dispatch.affine) == ("a.b", {"city": "Rome"}, 5, False)
    run.check_rows()
    run.succeed("main", {"room": 7}, task=1)

    assert run.has_turn()
    assert run.out["main", 0, 2].affine
    assert run.envelope()["journal"] == [
        {"kind": "CALL", "name": "a.b", "digest": "d", "state": "SUCCEEDED", "ended": MICROS, "output": {"room": 7}}
    ]
    run.check_rows()
    run.returns(7)
    assert run.state is RunState.SUCCEEDED
    assert run.execution.tasks["main"][1].state is TaskState.SUCCEEDED


def test_a_failure_of_what_it_asked_for_is_its_own_affair() -> None:
    run = Durable()
    run.waits(ask())

    run.fail("main", Reason.AGENT_ERROR, task=1, retryable=False, metadata={"exception_type": "KeyError"})

    [entry] = run.envelope()["journal"]
    assert entry["state"] == "FAILED"
    assert entry["failure"] == {
        "reason": "AGENT_ERROR",
        "message": "no luck",
        "violations": [],
        "metadata": {"exception_type": "KeyError"},
        "retryable": False,
    }
    run.check_rows()
    run.returns("all the same")
    assert run.state is RunState.SUCCEEDED


def test_a_failure_of_the_code_is_the_runs() -> None:
    run = Durable()
    run.waits(ask(), ask("TIMER", "", seconds=60))
    run.succeed("main", task=1)

    run.fail("main", Reason.AGENT_ERROR, retryable=False, metadata={"exception_type": "NondeterminismError"})

    assert run.state is RunState.FAILED
    assert run.failure().message == "no luck"
    assert run.failure().metadata["exception_type"] == "NondeterminismError"
    assert run.execution.tasks["main"][2].state is TaskState.CANCELLED


def test_ends_in_the_same_moment_have_an_order_that_the_journal_tells() -> None:
    run = Durable()
    run.waits(ask(), ask(), ask())

    run.succeed("main", "third", task=3)
    run.succeed("main", "first", task=1)
    run.succeed("main", "second", task=2)
    assert [entry["state"] for entry in run.envelope()["journal"]] == ["OPEN", "OPEN", "SUCCEEDED"]
    run.waits()

    assert [entry["ended"] - MICROS for entry in run.envelope()["journal"]] == [1, 2, 0]
    assert run.envelope()["seen"] == MICROS
    run.check_rows()


def test_one_turn_at_a_time_and_another_at_once_where_something_ended_meanwhile() -> None:
    run = Durable()
    run.waits(ask(), ask())
    run.succeed("main", task=1)

    run.succeed("main", task=2)
    assert [key for key in run.out if key[1] == 0] == [("main", 0, 2)]
    run.waits()
    assert [key for key in run.out if key[1] == 0] == [("main", 0, 3)]
    run.waits(ask("SIGNAL", "go"))

    assert not run.has_turn()
    run.check_rows()


def test_a_turn_that_was_cut_off_is_taken_again_and_counts_once() -> None:
    run = Durable()
    run.waits(ask())
    run.succeed("main", task=1)
    assert "news" in run.arguments("main")

    run.crash()
    again = run.out["main", 0, 2]
    assert (again.arguments.value, again.resumed, again.redelivered) == (run.envelope(), True, True)
    run.waits(ask())
    run.tell(TaskSucceeded("main", 0, 2, Document.of({"asks": [{"index": 3, **ask()}], "cancels": [], "seen": MICROS})))

    assert run.handed_out("main") == [2]
    assert run.step_rows["main"].tasks == 3


def test_the_answer_of_a_turn_that_was_asked_after_may_be_older_than_what_ended() -> None:
    run = Durable()
    run.waits(ask(), ask())
    run.succeed("main", "first", task=1)
    seen = max(entry.get("ended", 0) for entry in run.envelope()["journal"])
    run.succeed("main", "second", task=2)
    run.crash()

    run.waits(ask("SIGNAL", "go"), seen=seen)

    assert run.has_turn()
    assert run.envelope()["seen"] == seen
    assert [entry["state"] for entry in run.envelope()["journal"]] == ["SUCCEEDED", "SUCCEEDED", "OPEN"]


def test_recovery_takes_up_what_it_waits_for() -> None:
    run = Durable()
    run.waits(ask(), ask("TIMER", "", seconds=60), ask("SIGNAL", "go"), ask("RUN", "report", arguments={"year": 1}))

    run.crash()
    run.check_rows()

    assert run.handed_out("main") == [1]
    assert run.out["main", 1, 1].resumed
    [child] = run.children.values()
    assert (child.workflow, child.inputs.value) == ("report", {"year": 1})
    run.advance(60)
    assert run.envelope()["journal"][1] == {
        "kind": "TIMER",
        "name": "",
        "digest": "d",
        "state": "SUCCEEDED",
        "ended": MICROS + 60_000_000,
        "output": None,
    }


def test_an_outage_and_a_retry_are_no_ends() -> None:
    run = Durable()
    run.waits(ask(retry={"attempts": 2, "delay": "3s", "jitter": 0}))

    run.fail("main", Reason.UNAVAILABLE, task=1)
    run.advance(1)
    assert run.handed_out("main") == [1]
    run.fail("main", Reason.AGENT_ERROR, task=1)
    assert not run.has_turn()
    run.advance(2.9)
    assert run.handed_out("main") == []
    run.advance(0.2)
    run.fail("main", Reason.AGENT_ERROR, task=1)

    assert run.has_turn()
    assert run.envelope()["journal"][0]["state"] == "FAILED"


def test_an_agent_that_is_away_costs_no_turn() -> None:
    run = Durable()
    run.fail("main", Reason.NO_CAPACITY)
    run.advance(1)
    assert run.out["main", 0, 2].arguments.value["journal"] == []

    run.waits(ask())

    assert run.execution.tasks["main"][0].outages == 0


def test_it_waits_for_its_agent_for_days_and_asks_less_often_after_a_while() -> None:
    run = Durable()
    pauses = []
    while run.now - START < timedelta(days=6):
        run.fail("main", Reason.NO_CAPACITY)
        pauses.append((run.execution.tasks["main"][0].retry_time or START) - run.now)
        run.advance(pauses[-1].total_seconds())

    run.returns("done")

    assert run.state is RunState.SUCCEEDED
    assert set(pauses[-1000:]) == {timedelta(minutes=1)}
    assert timedelta(minutes=9) < sum((pause for pause in pauses if pause < timedelta(minutes=1)), timedelta()) < timedelta(minutes=11)


@pytest.mark.parametrize("days", [1, 7])
def test_it_waits_for_its_agent_no_longer_than_is_set(days: int) -> None:
    run = Durable(patience=days * 86_400.0)

    while run.has_turn():
        run.fail("main", Reason.NO_CAPACITY)
        run.advance(60)

    assert run.state is RunState.FAILED
    assert run.run_row.failure is not None
    assert run.run_row.failure.reason is Reason.NO_CAPACITY
    assert timedelta(days=days, minutes=-2) < run.now - START < timedelta(days=days, minutes=2)


def test_a_turn_that_hangs_is_taken_again_and_not_for_ever() -> None:
    run = Durable()
    run.fail("main", Reason.DEADLINE_EXCEEDED)
    run.advance(60)
    run.waits(ask())
    run.succeed("main", 1, task=1)

    for _ in range(3):
        assert run.has_turn()
        run.fail("main", Reason.DEADLINE_EXCEEDED)
        run.advance(60)

    assert run.state is RunState.FAILED


def test_what_it_asks_for_is_waited_for_as_long_as_it_says() -> None:
    run = Durable()
    run.waits(ask(), ask(timeout=3600))
    failures: list[tuple[int, timedelta]] = []

    while len(failures) < 2:
        for task in [task for task in run.handed_out("main") if task]:
            run.fail("main", Reason.NO_CAPACITY, task=task)
            if run.execution.tasks["main"][task].state is TaskState.FAILED:
                failures.append((task, run.now - START))
        run.advance(5)

    assert [task for task, _ in failures] == [1, 2]
    assert timedelta(minutes=9, seconds=50) < failures[0][1] < timedelta(minutes=10, seconds=10)
    assert timedelta(minutes=59, seconds=50) < failures[1][1] < timedelta(minutes=60, seconds=10)


def test_a_signal_that_came_before_is_taken_at_once() -> None:
    run = Durable()
    run.signal("go", 5)
    run.waits(ask("SIGNAL", "go"), ask("SIGNAL", "stop", timeout=10))

    assert [entry["state"] for entry in run.envelope()["journal"]] == ["SUCCEEDED", "OPEN"]
    run.waits()
    run.advance(10)

    entry = run.envelope()["journal"][1]
    assert entry["failure"]["reason"] == "DEADLINE_EXCEEDED"
    assert entry["failure"]["message"] == "no signal `stop` came within 10s"
    run.check_rows()


def test_an_approval_says_who_is_asked_and_who_gave_it() -> None:
    run = Durable()
    run.waits(ask("APPROVAL", "", message="Spend it?", approvers=["spiffe://parade/*"]), ask("APPROVAL", ""))

    waiting = [event for event in run.events if event.type is EventType.TASK_WAITING]
    assert [event.message for event in waiting] == ["Spend it?", ""]
    asked = run.task_rows["main", 1].arguments
    assert asked is not None
    assert (asked.value["approvers"], asked.value["message"]) == (["spiffe://parade/*"], "Spend it?")
    run.resolve("main", approved=True, task=1)
    assert run.envelope()["journal"][0]["output"] == {"approved": True, "by": "spiffe://parade/ana", "note": "as agreed"}
    run.waits()
    run.resolve("main", approved=False, task=2)
    assert run.envelope()["journal"][1]["failure"]["reason"] == "FAILED_PRECONDITION"


def test_a_child_run_is_started_ends_and_is_given_its_time() -> None:
    run = Durable()
    run.waits(ask("RUN", "report", timeout=30))
    [child] = run.children.values()
    assert isinstance(child, StartChild)

    run.advance(30)
    run.confirm_cancels()

    [entry] = run.envelope()["journal"]
    assert entry["failure"]["reason"] == "DEADLINE_EXCEEDED"


def test_what_it_gives_up_is_cancelled_and_is_no_end() -> None:
    run = Durable()
    run.waits(ask(), ask("TIMER", "", seconds=60), ask("RUN", "report"), ask())
    run.succeed("main", task=4)

    decisions_before = len(run.cancelled)
    run.waits(ask("SIGNAL", "go"), ask(), cancels=(1, 2, 3, 6))

    assert len(run.cancelled) == decisions_before + 2
    assert [run.task_rows["main", index].state for index in (1, 2, 3, 6)] == [TaskState.CANCELLED] * 4
    run.confirm_cancels()
    run.advance(100)
    assert not run.has_turn()
    run.check_rows()
    run.signal("go")
    assert [entry["state"] for entry in run.envelope()["journal"]] == [
        "CANCELLED", "CANCELLED", "CANCELLED", "SUCCEEDED", "SUCCEEDED", "CANCELLED",
    ]  # fmt: skip


def test_a_child_run_that_was_given_up_is_cancelled_again_by_the_next_process() -> None:
    run = Durable()
    run.waits(ask("RUN", "report"), ask())
    run.succeed("main", task=2)
    run.waits(ask("SIGNAL", "go"), cancels=(1,))

    run.crash()

    assert run.cancelled == {("main", 1, 1)}
    run.confirm_cancels()
    assert not run.has_turn()


def test_what_is_open_when_it_returns_is_cancelled() -> None:
    run = Durable()
    run.waits(ask(), ask(), ask("SIGNAL", "go"))
    run.succeed("main", task=1)

    run.returns("done")

    assert run.state is RunState.SUCCEEDED
    assert run.cancelled == {("main", 2, 1)}
    assert run.task_rows["main", 3].state is TaskState.CANCELLED


def test_a_cancelled_run_ends_its_turn_and_what_it_waits_for() -> None:
    run = Durable()
    run.waits(ask(), ask("TIMER", "", seconds=60))
    run.succeed("main", task=1)

    decisions = run.cancel("enough")
    assert CancelTask("main", 0, 2) in decisions.effects
    run.confirm_cancels()

    assert run.state is RunState.CANCELLED
    assert run.states() == {"main": "CANCELLED"}


def test_a_turn_that_comes_back_to_a_cancelled_run_asks_for_nothing_more() -> None:
    run = Durable()
    run.cancel()

    run.waits(ask())

    assert run.state is RunState.CANCELLED
    assert run.handed_out("main") == []


def test_a_paused_run_takes_no_turn_and_hands_nothing_out() -> None:
    run = Durable()
    run.waits(ask(), ask())
    run.succeed("main", task=1)
    run.pause()

    run.waits(ask(), ask("RUN", "report"), ask("SIGNAL", "go"))
    run.succeed("main", task=2)
    assert run.handed_out("main") == []
    assert not run.children
    run.check_rows()
    run.resume()
    run.advance(0)

    assert run.handed_out("main") == [0, 3]
    assert len(run.children) == 1
    assert run.envelope()["journal"][1]["state"] == "SUCCEEDED"


def test_who_does_not_keep_the_function_is_told_everything() -> None:
    run = Durable({"city": "Rome"})
    run.waits(ask())
    run.succeed("main", 7, task=1)
    assert run.arguments("main").keys() == {"news", "known", "seen", "time"}

    run.succeed("main", {"again": True})
    assert run.arguments("main").keys() == {"arguments", "journal", "seen", "time"}
    run.waits(ask())
    run.succeed("main", 8, task=2)

    assert [entry["index"] for entry in run.arguments("main")["news"]] == [2]
    run.check_rows()


def test_who_wants_to_be_told_everything_for_ever_is_not() -> None:
    run = Durable()
    for _ in range(6):
        run.succeed("main", {"again": True})

    assert run.failure().reason is Reason.INTERNAL


def test_a_run_sleeps_between_turns() -> None:
    run = Durable()
    run.waits(ask("TIMER", "", seconds=3600), ask("SIGNAL", "go"))

    assert run.execution.idle
    assert run.execution.sleeping_until() == START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no answer"),
        ({}, "asks"),
        ({"asks": [], "cancels": []}, "seen"),
        ({"asks": [{"index": 2, **ask()}], "cancels": [], "seen": 0}, "request 2 stands where request 1 does"),
        ({"asks": [{"index": 1, **ask("DANCE")}], "cancels": [], "seen": 0}, "DANCE"),
        ({"asks": [{"index": 1, **ask("TIMER", "")}], "cancels": [], "seen": 0}, "timer without a time"),
        ({"asks": [{"index": 1, **ask(timeout=-1)}], "cancels": [], "seen": 0}, "timeout of request 1"),
        ({"asks": [{"index": 1, **ask(timeout="5")}], "cancels": [], "seen": 0}, "no answer"),
        ({"asks": [{"index": 1, **ask(arguments=[1])}], "cancels": [], "seen": 0}, "no object"),
        ({"asks": [{"index": 1, **ask(retry={"attempts": 0})}], "cancels": [], "seen": 0}, "from 1 to"),
        ({"asks": [{"index": 1, **ask(retry={"delay": "soon"})}], "cancels": [], "seen": 0}, "no duration"),
        ({"asks": [{"index": 1, "kind": "CALL", "name": 5, "digest": "d"}], "cancels": [], "seen": 0}, "texts"),
        ({"asks": [], "cancels": [], "seen": 1 << 60}, "no answer"),
        ({"asks": [], "cancels": [], "seen": 0}, "nothing can come of it"),
    ],
)
def test_an_answer_that_is_none_fails_the_run_and_says_why(answer: Any, said: str) -> None:
    run = Durable()

    run.succeed("main", answer)

    assert run.state is RunState.FAILED
    assert said in run.failure().message


def test_an_agent_that_does_not_hear_is_not_asked_for_ever() -> None:
    run = Durable()
    run.waits(ask(), ask())
    run.succeed("main", task=1)

    run.waits(seen=0)

    assert not run.has_turn()
    run.confirm_cancels()
    assert run.state is RunState.FAILED
    assert run.failure().reason is Reason.INTERNAL


def test_a_run_asks_for_so_much_and_no_more() -> None:
    run = Durable()

    run.waits(*[ask("SIGNAL", "go")] * (MAX_ASKS + 1))

    assert run.state is RunState.FAILED
    assert "let child runs do parts of it" in run.failure().message


def test_a_journal_that_is_too_large_for_a_turn_fails_the_run_and_says_what_to_do() -> None:
    run = Durable()
    run.waits(ask(), ask())
    run.succeed("main", "x" * 3_000_000, task=1)
    run.waits()

    run.succeed("main", "x" * 3_000_000, task=2)

    assert run.state is RunState.FAILED
    assert run.failure().reason is Reason.FAILED_PRECONDITION
    assert "let child runs do parts of it" in run.failure().message


def test_the_history_tells_what_was_asked_for_and_not_every_turn() -> None:
    run = Durable()
    run.waits(ask())
    run.succeed("main", task=1)
    run.waits(ask("RUN", "report"))
    run.succeed("main", task=2)
    run.returns(None)

    assert [(event.type.value, event.task, event.message) for event in run.events if event.step] == [
        ("STEP_STARTED", 0, ""),
        ("TASK_STARTED", 0, ""),
        ("TASK_STARTED", 1, "a.b"),
        ("TASK_SUCCEEDED", 1, ""),
        ("TASK_STARTED", 2, "report"),
        ("TASK_SUCCEEDED", 2, ""),
        ("TASK_SUCCEEDED", 0, ""),
        ("STEP_SUCCEEDED", 0, ""),
    ]


def test_what_was_given_is_not_kept_for_longer_than_it_may_be_given_again() -> None:
    run = Durable()
    run.waits(ask(arguments={"text": "x" * 1_000}, retry={"attempts": 2, "delay": "1s", "jitter": 0}), ask(arguments={"text": "x" * 1_000}))

    run.fail("main", Reason.AGENT_ERROR, task=1)
    run.advance(1)
    assert run.arguments("main", 1) == {"text": "x" * 1_000}
    run.succeed("main", task=1)
    run.fail("main", Reason.OUTCOME_UNKNOWN, task=2)

    assert [run.task_rows["main", task].arguments for task in (1, 2)] == [Document(b'{"digest":"d"}')] * 2
    run.check_rows()


def test_a_journal_is_the_same_whether_or_not_it_was_written_before() -> None:
    run = Durable()
    run.waits(*[ask()] * 6, ask("SIGNAL", "go"))

    for task in (3, 1, 2, 6, 4, 5):
        run.succeed("main", task, task=task)
        run.waits()
        rows = run.execution.tasks["main"]
        assert orjson.loads(b"[%b]" % run.execution.entries.joined(rows)) == orjson.loads(b"[%b]" % Entries().joined(rows))
