"""Runs a durable function without a mesh, for its author's tests: what it asks for is answered by the test, and time passes at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from parade import values
from parade.durable.ask import Ask, Kind
from parade.durable.context import Approval
from parade.durable.definition import function_of
from parade.durable.journal import micros_of, time_of
from parade.durable.turns import Turns
from parade.function_error import FunctionError
from parade.hosting.failures import failure_of
from parade.wire.errors import ParadeError, Reason
from parade.wire.log import Log

NEVER: Final = object()
"""As an answer: it does not come. What has a timeout runs into it; what has none is waited for for ever, which fails the test."""

Answers = Mapping[str, Any] | Callable[[Ask], Any]

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a durable function went."""

    result: Any
    """What it returned, as JSON values: what `run.result()` gives."""
    asks: tuple[Ask, ...]
    """Everything that it has asked for, in that order."""
    time: datetime
    """Its clock at the end."""


def replay(
    workflow: Callable[..., Any],
    arguments: Mapping[str, Any] | None = None,
    answers: Answers | None = None,
    *,
    run_id: str = "run-rehearsed",
    start: datetime = _START,
) -> Replayed:
    """Runs a durable function to its end, alone, and anew from its first line for every answer that comes: so it shows whether it can be.

    ```python
    def test_a_trip_is_booked() -> None:
        played = parade.testing.replay(trip, {"city": "Rome"}, {"hotel.book": {"reference": "H1"}})
        assert played.result == {"hotel": "H1"}
    ```

    Args:
        workflow: The durable function.
        arguments: Its arguments by name.
        answers: What comes of what it asks for, by the name of the function, workflow or signal, or the message of the approval; or a
            function of the ask. A value is what comes of it every time; a function is called with the arguments; an exception is why it
            fails. `parade.testing.NEVER` does not come. Timers ring by themselves, once nothing else comes.
        run_id: The run's id, from which the function's chance and ids are made.
        start: When the run begins.

    Raises:
        LookupError: There is no answer to something that it asks for.
        Exception: What the function raised.
    """
    rehearsal = _Rehearsal(answers if answers is not None else {}, micros_of(start))
    function = function_of(workflow)
    given = orjson.loads(values.dumps(dict(arguments or {}), "arguments"))
    while True:
        turns = Turns()
        turn = turns.prepare(function, run_id, rehearsal.envelope(given, micros_of(start)), Log)
        answer = orjson.loads(turns.take(turn))
        turns.close()
        if "result" in answer:
            return Replayed(answer["result"], tuple(rehearsal.asks), time_of(rehearsal.clock))
        rehearsal.note(answer)
        rehearsal.go_on()


class _Rehearsal:
    """The part of the scheduler."""

    def __init__(self, answers: Answers, clock: int) -> None:
        self.clock = clock
        self.asks: list[Ask] = []
        self._answers = answers
        self._journal: list[dict[str, Any]] = []
        self._due: dict[int, int] = {}
        self._open: dict[int, Ask] = {}
        self._seen = 0

    def envelope(self, arguments: Any, start: int) -> bytes:
        return orjson.dumps({"arguments": arguments, "journal": self._journal, "seen": self._seen, "time": start})

    def note(self, answer: Mapping[str, Any]) -> None:
        """Takes what a turn has answered."""
        self._seen = answer["seen"]
        for given in answer["asks"]:
            words = {word: value for word, value in given.items() if word not in ("index", "kind", "name", "digest")}
            ask = Ask(given["index"], Kind(given["kind"]), given["name"], given["digest"], words)
            self.asks.append(ask)
            self._open[ask.index] = ask
            self._journal.append({"kind": ask.kind, "name": ask.name, "digest": ask.digest, "state": "OPEN"})
            limit = words.get("seconds", words.get("timeout"))
            if limit is not None:
                self._due[ask.index] = self.clock + int(limit * _SECOND)
        for index in answer["cancels"]:
            del self._open[index]
            self._journal[index - 1]["state"] = "CANCELLED"

    def go_on(self) -> None:
        """Lets the next thing end: the oldest that is answered, or else what is due first."""
        for index, ask in self._open.items():
            if ask.kind is not Kind.TIMER and self._end(index, ask):
                return
        waiting = [(self._due[index], index) for index in self._open if index in self._due]
        if not waiting:
            raise LookupError(f"the function waits for ever for {', '.join(map(str, self._open.values()))}")
        due, index = min(waiting)
        self.clock = max(self.clock, due - 1)
        ask = self._open[index]
        if ask.kind is Kind.TIMER:
            self._conclude(index, output=None)
        else:
            self._conclude(index, failure=ParadeError(Reason.DEADLINE_EXCEEDED, f"{ask} has not come in time"))

    def _end(self, index: int, ask: Ask) -> bool:
        try:
            given = self._answer(ask)
        except (ParadeError, FunctionError) as error:
            given = error
        if given is NEVER:
            return False
        if isinstance(given, BaseException):
            self._conclude(index, failure=given if isinstance(given, ParadeError) else failure_of(given))
        elif isinstance(given, Approval):
            self._conclude(index, output={"approved": True, "by": given.by, "note": given.note})
        else:
            self._conclude(index, output=orjson.loads(values.dumps(given)))
        return True

    def _answer(self, ask: Ask) -> Any:
        if callable(self._answers):
            return self._answers(ask)
        key = ask.words.get("message", "") if ask.kind is Kind.APPROVAL else ask.name
        if key not in self._answers:
            raise LookupError(f"there is no answer to {ask}" + (f" that says {key!r}" if ask.kind is Kind.APPROVAL else ""))
        answer = self._answers[key]
        return answer(**ask.words.get("arguments", {})) if callable(answer) else answer

    def _conclude(self, index: int, output: Any = None, failure: ParadeError | None = None) -> None:
        self.clock += 1  # no two things end at once
        del self._open[index]
        entry = self._journal[index - 1]
        entry["ended"] = self.clock
        if failure is None:
            entry["state"], entry["output"] = "SUCCEEDED", output
            return
        entry["state"] = "FAILED"
        entry["failure"] = {
            "reason": failure.reason.value,
            "message": failure.message,
            "violations": [{"field": fault.field, "description": fault.description} for fault in failure.violations],
            "metadata": dict(failure.metadata),
            "retryable": failure.retryable,
        }
