"""Between the contract and the model, both ways; pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from parade.v1 import error_pb2, progress_pb2, value_pb2
from parade.v1 import scheduler_pb2 as pb
from parade.wire.errors import ParadeError, Violation, invalid
from parade.wire.status import to_record
from parade_scheduler.document import MAX_BYTES, Document
from parade_scheduler.engine import Start
from parade_scheduler.language import Definition, Examined, Fault, StepDefinition
from parade_scheduler.model import Failure, Progress, Run, RunEvent, RunState, Step, Workflow
from parade_scheduler.refusal import MAX_DESCRIPTION, MAX_FIELD, refused, shortened
from parade_scheduler.store import RunFilter

JSON: Final = "application/json"
DEFAULT_WAIT: Final = 60.0
MAX_WAIT: Final = 3600.0
MAX_LABELS: Final = 32
MAX_REQUEST_ID: Final = 128
MAX_REASON: Final = 1000
MAX_FAULTS: Final = 1_000
"""How many faults of a definition are told."""
MAX_HINT: Final = 640
"""How long what to write instead is, in characters."""
MAX_GRAPH_BYTES: Final = 4 * 1024 * 1024
MAX_RUN_BYTES: Final = 6 * 1024 * 1024
"""How large the values in one run's message are together: a connection carries 8 MiB in one."""

_LABEL_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[^\x00-\x1f]{0,255}")
_REQUEST_ID: Final = re.compile(rf"[^\x00-\x1f]{{0,{MAX_REQUEST_ID}}}")


def start(request: pb.StartRunRequest) -> Start:
    """Reads what a run is started with.

    Raises:
        ParadeError: INVALID_ARGUMENTS, naming every field at fault.
    """
    faults: list[Violation] = []
    if request.version < 0:
        faults.append(Violation("version", "must not be negative"))
    if not _REQUEST_ID.fullmatch(request.request_id):
        faults.append(Violation("request_id", f"has at most {MAX_REQUEST_ID} characters, none of them control characters"))
    if len(request.labels) > MAX_LABELS:
        faults.append(Violation("labels", f"has at most {MAX_LABELS} entries, this has {len(request.labels)}"))
    for key, value in sorted(request.labels.items()):
        if not _LABEL_KEY.fullmatch(key):
            faults.append(
                Violation(f"labels.{key[:63]}", "a key is 1 to 63 letters, digits, `.`, `_`, `/` or `-`, the first a letter or digit")
            )
        if not _LABEL_VALUE.fullmatch(value):
            faults.append(Violation(f"labels.{key[:63]}", "a value has at most 255 characters, none of them control characters"))
    inputs = Document(request.inputs.data or b"{}")
    if request.inputs.media_type not in ("", JSON):
        faults.append(Violation("inputs.media_type", f'must be "{JSON}"'))
    elif len(inputs.data) > MAX_BYTES:
        faults.append(Violation("inputs", f"has at most {MAX_BYTES // 1024 // 1024} MiB"))
    else:
        try:
            _ = inputs.value
        except ParadeError as error:
            faults.append(Violation("inputs", error.message))
    if faults:
        raise refused(faults, "the run cannot be started")
    return Start(request.workflow, request.version, inputs, request.request_id, dict(request.labels))


def run_filter(namespace: str, request: pb.ListRunsRequest) -> RunFilter:
    """Reads which runs are wanted.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where a state or a label is none.
    """
    faults: list[Violation] = []
    states: set[RunState] = set()
    for number in request.states:
        name = pb.RunState.Name(number).removeprefix("RUN_STATE_") if number in pb.RunState.values() else ""
        if name in RunState.__members__:
            states.add(RunState[name])
        else:
            faults.append(Violation("states", f"{number} is no state of a run"))
    labels: set[tuple[str, str]] = set()
    for label in request.labels:
        key, separator, value = label.partition("=")
        if separator and "\x00" not in label:
            labels.add((key, value))
        else:
            faults.append(Violation("labels", f"`{label[:80]}` is no label; write `key=value`"))
    if faults:
        raise refused(faults, "these runs cannot be listed")
    since = _time(request.start_time) if request.HasField("start_time") else None
    before = _time(request.end_time) if request.HasField("end_time") else None
    return RunFilter(namespace, request.workflow, frozenset(states), frozenset(labels), since, before)


def wait(request: pb.WaitRunRequest) -> float:
    """Reads how long to wait, in seconds.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative or too long.
    """
    if not request.HasField("timeout"):
        return DEFAULT_WAIT
    seconds = request.timeout.seconds + request.timeout.nanos / 1e9
    if not 0 <= seconds <= MAX_WAIT:
        raise invalid([Violation("timeout", "is from 0 to 1 hour")])
    return seconds


def reason(request: pb.CancelRunRequest) -> str:
    """Reads why a run is to end.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is too long.
    """
    if len(request.reason) > MAX_REASON:
        raise invalid([Violation("reason", f"has at most {MAX_REASON:,} characters, this has {len(request.reason):,}")])
    return request.reason


def after_sequence(request: pb.WatchRunRequest) -> int:
    """Reads after which event a history is wanted.

    Raises:
        ParadeError: INVALID_ARGUMENTS, where it is negative.
    """
    if request.after_sequence < 0:
        raise invalid([Violation("after_sequence", "must not be negative")])
    return request.after_sequence


def to_workflow(workflow: Workflow) -> pb.Workflow:
    """Writes a workflow."""
    return pb.Workflow(
        name=workflow.name,
        version=workflow.version,
        hash=workflow.hash,
        description=workflow.description,
        source=workflow.source,
        create_time=to_timestamp(workflow.create_time),
    )


def to_check(examined: Examined) -> pb.CheckWorkflowResponse:
    """Writes what was found in a definition."""
    faults = [_to_fault(fault) for fault in examined.faults[:MAX_FAULTS]]
    response = pb.CheckWorkflowResponse(faults=faults, fault_count=len(examined.faults))
    if examined.definition is not None and not faults:
        graph = _to_graph(examined.definition)
        if graph.ByteSize() <= MAX_GRAPH_BYTES:
            response.graph.CopyFrom(graph)
    return response


def to_run(run: Run, steps: Sequence[Step] = (), *, brief: bool = False) -> pb.Run:
    """Writes a run; a brief one without inputs and outputs.

    A message has a bound. Where the values of a run are larger together, its outputs go before its inputs and these before the outputs of
    its steps. What finds no place is left out; the run's history has it.
    """
    room = _Room(MAX_RUN_BYTES)
    outputs = room.value(run.outputs)
    return pb.Run(
        id=run.id,
        workflow=run.workflow,
        workflow_version=run.version,
        state=pb.RunState.Value(f"RUN_STATE_{run.state}"),
        inputs=None if brief else room.value(run.inputs),
        outputs=outputs,
        error=to_error(run.failure) if run.state is RunState.FAILED else None,
        labels=run.labels,
        principal=run.principal,
        create_time=to_timestamp(run.create_time),
        end_time=to_timestamp(run.end_time),
        last_sequence=run.last_sequence,
        trace_id=run.trace_parent.split("-")[1] if run.trace_parent else "",
        steps=[_to_step(step, room) for step in steps],
    )


def to_event(event: RunEvent) -> pb.RunEvent:
    """Writes an event."""
    return pb.RunEvent(
        sequence=event.sequence,
        time=to_timestamp(event.time),
        type=pb.RunEventType.Value(f"RUN_EVENT_TYPE_{event.type}"),
        step=event.step,
        task=event.task,
        attempt=event.attempt,
        tasks=event.tasks,
        instance_id=event.instance_id,
        progress=None if event.progress is None else to_progress(event.progress),
        output=to_value(event.output),
        error=to_error(event.failure),
        retry_time=to_timestamp(event.retry_time),
        message=event.message,
    )


def to_value(document: Document | None) -> value_pb2.Value | None:
    """Writes a JSON value."""
    return None if document is None else value_pb2.Value(data=document.data, media_type=JSON)


def to_progress(progress: Progress) -> progress_pb2.Progress:
    """Encodes a progress note."""
    return progress_pb2.Progress(fraction=progress.fraction, message=progress.message)


def to_error(failure: Failure | None) -> error_pb2.Error | None:
    """Writes why something failed."""
    if failure is None:
        return None
    return to_record(
        ParadeError(failure.reason, failure.message, violations=failure.violations, metadata=failure.metadata, retryable=failure.retryable)
    )


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """Writes a time."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


class _Room:
    """What is left of a message for values."""

    def __init__(self, size: int) -> None:
        self._left = size

    def value(self, document: Document | None) -> value_pb2.Value | None:
        if document is None or len(document.data) > self._left:
            return None
        self._left -= len(document.data)
        return to_value(document)


def _to_fault(fault: Fault) -> pb.WorkflowFault:
    return pb.WorkflowFault(
        field=shortened(fault.field, MAX_FIELD),
        line=fault.line,
        description=shortened(fault.description, MAX_DESCRIPTION),
        hint=shortened(fault.hint, MAX_HINT),
    )


def _to_graph(definition: Definition) -> pb.WorkflowGraph:
    steps = [
        pb.WorkflowStep(
            id=step.id,
            call=step.call,
            description=step.description,
            needs=step.needs,
            for_each=step.items is not None,
            condition=_to_condition(step),
        )
        for step in definition.steps.values()
    ]
    return pb.WorkflowGraph(name=definition.name, description=definition.description, steps=steps)


def _to_condition(step: StepDefinition) -> str:
    match step.condition:
        case None:
            return ""
        case bool():
            return str(step.condition).lower()
    return step.condition.text


def _to_step(step: Step, room: _Room) -> pb.StepRun:
    return pb.StepRun(
        id=step.id,
        state=pb.StepState.Value(f"STEP_STATE_{step.state}"),
        call=step.call,
        tasks=step.tasks,
        tasks_succeeded=step.tasks_succeeded,
        tasks_failed=step.tasks_failed,
        attempts=step.attempts,
        output=room.value(step.output),
        error=to_error(step.failure),
        start_time=to_timestamp(step.start_time),
        end_time=to_timestamp(step.end_time),
    )


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
