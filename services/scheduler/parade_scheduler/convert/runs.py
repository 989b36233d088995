"""From runs, their steps, their histories and what became of many of them to the contract; pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from parade.v1 import scheduler_pb2 as pb
from parade.v1 import step_kind_pb2
from parade.wire.status import to_record
from parade_scheduler.convert.values import Room, to_error, to_progress, to_timestamp, to_value
from parade_scheduler.model import Run, RunEvent, RunState, Step
from parade_scheduler.operations import Outcome

MAX_RUN_BYTES: Final = 6 * 1024 * 1024
"""How large the values in one run's message are together: a connection carries 8 MiB in one."""


def to_run(run: Run, steps: Sequence[Step] = (), *, brief: bool = False) -> pb.Run:
    """Writes a run; a brief one without inputs and outputs.

    A message has a bound. Where the values of a run are larger together, its outputs go before its inputs and these before the outputs of
    its steps. What finds no place is left out; the run's history has it.
    """
    room = Room(MAX_RUN_BYTES)
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
        priority=run.priority,
        parent_run_id=run.parent.run if run.parent is not None else "",
        origin_run_id=run.origin,
        concurrency_group=run.group,
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
        by=event.by,
        child_run_id=event.child,
    )


def to_outcomes(outcomes: Iterable[Outcome]) -> list[pb.RunOutcome]:
    """Writes what became of many runs."""
    return [
        pb.RunOutcome(run_id=outcome.run, error=None if outcome.error is None else to_record(outcome.error), new_run_id=outcome.new_run)
        for outcome in outcomes
    ]


def _to_step(step: Step, room: Room) -> pb.StepRun:
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
        kind=step_kind_pb2.StepKind.Value(f"STEP_KIND_{step.kind}"),
    )
