"""What is asked of runs, from the contract to the scheduler's words; pure."""

import re
from collections.abc import Iterable
from typing import Final

from google.protobuf.duration_pb2 import Duration

from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import Violation, invalid
from parade_scheduler.convert.fields import Fields
from parade_scheduler.document import Document
from parade_scheduler.engine import Start
from parade_scheduler.model import RunState
from parade_scheduler.operations import Fork, Rerun, Signal
from parade_scheduler.storage.store import RunFilter

DEFAULT_WAIT: Final = 60.0
MAX_WAIT: Final = 3600.0
MAX_BULK_REQUEST_ID: Final = 100
"""How long the name of a request for many runs may be: the name of each start is made of it."""
MAX_SIGNAL_BYTES: Final = 1024 * 1024
_SIGNAL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_EVENT_TYPE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def start(request: pb.StartRunRequest) -> Start:
    """Reads what a run is started with.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    result = Start(
        request.workflow,
        fields.whole("version", request.version),
        fields.document("inputs", request.inputs, b"{}"),
        fields.request_id(request.request_id),
        fields.labels(request.labels),
        fields.priority(request.priority) if request.HasField("priority") else None,
        by_hand=True,
    )
    fields.check("the run cannot be started")
    return result


def run_filter(namespace: str, request: "pb.ListRunsRequest | pb.RunFilter") -> RunFilter:
    """Reads which runs are wanted.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    since, before = fields.period(
        request.start_time if request.HasField("start_time") else None, request.end_time if request.HasField("end_time") else None
    )
    result = RunFilter(
        namespace,
        request.workflow,
        _states(fields, request.states),
        fields.terms("labels", request.labels, "label"),
        since,
        before,
        fields.terms("inputs", request.inputs, "input"),
    )
    fields.check("these runs cannot be looked for")
    return result


def many(namespace: str, request: "pb.CancelRunsRequest | pb.RerunRunsRequest") -> RunFilter:
    """Reads which runs are meant, where it may be many.

    Raises:
        ParadeError: INVALID_ARGUMENTS: a field is at fault, or the filter says nothing and would take every run there is.
    """
    wanted = run_filter(namespace, request.filter)
    if wanted == RunFilter(namespace):
        raise invalid(
            [Violation("filter", "says nothing and would take every run; name a workflow, states, labels, inputs or a time")],
            "it is not said which runs are meant",
        )
    return wanted


def wait(request: pb.WaitRunRequest) -> float:
    """Reads how long to wait, in seconds.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative or too long.
    """
    return _wait("timeout", request.timeout) if request.HasField("timeout") else DEFAULT_WAIT


def wait_of_start(request: pb.StartRunRequest) -> float:
    """Reads how long who starts a run waits for its end, in seconds.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative or too long.
    """
    return _wait("wait", request.wait) if request.HasField("wait") else 0.0


def reason(request: "pb.CancelRunRequest | pb.CancelRunsRequest | pb.PauseRunRequest") -> str:
    """Reads why somebody wants something, for the history.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is too long.
    """
    fields = Fields()
    result = fields.note("reason", request.reason)
    fields.check("the reason cannot be kept")
    return result


def after_sequence(request: pb.WatchRunRequest) -> int:
    """Reads after which event a history is wanted.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative.
    """
    fields = Fields()
    result = fields.whole("after_sequence", request.after_sequence)
    fields.check("the history cannot be read")
    return result


def signal(request: pb.SignalRunRequest) -> Signal:
    """Reads a signal.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    rule = "is a letter or `_`, then letters, digits, `_` or `-`, at most 63"
    result = Signal(
        fields.named("name", request.name, _SIGNAL, rule),
        fields.document("value", request.value, b"null"),
        fields.request_id(request.request_id),
    )
    if len(result.value.data) > MAX_SIGNAL_BYTES:
        fields.fault("value", f"has at most {MAX_SIGNAL_BYTES // 1024 // 1024} MiB; store more as an artifact and send its name")
    fields.check("the signal cannot be sent")
    return result


def rerun(request: pb.RerunFromStepRequest) -> Rerun:
    """Reads how a run is to be repeated.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    result = Rerun(
        fields.required("run_id", request.run_id),
        request.step,
        fields.object("inputs", request.inputs),
        fields.request_id(request.request_id),
        fields.whole("version", request.version),
    )
    fields.check("the run cannot be repeated")
    return result


def fork(request: pb.ForkRunRequest) -> Fork:
    """Reads where a run is to branch off.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    if request.after_sequence < 1:
        fields.fault("after_sequence", "is at least 1: the event that started the run")
    result = Fork(
        fields.required("run_id", request.run_id),
        request.after_sequence,
        fields.object("inputs", request.inputs),
        fields.request_id(request.request_id),
    )
    fields.check("the run cannot be branched off")
    return result


def bulk_request_id(request: pb.RerunRunsRequest) -> str:
    """Reads what a request for many runs is named.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is too long or has control characters.
    """
    fields = Fields()
    result = fields.request_id(request.request_id, MAX_BULK_REQUEST_ID)
    fields.check("the runs cannot be started again")
    return result


def event(request: pb.PublishEventRequest) -> tuple[str, Document, str]:
    """Reads an event: its type, what it says, and what it is named.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    fields = Fields()
    result = (
        fields.named("type", request.type, _EVENT_TYPE, "is 1 to 128 letters, digits, `.`, `_` or `-`"),
        fields.document("value", request.value, b"null"),
        fields.request_id(request.event_id, field="event_id"),
    )
    fields.check("the event cannot be published")
    return result


def _states(fields: Fields, numbers: Iterable[int]) -> frozenset[RunState]:
    states: set[RunState] = set()
    for number in numbers:
        name = pb.RunState.Name(number).removeprefix("RUN_STATE_") if number in pb.RunState.values() else ""  # type: ignore[arg-type]
        if name in RunState.__members__:
            states.add(RunState[name])
        else:
            fields.fault("states", f"{number} is no state of a run")
    return frozenset(states)


def _wait(field: str, duration: Duration) -> float:
    seconds = duration.seconds + duration.nanos / 1e9
    if not 0 <= seconds <= MAX_WAIT:
        raise invalid([Violation(field, "is from 0 to 1 hour")])
    return seconds
