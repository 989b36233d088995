"""What a durable function asks for: read from what a turn answers, kept as tasks of its step, told back as its journal. Pure.

How turns go, the contract's `Function.durable` says.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from parade.wire.errors import ParadeError, Reason
from parade_scheduler.backoff import Backoff
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.language import Retry, StepDefinition, Template
from parade_scheduler.language.definition import Approval, Signal, Timer, Wait
from parade_scheduler.language.duration import MAX_SECONDS, seconds
from parade_scheduler.model import TASK_ENDED, Failure, Kind, Run, Task, TaskState

MAX_ASKS: Final = 10_000
"""How much a run may ask for."""
MAX_TRIES: Final = 1_000
"""How often what it asks for may be tried."""

_KINDS: Final = {kind.value: kind for kind in (Kind.CALL, Kind.RUN, Kind.APPROVAL, Kind.SIGNAL, Kind.TIMER)}
_DIGEST_BYTES: Final = 8
_FRAME: Final = 100
"""About what surrounds the journal."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STATES: Final = {TaskState.SUCCEEDED: "SUCCEEDED", TaskState.FAILED: "FAILED", TaskState.CANCELLED: "CANCELLED"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that a function asks for."""

    kind: Kind
    name: str
    words: Document
    """How it is to be done, and the digest by which the function knows it again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn has answered."""

    result: Document | None
    """What the function returned; None where it waits."""
    asks: Sequence[Ask] = ()
    given_up: frozenset[int] = frozenset()
    """The places of asks that it waits for no more."""
    seen: datetime | None = None
    """The newest end that it has heard of."""
    again: bool = False
    """Whether it must be told the whole journal first."""


def read_turn(answer: Document, asked: int) -> Turn:
    """Reads what a turn has answered.

    Args:
        answer: The answer.
        asked: How much the function has asked for before.

    Raises:
        ParadeError: AGENT_ERROR, where it is none; FAILED_PRECONDITION, where it asks for too much.
    """
    value = answer.value
    try:
        if "result" in value:
            return Turn(Document.of(value["result"]))
        if "again" in value:
            return Turn(None, again=True)
        asks = [_read_ask(ask, index) for index, ask in enumerate(value["asks"], asked + 1)]
        seen = value["seen"]
        turn = Turn(None, asks, frozenset(value["cancels"]), _EPOCH + seen * _MICROSECOND if seen else None)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ParadeError(Reason.AGENT_ERROR, f"the agent answered a turn with what is no answer: {error!r}"[:500]) from error
    if asked + len(asks) > MAX_ASKS:
        raise ParadeError(Reason.FAILED_PRECONDITION, f"a run asks for at most {MAX_ASKS:,} things; let child runs do parts of it")
    return turn


def definition_of(task: Task) -> StepDefinition:
    """Returns how a task is defined that a function asked for."""
    words = _words(task)
    given = words.get("timeout")
    timeout = None if given is None else float(given)
    return StepDefinition(
        id=task.step,
        call_line=0,
        call=task.name,
        arguments=Template({}),
        kind=task.kind,
        retry=_retry(words.get("retry")),
        timeout=timeout,
        wait=_wait(task, words),
    )


def arguments_of(task: Task) -> Document:
    """Returns what a task is given that a function asked for."""
    return Document.of(_words(task).get("arguments", {}))


def remembered(task: Task) -> Document | None:
    """Returns what is kept of how something was to be done, once it has ended: what the function knows it by. An approval keeps all."""
    if task.kind is Kind.APPROVAL:
        return task.arguments
    return Document(b'{"digest":%b}' % orjson.dumps(_words(task)["digest"]))


def message_of(task: Task) -> str:
    """Returns what those are told who are asked for an approval."""
    message: str = _words(task).get("message", "")
    return message


def envelope_of(run: Run, tasks: Mapping[int, Task], entries: "Entries") -> Document:
    """Returns what the code is given for a turn.

    Args:
        run: The run.
        tasks: The tasks by index; that of the code has the index 0.
        entries: What was written for the turns before.

    Raises:
        ParadeError: FAILED_PRECONDITION, where it has become larger than may be sent.
    """
    _check_size(run, tasks, entries)
    code = tasks.get(0)
    seen, begun = micros_of(None if code is None else code.ended), micros_of(run.create_time)
    return Document(b'{"arguments":%b,"journal":[%b],"seen":%d,"time":%d}' % (run.inputs.data, entries.joined(tasks), seen, begun))


def news_of(run: Run, tasks: Mapping[int, Task], news: Iterable[int], entries: "Entries") -> Document:
    """Returns what the code is given for a turn where it stands as the last turn has left it.

    Args:
        run: The run.
        tasks: The tasks by index.
        news: The indexes of what has ended since.
        entries: What was written for the turns before.

    Raises:
        ParadeError: FAILED_PRECONDITION, where the whole journal has become larger than may be sent: who takes the turn may want it.
    """
    _check_size(run, tasks, entries)
    told = b",".join([b'{"index":%d,%b' % (index, entries.of(tasks[index])[1:]) for index in news])
    known = b'{"count":%d,"digest":"%b"}' % (len(tasks) - 1, entries.digest(tasks).encode())
    seen, begun = micros_of(tasks[0].ended), micros_of(run.create_time)
    return Document(b'{"news":[%b],"known":%b,"seen":%d,"time":%d}' % (told, known, seen, begun))


def _check_size(run: Run, tasks: Mapping[int, Task], entries: "Entries") -> None:
    size = len(run.inputs.data) + entries.size(tasks) + _FRAME
    if size > MAX_BYTES:
        message = (
            f"all that has come of what the run asked for has {size / 2**20:.1f} MiB; a turn is given at most {MAX_BYTES // 2**20} MiB"
        )
        raise ParadeError(Reason.FAILED_PRECONDITION, f"{message}; let child runs do parts of it, or functions return less")


class Entries:
    """What the journal says, of which what has ended is written once. It says nothing that the rows do not, so all are equal."""

    def __init__(self) -> None:
        """Starts with nothing written."""
        self._written: dict[int, bytes] = {}
        self._beginning = bytearray()
        self._digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._digested = 0
        self._count = 0
        """How many entries the beginning has: those before the first of what has not ended."""

    def joined(self, tasks: Mapping[int, Task]) -> bytes:
        """Returns the entries of all tasks but that of the code, joined."""
        rest = self._rest(tasks)
        return b",".join([bytes(self._beginning), *rest] if self._count else rest)

    def size(self, tasks: Mapping[int, Task]) -> int:
        """Returns how large the entries are together."""
        rest = self._rest(tasks)
        return len(self._beginning) + sum([len(entry) + 1 for entry in rest])

    def _rest(self, tasks: Mapping[int, Task]) -> list[bytes]:
        """Adds to the beginning what may be, and returns the other entries."""
        rest = []
        for index in range(self._count + 1, len(tasks)):
            entry = self.of(tasks[index])
            if index == self._count + 1 and index in self._written:
                self._beginning += (b"," if self._count else b"") + self._written.pop(index)
                self._count = index
            else:
                rest.append(entry)
        return rest

    def digest(self, tasks: Mapping[int, Task]) -> str:
        """Returns what tells everything that was asked for from anything else, by the digests that the function has given."""
        for index in range(self._digested + 1, len(tasks)):
            self._digest.update(_words(tasks[index])["digest"].encode())
        self._digested = len(tasks) - 1
        return self._digest.hexdigest()

    def of(self, task: Task) -> bytes:
        """Returns what the journal says of a task."""
        entry = self._written.get(task.index)
        if entry is None:
            entry = entry_of(task)
            if task.state in TASK_ENDED and task.index > self._count:
                self._written[task.index] = entry
        return entry

    def __eq__(self, other: object) -> bool:
        """Compares nothing."""
        return isinstance(other, Entries)

    __hash__ = None  # type: ignore[assignment]  # it changes


def due_of(kind: Kind, words: Document, now: datetime) -> datetime | None:
    """Returns when a timer rings, or the wait for anything else is given up."""
    given = words.value.get("seconds" if kind is Kind.TIMER else "timeout")
    return None if given is None else now + timedelta(seconds=given)


def entry_of(task: Task) -> bytes:
    """Returns what the function's journal says of something that it asked for."""
    entry: dict[str, Any] = {
        "kind": task.kind.value,
        "name": task.name,
        "digest": _words(task)["digest"],
        "state": _STATES.get(task.state, "OPEN"),
    }
    if task.ended is not None:
        entry["ended"] = micros_of(task.ended)
    if task.state is TaskState.SUCCEEDED:
        entry["output"] = None if task.output is None else orjson.Fragment(task.output.data)
    elif task.state is TaskState.FAILED and task.failure is not None:
        entry["failure"] = _failure(task.failure)
    return orjson.dumps(entry)


def micros_of(time: datetime | None) -> int:
    """Returns a time as the journal has it; 0 for none."""
    return 0 if time is None else (time - _EPOCH) // _MICROSECOND


def _words(task: Task) -> dict[str, Any]:
    assert task.arguments is not None  # noqa: S101 - every ask has them
    words: dict[str, Any] = task.arguments.value
    return words


def _read_ask(ask: Any, index: int) -> Ask:
    if ask["index"] != index:
        raise ValueError(f"request {ask['index']} stands where request {index} does")
    kind, name = _KINDS[ask["kind"]], ask["name"]
    if not isinstance(name, str) or not isinstance(ask["digest"], str):
        raise TypeError(f"the name and the digest of request {index} are texts")
    for word in ("timeout", "seconds"):
        given = ask.get(word)
        if given is not None and (isinstance(given, bool) or not 0 <= given <= MAX_SECONDS):
            raise ValueError(f"{word} of request {index} is {given}; it is a number of seconds, at most {MAX_SECONDS:,.0f}")
    if kind is Kind.TIMER and ask.get("seconds") is None:
        raise ValueError(f"request {index} is a timer without a time")
    if not isinstance(ask.get("arguments", {}), dict):
        raise TypeError(f"the arguments of request {index} are no object")
    _retry(ask.get("retry"))
    words = {word: value for word, value in ask.items() if word not in ("index", "kind", "name")}
    if kind is Kind.APPROVAL:
        words = {"approvers": [], "message": "", **words}
    return Ask(kind, name, Document.of(words))


def _retry(words: Mapping[str, Any] | None) -> Retry:
    if words is None:
        return Retry()
    attempts = words.get("attempts", 1)
    if not isinstance(attempts, int) or not 1 <= attempts <= MAX_TRIES:
        raise ValueError(f"something is tried from 1 to {MAX_TRIES:,} times, not {attempts!r}")
    usual = Backoff(delay=1.0)
    backoff = Backoff(
        delay=_duration(words.get("delay"), usual.delay),
        factor=float(words.get("factor", usual.factor)),
        max_delay=_duration(words.get("max-delay"), usual.max_delay),
        jitter=float(words.get("jitter", usual.jitter)),
    )
    return Retry(attempts, backoff, frozenset(words.get("on", ())), frozenset(words.get("never", ())))


def _duration(text: str | None, usual: float) -> float:
    if text is None:
        return usual
    found = seconds(text)
    if found is None:
        raise ValueError(f"`{text[:80]}` is no duration")
    return found


def _wait(task: Task, words: Mapping[str, Any]) -> Wait | None:
    match task.kind:
        case Kind.APPROVAL:
            return Approval(tuple(words.get("approvers", ())), Template(words.get("message", "")))
        case Kind.SIGNAL:
            return Signal(task.name)
        case Kind.TIMER:
            return Timer(Template(words["seconds"]))
    return None


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "reason": failure.reason.value,
        "message": failure.message,
        "violations": [{"field": fault.field, "description": fault.description} for fault in failure.violations],
        "metadata": dict(failure.metadata),
        "retryable": failure.retryable,
    }
